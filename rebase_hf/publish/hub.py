"""Write runs to the Hub; with `hub_repo.py`, which it does so by, the only file that does.

A push is one commit on a known parent, so a crash leaves nothing half done, and nobody else's commit is lost.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rebase_hf.errors import PublishError
from rebase_hf.publish.base_model import check_student_license, with_models_looked_up
from rebase_hf.publish.card_merging import merge_card
from rebase_hf.publish.cards import render_dataset_card, render_student_card
from rebase_hf.publish.continued_card import continue_card, is_ours
from rebase_hf.publish.finished_run import FinishedRun, RunPath
from rebase_hf.publish.hub_errors import hub_errors
from rebase_hf.publish.hub_repo import commit_files, hub_api, last_card, prove, read_card, repo_state, tag_head
from rebase_hf.publish.outgoing import checked_files
from rebase_hf.publish.public_text import public
from rebase_hf.publish.report_figures import TITLES, draw_figures, draw_student_figures, figure_files
from rebase_hf.publish.teacher_card import look_up
from rebase_hf.publish.teacher_terms import TeacherLicense, flagged
from rebase_hf.publish.training_findings import CARTOGRAPHY, PROVENANCE
from rebase_hf.publish.visibility import make_repo, reasons_for_private
from rebase_hf.students.replacing import PART
from rebase_hf.students.saving import FACTS, LOCAL
from rebase_hf.svg import standalone

if TYPE_CHECKING:
    from huggingface_hub import HfApi


# Of a student's folder, what may name folders of this machine: sources, models.
PUBLIC_JSON = (FACTS, PROVENANCE, CARTOGRAPHY)
FIGURES = {f"figures/{name}.svg" for name in TITLES}


def prove_write_access(repo_id: str, repo_type: str = "dataset", token: str | None = None) -> None:
    """Raise unless `repo_id` may be written to; nothing is created or changed.

    Call it before anything is paid for or trained. A new repository is judged by the namespace and the token's role;
    for one that exists the Hub itself is asked whether it would take a file.

    Raises:
        PublishError: No token, a wrong or read-only one, another's namespace, or no answer.
    """
    with hub_errors(repo_id, "check write access to"):
        prove(hub_api(token), repo_id, repo_type)


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
        api = hub_api(token)
        prove(api, repo_id, "dataset")
        folder = _with_teacher(api, folder, named)
        make_repo(api, repo_id, "dataset", private, reasons_for_private(api, folder))
        parent, held = repo_state(api, repo_id, "dataset")
        card = merge_card(
            render_dataset_card(folder, repo_id=repo_id), read_card(api, repo_id, "dataset", parent, held)
        )
        files: dict[str, bytes | Path] = {f"data/{path.name}": path for path in folder.data_files.values()}
        files |= _described(folder) | {"README.md": card.encode()}
        files = checked_files(folder, files, redacted=redact, keep_private=keep_personal)
        ours = {f"data/{split}.parquet" for split in ("train", "validation")} | FIGURES
        stale = sorted((held & ours) - set(files)) if "README.md" in held else []
        commit_files(api, repo_id, "dataset", files, stale, parent, f"Add {folder.task.name} made by rebase_hf")
        tag_head(api, repo_id, "dataset", tag)
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
        api = hub_api(token)
        prove(api, repo_id, "model")
        folder = _with_teacher(api, folder, named)
        check_student_license(folder, repo_id)
        make_repo(api, repo_id, "model", private, reasons_for_private(api, folder, dataset_id))
        parent, held = repo_state(api, repo_id, "model")
        card = render_student_card(folder, repo_id=repo_id, dataset_id=dataset_id)
        # Where the student's index lies on this machine is of no use elsewhere, and nobody's business; what a cut-off
        # save has left is no student.
        paths = sorted(path for path in root.rglob("*") if path.is_file() and path != root / LOCAL)
        paths = [path for path in paths if PART not in path.relative_to(root).parts]
        files: dict[str, bytes | Path] = {path.relative_to(root).as_posix(): path for path in paths}
        if "task.yaml" in files:
            files["task.yaml"] = _task_yaml(folder)
        files |= {name: _public_json(path) for name, path in files.items() if name in PUBLIC_JSON}
        files |= _as_files(draw_student_figures(folder))
        files |= {"README.md": merge_card(card, _old_student_card(api, repo_id, parent, held)).encode()}
        files = checked_files(folder, files, redacted=redact, keep_private=keep_personal)
        stale = sorted((held & FIGURES) - set(files))
        commit_files(
            api, repo_id, "model", files, stale, parent, f"Add the {folder.task.name} student made by rebase_hf"
        )
        tag_head(api, repo_id, "model", tag)
        return f"{api.endpoint}/{repo_id}"


def restore_card(repo_id: str, *, token: str | None = None) -> str:
    """Put a student's card back that a trainer's `push_to_hub` wrote over; return the repository's address.

    The newest card of ours in the repository's history is continued by the trainer's: `continue_card`. Where the card
    that is there is ours, no commit is made. `KeepCardCallback` keeps it from being lost to begin with.

    Raises:
        PublishError: There is no card of ours, or the Hub refused or could not be reached.
    """
    with hub_errors(repo_id, "restore the card of"):
        api = hub_api(token)
        prove(api, repo_id, "model")
        parent, held = repo_state(api, repo_id, "model")
        theirs = read_card(api, repo_id, "model", parent, held)
        ours = last_card(api, repo_id, "model", is_ours)
        if ours is None:
            raise PublishError(f"{repo_id} has no card of a student that rebase_hf wrote. Push the student instead.")
        card = ours if theirs is None else continue_card(ours, theirs, repo_id=repo_id)
        commit_files(api, repo_id, "model", {"README.md": card.encode()}, [], parent, "Put the student's card back")
        return f"{api.endpoint}/{repo_id}"


def _old_student_card(api: "HfApi", repo_id: str, parent: str, held: set[str]) -> str | None:
    """Return the card that is there; where a trainer wrote over ours, with what people wrote into ours."""
    theirs = read_card(api, repo_id, "model", parent, held)
    if theirs is None or is_ours(theirs):
        return theirs
    ours = last_card(api, repo_id, "model", is_ours)
    return theirs if ours is None else continue_card(ours, theirs, repo_id=repo_id)


def _check_license(folder: FinishedRun) -> None:
    if problems := folder.license.problems:
        raise PublishError(
            f"{folder.path} may not be published: {'; '.join(problems)}. Take these sources out of the index "
            "(`rebase-hf index remove INDEX NAME`, or build it with `--license` and the licences that you allow) and "
            "generate anew; what is answered is in the journal."
        )


def _with_teacher(api: "HfApi", folder: FinishedRun, named: TeacherLicense | None) -> FinishedRun:
    """Return the run with what is known of its teacher's licence; where nobody said, the model's card is asked."""
    folder = with_models_looked_up(api, folder)
    teacher = folder.report.get("teacher") or {}
    if named is not None or teacher.get("license") or teacher.get("kind") in ("few-shot", "none"):
        return folder
    found = folder.with_teacher_license(look_up(api, teacher.get("model")))
    _check_license(found)
    return found


def _described(folder: FinishedRun) -> dict[str, bytes | Path]:
    report = json.dumps(public(folder.report), indent=2, ensure_ascii=False) + "\n"
    drawn = _as_files(draw_figures(folder))
    return {"report.json": report.encode(), "task.yaml": _task_yaml(folder), **drawn}


def _as_files(drawn: Mapping[str, str]) -> dict[str, bytes | Path]:
    return {f"figures/{name}.svg": standalone(svg).encode() for name, svg in figure_files(drawn).items()}


def _public_json(path: bytes | Path) -> bytes:
    held = json.loads(path if isinstance(path, bytes) else path.read_text(encoding="utf-8"))
    return (json.dumps(public(held), indent=2, ensure_ascii=False) + "\n").encode()


def _task_yaml(folder: FinishedRun) -> bytes:
    """The task without the local files that it names."""
    return folder.task.to_yaml().encode()
