"""Write runs to the Hub: the only file that does.

A push is one commit on a known parent, so a crash leaves nothing half done, and nobody else's commit is lost.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rebase_hf.errors import PublishError
from rebase_hf.publish.card_merging import merge_card
from rebase_hf.publish.cards import render_dataset_card, render_student_card
from rebase_hf.publish.finished_run import FinishedRun, RunPath
from rebase_hf.publish.hub_errors import hub_errors
from rebase_hf.publish.outgoing import checked_files
from rebase_hf.publish.public_text import public
from rebase_hf.publish.report import draw_figures
from rebase_hf.publish.teacher_card import look_up
from rebase_hf.publish.teacher_terms import TeacherLicense, flagged
from rebase_hf.publish.visibility import make_repo, reasons_for_private
from rebase_hf.students.saving import LOCAL
from rebase_hf.svg import standalone

if TYPE_CHECKING:
    from huggingface_hub import HfApi

logger = logging.getLogger(__name__)


def prove_write_access(repo_id: str, repo_type: str = "dataset", token: str | None = None) -> None:
    """Raise unless `repo_id` may be written to; nothing is created or changed.

    Call it before anything is paid for or trained. A new repository is judged by the namespace and the token's role;
    for one that exists the Hub itself is asked whether it would take a file.

    Raises:
        PublishError: No token, a wrong or read-only one, another's namespace, or no answer.
    """
    with hub_errors(repo_id, "check write access to"):
        _prove(_api(token), repo_id, repo_type)


def push_dataset(
    run: RunPath,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    tag: str | None = None,
    teacher_license: str | None = None,
    redact: bool = False,
    keep_personal: bool = False,
) -> str:
    """Publish a run's dataset, its card, report and figures in one commit; return its address.

    What the run holds of source rows and of answers that were dropped (`rows.jsonl`, `ledger.jsonl`, `report.html`)
    stays here. Where the repository has that content already, no commit is made. Other configurations of it are kept.

    Args:
        private: Whether the repository is private. None: private where a source of its rows is private or gated, or
            is the user's own under no stated licence; else as the account's settings have it. See `visibility.py`.
        tag: A name for this version.
        teacher_license: The licence of the teacher's model, a Hub id of one; None takes what the run recorded, or
            what the model's card on the Hub says.
        redact: Take what looks personal or secret out of what is sent, with its kind (`[email]`) in its place.
        keep_personal: Send what looks personal as it is; keys are never sent.

    Raises:
        PublishError: The run may not be published (licences; personal data, and neither `redact` nor
            `keep_personal`), or the Hub refused or could not be reached.
    """
    named = flagged(teacher_license)
    folder = FinishedRun.open(run).with_teacher_license(named)
    _check_license(folder)
    with hub_errors(repo_id, "publish the dataset to"):
        api = _api(token)
        _prove(api, repo_id, "dataset")
        folder = _with_teacher(api, folder, named)
        make_repo(api, repo_id, "dataset", private, reasons_for_private(api, folder))
        parent, held = _state(api, repo_id, "dataset")
        card = merge_card(
            render_dataset_card(folder, repo_id=repo_id), _old_card(api, repo_id, "dataset", parent, held)
        )
        files: dict[str, bytes | Path] = {f"data/{path.name}": path for path in folder.data_files.values()}
        files |= _described(folder) | {"README.md": card.encode()}
        files = checked_files(folder, files, redacted=redact, keep_private=keep_personal)
        ours = {f"data/{split}.parquet" for split in ("train", "validation")}
        stale = sorted((held & ours) - set(files)) if "README.md" in held else []
        _commit(api, repo_id, "dataset", files, stale, parent, f"Add {folder.task.name} made by rebase_hf")
        _tag(api, repo_id, "dataset", tag)
        return f"{api.endpoint}/datasets/{repo_id}"


def push_student(
    run: RunPath,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    tag: str | None = None,
    teacher_license: str | None = None,
    dataset_id: str | None = None,
    redact: bool = False,
    keep_personal: bool = False,
) -> str:
    """Publish a run's student with its card in one commit; return its address.

    Args:
        private: As `push_dataset` takes it; a private `dataset_id` counts as a private source.
        tag: A name for this version.
        teacher_license: As `push_dataset` takes it.
        dataset_id: Where the dataset was published, for the card.
        redact: As `push_dataset` takes it.
        keep_personal: As `push_dataset` takes it.

    Raises:
        PublishError: There is no student, the run may not be published, or the Hub refused or could not be reached.
    """
    named = flagged(teacher_license)
    folder = FinishedRun.open(run).with_teacher_license(named)
    root = folder.path / "student"
    if not root.is_dir() or not any(root.iterdir()):
        raise PublishError(f"{folder.path} has no trained student. Train one first: rebase-hf train {folder.path}")
    _check_license(folder)
    with hub_errors(repo_id, "publish the student to"):
        api = _api(token)
        _prove(api, repo_id, "model")
        folder = _with_teacher(api, folder, named)
        make_repo(api, repo_id, "model", private, reasons_for_private(api, folder, dataset_id))
        parent, held = _state(api, repo_id, "model")
        card = render_student_card(folder, repo_id=repo_id, dataset_id=dataset_id)
        # Where the student's index lies on this machine is of no use elsewhere, and nobody's business.
        paths = sorted(path for path in root.rglob("*") if path.is_file() and path != root / LOCAL)
        files: dict[str, bytes | Path] = {path.relative_to(root).as_posix(): path for path in paths}
        if "task.yaml" in files:
            files["task.yaml"] = _task_yaml(folder)
        files |= {"README.md": merge_card(card, _old_card(api, repo_id, "model", parent, held)).encode()}
        files = checked_files(folder, files, redacted=redact, keep_private=keep_personal)
        _commit(api, repo_id, "model", files, [], parent, f"Add the {folder.task.name} student made by rebase_hf")
        _tag(api, repo_id, "model", tag)
        return f"{api.endpoint}/{repo_id}"


def _check_license(folder: FinishedRun) -> None:
    if problems := folder.license.problems:
        raise PublishError(
            f"{folder.path} may not be published: {'; '.join(problems)}. Take these sources out of the index "
            "(`rebase-hf index remove INDEX NAME`, or build it with `--license` and the licences that you allow) and "
            "generate anew; what is answered is in the journal."
        )


def _with_teacher(api: "HfApi", folder: FinishedRun, named: TeacherLicense | None) -> FinishedRun:
    """Return the run with what is known of its teacher's licence; where nobody said, the model's card is asked."""
    teacher = folder.report.get("teacher") or {}
    if named is not None or teacher.get("license") or teacher.get("kind") in ("few-shot", "none"):
        return folder
    found = folder.with_teacher_license(look_up(api, teacher.get("model")))
    _check_license(found)
    return found


def _described(folder: FinishedRun) -> dict[str, bytes | Path]:
    report = json.dumps(public(folder.report), indent=2, ensure_ascii=False) + "\n"
    drawn = {f"figures/{name}.svg": standalone(svg).encode() for name, svg in draw_figures(folder).items()}
    return {"report.json": report.encode(), "task.yaml": _task_yaml(folder), **drawn}


def _task_yaml(folder: FinishedRun) -> bytes:
    """The task without the local files that it names."""
    return folder.task.to_yaml().encode()


def _api(token: str | None) -> "HfApi":
    from huggingface_hub import HfApi, get_token

    if not (token or get_token()):
        raise PublishError("There is no Hugging Face token. Log in with `hf auth login`, or set HF_TOKEN.")
    return HfApi(token=token, library_name="rebase_hf")


def _prove(api: "HfApi", repo_id: str, repo_type: str) -> None:
    from huggingface_hub import CommitOperationAdd

    exists = api.repo_exists(repo_id, repo_type=repo_type)
    account = api.whoami()
    namespace = repo_id.split("/")[0] if "/" in repo_id else account["name"]
    role = ((account.get("auth") or {}).get("accessToken") or {}).get("role")
    if role == "read":
        raise PublishError(
            f"The token can only read, so {repo_id} can't be written to. Make one with the role `write`."
        )
    organisations = {org["name"]: org.get("roleInOrg") for org in account.get("orgs") or ()}
    # A fine-grained token names no role; what it may do shows only when it is used.
    if role != "fineGrained" and namespace != account["name"] and organisations.get(namespace, "read") == "read":
        writable = ", ".join([account["name"], *(name for name, held in organisations.items() if held != "read")])
        raise PublishError(
            f"`{account['name']}` may not write to `{namespace}`. Use a repository of one of: {writable}."
        )
    if exists:
        # A text file is only asked about, never stored: the Hub answers how it would take it, or 403.
        api.preupload_lfs_files(repo_id, [CommitOperationAdd("README.md", b"-")], repo_type=repo_type)


def _state(api: "HfApi", repo_id: str, repo_type: str) -> tuple[str, set[str]]:
    info = api.repo_info(repo_id, repo_type=repo_type)
    return str(info.sha), set(api.list_repo_files(repo_id, repo_type=repo_type, revision=info.sha))


def _old_card(api: "HfApi", repo_id: str, repo_type: str, revision: str, held: set[str]) -> str | None:
    if "README.md" not in held:
        return None
    path = api.hf_hub_download(repo_id, "README.md", repo_type=repo_type, revision=revision)
    return Path(path).read_text(encoding="utf-8")


def _commit(
    api: "HfApi",
    repo_id: str,
    repo_type: str,
    files: Mapping[str, bytes | Path],
    stale: list[str],
    parent: str,
    message: str,
) -> None:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    operations: list[Any] = [CommitOperationAdd(name, content) for name, content in sorted(files.items())]
    operations += [CommitOperationDelete(name) for name in stale]
    made = api.create_commit(repo_id, operations, commit_message=message, repo_type=repo_type, parent_commit=parent)
    logger.info("%s: %s", repo_id, "nothing has changed" if made.oid == parent else f"commit {made.oid}")


def _tag(api: "HfApi", repo_id: str, repo_type: str, tag: str | None) -> None:
    if tag is None:
        return
    head = api.repo_info(repo_id, repo_type=repo_type).sha
    named = {ref.name: ref.target_commit for ref in api.list_repo_refs(repo_id, repo_type=repo_type).tags}
    if tag not in named:
        api.create_tag(repo_id, tag=tag, revision=head, repo_type=repo_type)
    elif named[tag] != head:
        raise PublishError(
            f"{repo_id} has a tag `{tag}` on another commit ({named[tag][:12]}); the content was published without "
            "it. Give another tag."
        )
