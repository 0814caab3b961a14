"""An index on the Hub: put there in one commit with a card, fetched at a revision."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rebase_hf.errors import RowIndexError
from rebase_hf.index.index_info import index_card
from rebase_hf.index.manifest import MANIFEST, Manifest, is_part

CARD = "README.md"


def download_index(repo_id: str, *, revision: str | None = None, token: str | bool | None = None) -> Path:
    """Return the folder of an index that lies in a Hub dataset repo.

    Raises:
        RowIndexError: There is no such folder here, nor such a repo.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(snapshot_download(repo_id, repo_type="dataset", revision=revision, token=token))
    except (HfHubHTTPError.__bases__[0], HFValidationError, OSError) as error:
        raise RowIndexError(
            f"Index `{repo_id}` is neither a folder here nor a Hub dataset repo that could be fetched: "
            f"{' '.join(str(error).split())[:300]} Build it with `rebase-hf index build {repo_id} --source ...`, "
            "or correct the name."
        ) from error


def upload_index(
    path: Path,
    manifest: Manifest,
    info: Mapping[str, Any],
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
) -> str:
    """Put an index into a Hub dataset repo in one commit; generations that lay there before are removed by it.

    Returns:
        The commit's address.

    Raises:
        RowIndexError: The Hub refuses.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    api = HfApi(token=token)
    names = [MANIFEST, *(name for name, _ in manifest.files())]
    operations: list[Any] = [CommitOperationAdd(name, str(path / name)) for name in names]
    operations.append(CommitOperationAdd(CARD, index_card(info, repo_id).encode()))
    try:
        api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
        there = api.list_repo_files(repo_id, repo_type="dataset")
        old = [name for name in there if is_part(name.split("/")[0]) and name not in names]
        operations += [CommitOperationDelete(name) for name in old]
        commit = api.create_commit(
            repo_id,
            operations,
            repo_type="dataset",
            commit_message=f"Index {manifest.fingerprint[:12]}: {manifest.counts['rows']} rows",
        )
    except (HfHubHTTPError.__bases__[0], HFValidationError, OSError) as error:
        raise RowIndexError(
            f"Index {path} could not be put into `{repo_id}`: {' '.join(str(error).split())[:300]} "
            "Check the name and that the token may write there."
        ) from error
    return str(commit.commit_url)
