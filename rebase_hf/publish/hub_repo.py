"""One repository of the Hub: what it holds, a commit on a known parent, a tag."""

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rebase_hf.errors import PublishError
from rebase_hf.publish.visibility import check_visible, make_repo
from rebase_hf.students.replacing import MANIFEST

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

logger = logging.getLogger(__name__)

LOOKED_BACK = 30
_TAG = re.compile(r"[A-Za-z0-9_][\w.+/-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Push:
    """One commit that is ready to be made.

    Attributes:
        repo_type: `dataset` or `model`.
        files: What it adds or replaces, by the name in the repository.
        stale: What it removes.
        parent: The commit that it was made for; None where the repository is yet to be made.
        tag: The name that it gets.
        private: What the user says of who may see it; None: nothing.
        reasons: What speaks against everybody.
    """

    repo_id: str
    repo_type: str
    files: Mapping[str, bytes | Path]
    stale: tuple[str, ...]
    parent: str | None
    message: str
    tag: str | None
    private: bool | None
    reasons: tuple[str, ...]


def hub_api(token: str | None) -> "HfApi":
    """Return the Hub's client.

    Raises:
        PublishError: There is no token.
    """
    from huggingface_hub import HfApi, get_token

    if not (token or get_token()):
        raise PublishError("There is no Hugging Face token. Log in with `hf auth login`, or set HF_TOKEN.")
    return HfApi(token=token, library_name="rebase_hf")


def repo_state(api: "HfApi", repo_id: str, repo_type: str) -> tuple[str | None, set[str]]:
    """Return the head of a repository, and the files that it holds there; None and none where it is yet to be made."""
    if not api.repo_exists(repo_id, repo_type=repo_type):
        return None, set()
    info = api.repo_info(repo_id, repo_type=repo_type)
    return str(info.sha), set(api.list_repo_files(repo_id, repo_type=repo_type, revision=info.sha))


def read_card(api: "HfApi", repo_id: str, repo_type: str, revision: str | None, held: set[str]) -> str | None:
    """Return the card at a revision, where it is among the files that are held there."""
    if "README.md" not in held:
        return None
    path = api.hf_hub_download(repo_id, "README.md", repo_type=repo_type, revision=revision)
    return Path(path).read_text(encoding="utf-8")


def read_manifest(api: "HfApi", repo_id: str, revision: str | None, held: set[str]) -> Mapping[str, Any]:
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


def check_tag(tag: str | None) -> None:
    """Raise PublishError for what can be no tag's name."""
    if tag is not None and (not _TAG.fullmatch(tag) or ".." in tag or tag.endswith((".", "/", ".lock"))):
        raise PublishError(f"`{tag}` can be no tag's name. Use letters, digits, `.`, `-` and `_`, as in v1.0.")


def check_push(api: "HfApi", push: Push) -> None:
    """Raise where a push could not end as it is meant to; nothing is written.

    Raises:
        PublishError: The repository is public and is to be private, or the tag is taken.
    """
    check_visible(api, push.repo_id, push.repo_type, push.private, push.reasons)
    if push.tag is None:
        return
    taken = None if push.parent is None else _tags(api, push.repo_id, push.repo_type).get(push.tag)
    if taken is not None and not (taken == push.parent and _is_there(api, push)):
        raise PublishError(
            f"{push.repo_id} has a tag `{push.tag}` on another content (commit {taken[:12]}), so nothing was "
            "published. Give another tag."
        )


def send(api: "HfApi", push: Push) -> str:
    """Make the repository where there is none, commit, and tag that commit; return the address.

    Raises:
        PublishError: Somebody took the tag meanwhile, or the name of a repository that was yet to be made.
    """
    repo_id, repo_type = push.repo_id, push.repo_type
    make_repo(api, repo_id, repo_type, push.private, push.reasons)
    parent = push.parent
    if parent is None:
        parent, held = repo_state(api, repo_id, repo_type)
        if held - {".gitattributes"}:
            raise PublishError(
                f"Somebody else filled {repo_id} meanwhile; nothing was sent. Push again, or elsewhere."
            )
    made = commit_files(api, repo_id, repo_type, push.files, push.stale, parent, push.message)
    _tag_commit(api, push, made)
    return f"{api.endpoint}/{'datasets/' if repo_type == 'dataset' else ''}{repo_id}"


def commit_files(
    api: "HfApi",
    repo_id: str,
    repo_type: str,
    files: Mapping[str, bytes | Path],
    stale: Iterable[str],
    parent: str | None,
    message: str,
) -> str:
    """Make one commit of files and of what goes, on a known parent, and return it; of what is there already, none."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    operations: list[Any] = [CommitOperationAdd(name, content) for name, content in sorted(files.items())]
    operations += [CommitOperationDelete(name) for name in stale]
    made = api.create_commit(repo_id, operations, commit_message=message, repo_type=repo_type, parent_commit=parent)
    logger.info("%s: %s", repo_id, "nothing has changed" if made.oid == parent else f"commit {made.oid}")
    return str(made.oid)


def _tag_commit(api: "HfApi", push: Push, made: str) -> None:
    if push.tag is None:
        return
    named = _tags(api, push.repo_id, push.repo_type).get(push.tag)
    if named is None:
        api.create_tag(push.repo_id, tag=push.tag, revision=made, repo_type=push.repo_type)
    elif named != made:
        raise PublishError(
            f"{push.repo_id} has got a tag `{push.tag}` on another commit ({named[:12]}) meanwhile; the content was "
            f"published without it, as commit {made[:12]}. Give another tag."
        )


def _tags(api: "HfApi", repo_id: str, repo_type: str) -> dict[str, str]:
    return {ref.name: ref.target_commit for ref in api.list_repo_refs(repo_id, repo_type=repo_type).tags}


def _is_there(api: "HfApi", push: Push) -> bool:
    """Return whether a push would change nothing of what is there."""
    from huggingface_hub.hf_api import RepoFile

    found = api.get_paths_info(push.repo_id, list(push.files), revision=push.parent, repo_type=push.repo_type)
    held = {entry.path: entry for entry in found if isinstance(entry, RepoFile)}
    return not push.stale and all(
        name in held and _is_same(content, held[name]) for name, content in push.files.items()
    )


def _is_same(content: bytes | Path, held: "RepoFile") -> bool:
    data = content if isinstance(content, bytes) else content.read_bytes()
    if held.lfs is not None:
        return hashlib.sha256(data).hexdigest() == held.lfs.sha256
    # A file that git keeps itself is named as git names it.
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == held.blob_id


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
