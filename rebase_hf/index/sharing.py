"""An index on the Hub: put there in one commit with a card; fetched at one commit, and only what is named."""

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rebase_hf.errors import RowIndexError
from rebase_hf.index.index_card import index_card, is_folder
from rebase_hf.index.local_sources import looks_like_a_path
from rebase_hf.index.manifest import MANIFEST, Manifest, is_part, read_manifest
from rebase_hf.index.sharing_errors import failures, line, nowhere, told_of_download, told_of_upload

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

logger = logging.getLogger(__name__)

CARD = "README.md"
KIND = "dataset"
# What every way of uploading to the Hub takes as one file, and what it takes in one commit (huggingface_hub's
# documentation of `create_commit`).
MAX_FILE_BYTES = 5_000_000_000
MAX_FILES = 25_000
_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# Names in one call of snapshot_download: it compares each with each, by patterns of which Python keeps 256 ready.
_NAMES_AT_ONCE = 200


def download_index(repo_id: str, *, revision: str | None = None, token: str | bool | None = None) -> Path:
    """Return the folder of an index that lies in a Hub dataset repo: in the cache, every file there.

    The manifest comes first, then what it names and is not in the cache yet, all at the manifest's commit. Without
    the Hub (`HF_HUB_OFFLINE`, no network) what is in the cache is opened.

    Raises:
        RowIndexError: There is no such repo, revision or index, or it could not be fetched in full.
    """
    if not _REPO_ID.fullmatch(repo_id):
        raise nowhere(repo_id, "that is no name of a repo")  # a mistyped path is nothing to ask the Hub about
    from huggingface_hub import hf_hub_download

    with told_of_download(repo_id, revision):
        found = hf_hub_download(repo_id, MANIFEST, repo_type=KIND, revision=revision, token=token)
    folder = Path(found).parent  # .../snapshots/COMMIT
    manifest = read_manifest(folder)
    if _lacking(folder, manifest):
        failure = _fetch(repo_id, folder, manifest, token)
        if lacking := _lacking(folder, manifest):
            raise RowIndexError(
                f"Index `{repo_id}` at commit {folder.name[:12]} is not here in full: {len(lacking)} of "
                f"{len(list(manifest.files()))} files are missing or of another length, the first {lacking[0]}. "
                f"{failure or 'The Hub does not have them.'} Open it again with the Hub in reach; what has come "
                "is kept."
            )
    return folder


def upload_index(
    path: Path,
    manifest: Manifest,
    info: Mapping[str, Any],
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
) -> str:
    """Put an index into a Hub dataset repo in one commit, which also removes what an earlier push left there.

    What the repo has with the same content is neither read nor sent. Large files go before the commit, part by part;
    a push that was interrupted sends only what had not arrived. Where nothing has changed there is no commit.

    Args:
        private: Whether a repo that this makes is private; None leaves it to the account's settings.

    Returns:
        The commit's address.

    Raises:
        RowIndexError: It is too large for a commit, or the Hub refuses.
    """
    check_uploadable(path, manifest)
    _warn_of_traces(info)
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    api = HfApi(token=token, library_name="rebase_hf")
    with told_of_upload(path, repo_id):
        repo_id = api.create_repo(repo_id, repo_type=KIND, private=private, exist_ok=True).repo_id
        about = api.dataset_info(repo_id)
        if private and not about.private:
            raise RowIndexError(
                f"`{repo_id}` is there already, and public. Make it private in its settings, or push to another name."
            )
        tree = api.list_repo_tree(repo_id, repo_type=KIND, revision=about.sha, recursive=True)
        held = {one.path: one for one in tree if isinstance(one, RepoFile)}
        operations = _operations(path, manifest, held, _card(api, repo_id, held, about.sha, info))
        if not operations:
            logger.info("%s holds this index already.", repo_id)
            return f"{api.endpoint}/datasets/{repo_id}/commit/{about.sha}"
        _send_parts(api, repo_id, manifest, operations)
        commit = api.create_commit(
            repo_id,
            operations,
            repo_type=KIND,
            commit_message=f"Index {manifest.fingerprint[:12]}: {manifest.counts['rows']} rows",
            parent_commit=about.sha,
        )
    return str(commit.commit_url)


def check_uploadable(path: Path, manifest: Manifest) -> None:
    """Raise RowIndexError for an index that can't be put into a repo by one commit."""
    files = list(manifest.files())
    for name, about in files:
        if int(about["size"]) > MAX_FILE_BYTES:
            raise RowIndexError(
                f"{path / name} has {about['size']} bytes, and the Hub takes {MAX_FILE_BYTES} in one file. Build the "
                "index again, in another folder, with a smaller `max_segment_texts`."
            )
    if len(files) > MAX_FILES:
        raise RowIndexError(
            f"Index {path} has {len(files)} files, and the Hub takes {MAX_FILES} in one commit. Build it again with a "
            "larger `max_segment_texts`, or as several indexes."
        )


def _warn_of_traces(info: Mapping[str, Any]) -> None:
    """Say which folders of this machine the index names: they are published with it."""
    if is_folder(encoder := info["encoder"]["name"]):
        logger.warning("The index names its encoder by a folder of this machine, %s, and is pushed so.", encoder)
    if left_out := [skip["source"] for skip in info["skipped"] if looks_like_a_path(skip["source"])]:
        logger.warning(
            "The index names %d folders of this machine that were left out, as %s, and is pushed so.",
            len(left_out),
            left_out[0],
        )


def _card(api: "HfApi", repo_id: str, held: Mapping[str, Any], revision: str | None, info: Mapping[str, Any]) -> bytes:
    old = None
    if CARD in held:
        found = api.hf_hub_download(repo_id, CARD, repo_type=KIND, revision=revision)
        old = Path(found).read_text(encoding="utf-8", errors="replace")
    return index_card(info, repo_id, old).encode()


def _operations(path: Path, manifest: Manifest, held: "Mapping[str, RepoFile]", card: bytes) -> list[Any]:
    """Return what makes a repo that holds these files hold the index."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    files = dict(manifest.files())
    added = [name for name, about in files.items() if not _is_there(held.get(name), path / name, about)]
    operations: list[Any] = [CommitOperationAdd(name, path / name) for name in added]
    small = {MANIFEST: manifest.to_bytes(), CARD: card}
    operations += [
        CommitOperationAdd(name, content)
        for name, content in small.items()
        if name not in held or held[name].blob_id != _git_oid(content)
    ]
    stale = [name for name in held if is_part(name.split("/")[0]) and name not in files]
    return [*operations, *(CommitOperationDelete(name) for name in stale)]


def _is_there(held: "RepoFile | None", path: Path, about: Mapping[str, Any]) -> bool:
    """Return whether a repo's file is this one; only small ones that git keeps itself are read for it."""
    if held is None or held.size != about["size"]:
        return False
    return held.lfs.sha256 == about["sha256"] if held.lfs else held.blob_id == _git_oid(path.read_bytes())


def _git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _send_parts(api: "HfApi", repo_id: str, manifest: Manifest, operations: Sequence[Any]) -> None:
    """Send the files of one part after the other, so that an interrupted push has something to show."""
    waiting: dict[str, list[Any]] = {}
    for operation in operations:
        if hasattr(operation, "upload_info") and "/" in operation.path_in_repo:
            waiting.setdefault(operation.path_in_repo.split("/")[0], []).append(operation)
    for number, (part, files) in enumerate(waiting.items(), start=1):
        logger.info("Sending %s, %d of %d.", part, number, len(waiting))
        api.preupload_lfs_files(repo_id, files, repo_type=KIND, free_memory=False)


def _fetch(repo_id: str, folder: Path, manifest: Manifest, token: str | bool | None) -> str:
    """Fetch what lacks of the folder's commit; return why it ended, where it did before all had come."""
    from huggingface_hub import hf_hub_download, snapshot_download

    about: dict[str, Any] = {"repo_type": KIND, "revision": folder.name, "token": token}
    names = _lacking(folder, manifest)
    logger.info("Fetching %d files of %s.", len(names), repo_id)
    try:
        for start in range(0, len(names), _NAMES_AT_ONCE):
            snapshot_download(repo_id, allow_patterns=names[start : start + _NAMES_AT_ONCE], **about)
        for name in _lacking(folder, manifest):
            if (folder / name).is_file():  # of another length: what is there would be taken for it
                hf_hub_download(repo_id, name, force_download=True, **about)
    except failures() + (ValueError,) as error:  # offline the client refuses to fetch anew with a ValueError
        return f"{line(error)}."
    return ""


def _lacking(folder: Path, manifest: Manifest) -> list[str]:
    """Return the files that are not there, or not as long as they should be."""
    held = ((name, about, folder / name) for name, about in manifest.files())
    return [name for name, about, path in held if not path.is_file() or path.stat().st_size != about["size"]]
