"""One repository of the Hub: who may write to it, what it holds, a commit on a known parent, a tag."""

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rebase_hf.errors import PublishError
from rebase_hf.students.replacing import MANIFEST

if TYPE_CHECKING:
    from huggingface_hub import HfApi

logger = logging.getLogger(__name__)

LOOKED_BACK = 30


def hub_api(token: str | None) -> "HfApi":
    """Return the Hub's client.

    Raises:
        PublishError: There is no token.
    """
    from huggingface_hub import HfApi, get_token

    if not (token or get_token()):
        raise PublishError("There is no Hugging Face token. Log in with `hf auth login`, or set HF_TOKEN.")
    return HfApi(token=token, library_name="rebase_hf")


def prove(api: "HfApi", repo_id: str, repo_type: str) -> None:
    """Raise PublishError or the client's errors unless the repository may be written to."""
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


def repo_state(api: "HfApi", repo_id: str, repo_type: str) -> tuple[str, set[str]]:
    """Return the head of a repository, and the files that it holds there."""
    info = api.repo_info(repo_id, repo_type=repo_type)
    return str(info.sha), set(api.list_repo_files(repo_id, repo_type=repo_type, revision=info.sha))


def read_card(api: "HfApi", repo_id: str, repo_type: str, revision: str, held: set[str]) -> str | None:
    """Return the card at a revision, where it is among the files that are held there."""
    if "README.md" not in held:
        return None
    path = api.hf_hub_download(repo_id, "README.md", repo_type=repo_type, revision=revision)
    return Path(path).read_text(encoding="utf-8")


def read_manifest(api: "HfApi", repo_id: str, revision: str, held: set[str]) -> Mapping[str, Any]:
    """Return the `student.json` that a model's repository holds at a revision; empty where there is none to read."""
    if MANIFEST not in held:
        return {}
    path = api.hf_hub_download(repo_id, MANIFEST, revision=revision)
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        logger.warning("%s: its %s can't be read, so no file of an earlier student is removed", repo_id, MANIFEST)
        return {}
    return found if isinstance(found, dict) else {}


def commit_files(
    api: "HfApi",
    repo_id: str,
    repo_type: str,
    files: Mapping[str, bytes | Path],
    stale: list[str],
    parent: str,
    message: str,
) -> None:
    """Make one commit of files and of what goes, on a known parent; of what is there already, none."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    operations: list[Any] = [CommitOperationAdd(name, content) for name, content in sorted(files.items())]
    operations += [CommitOperationDelete(name) for name in stale]
    made = api.create_commit(repo_id, operations, commit_message=message, repo_type=repo_type, parent_commit=parent)
    logger.info("%s: %s", repo_id, "nothing has changed" if made.oid == parent else f"commit {made.oid}")


def tag_head(api: "HfApi", repo_id: str, repo_type: str, tag: str | None) -> None:
    """Give the head a name, unless it has that already.

    Raises:
        PublishError: Another commit has it.
    """
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


def last_card(api: "HfApi", repo_id: str, repo_type: str, is_ours: Callable[[str], bool]) -> str | None:
    """Return the newest card of ours in a repository's history; None where the newest commits have none."""
    from huggingface_hub.errors import EntryNotFoundError

    for commit in api.list_repo_commits(repo_id, repo_type=repo_type)[:LOOKED_BACK]:
        try:
            path = api.hf_hub_download(repo_id, "README.md", repo_type=repo_type, revision=commit.commit_id)
        except EntryNotFoundError:
            continue
        if is_ours(text := Path(path).read_text(encoding="utf-8")):
            return text
    return None
