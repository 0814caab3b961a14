"""What the Hub's client raises while an index is fetched or pushed, as one line that says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rebase_hf.errors import RowIndexError, RowIndexInterrupted
from rebase_hf.hub_answers import may_do_later, status_of
from rebase_hf.index.manifest import MANIFEST

_LONGEST = 300


def failures() -> tuple[type[Exception], ...]:
    """Return what ends a transfer: the Hub's answers, the transport's errors (whichever httpx it is), the disk's."""
    from huggingface_hub.errors import HfHubHTTPError

    return HfHubHTTPError.__bases__[0], OSError


def line(error: BaseException) -> str:
    """Return an error, or what it came from, as one short line: the client's own often name no cause."""
    first = error
    while first.__cause__ is not None:
        first = first.__cause__
    said = " ".join(str(first).split())[:_LONGEST].rstrip(".")
    return f"{type(first).__name__}: {said}" if said else type(first).__name__


@contextmanager
def told_of_download(repo_id: str, revision: str | None) -> Iterator[None]:
    """Turn what is raised while an index's manifest is fetched into a RowIndexError."""
    from huggingface_hub.errors import HFValidationError

    try:
        yield
    except HFValidationError as error:
        raise nowhere(repo_id, "that is no name of a repo") from error
    except failures() as error:
        raise _of_download(error, repo_id, revision) from error


@contextmanager
def told_of_upload(path: Path, repo_id: str) -> Iterator[None]:
    """Turn what is raised while an index is pushed into a RowIndexError: one of its own where a later try may do."""
    try:
        yield
    except failures() + (ValueError,) as error:  # the client's ValueErrors are of names, cards and LFS
        advice = {
            401: "Log in with `hf auth login`, or pass a token that may write there.",
            403: "Check the name, and that the token may write there.",
            412: "Somebody else committed meanwhile, and nothing was changed: push again.",
        }.get(status_of(error), "Check the name and the network and push again; what has been sent is not sent twice.")
        kind = RowIndexInterrupted if _may_do_later(error) else RowIndexError
        raise kind(f"Index {path} could not be put into `{repo_id}`: {line(error)}. {advice}") from error


def _of_download(error: Any, repo_id: str, revision: str | None) -> RowIndexError:
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    at = f" at revision `{revision}`" if revision else ""
    if isinstance(error, LocalEntryNotFoundError):
        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "the Hub could not be reached"
        return RowIndexError(
            f"Index `{repo_id}`{at} is neither a folder here nor in the cache, and {why}. Open it once with the Hub "
            "in reach, or correct the name."
        )
    if isinstance(error, GatedRepoError):
        return RowIndexError(
            f"Index `{repo_id}` is gated. Ask for access on its page, and log in with `hf auth login`, or pass "
            "`token=`."
        )
    if isinstance(error, RepositoryNotFoundError):
        return nowhere(repo_id, "there is no such repo, or it is private and the token may not see it")
    if isinstance(error, RevisionNotFoundError):
        return RowIndexError(f"Index `{repo_id}` has no revision `{revision}`; name a branch, tag or commit of it.")
    if isinstance(error, EntryNotFoundError):
        return RowIndexError(f"Dataset repo `{repo_id}`{at} holds no index: it has no {MANIFEST}.")
    return RowIndexError(f"Index `{repo_id}`{at} could not be fetched: {line(error)}. Try again later.")


def nowhere(repo_id: str, why: str) -> RowIndexError:
    """Return the error for what is neither a folder nor a repo."""
    return RowIndexError(
        f"Index `{repo_id}` is neither a folder here nor a Hub dataset repo that could be fetched: {why}. Build it "
        f"with `rebase-hf index build {repo_id} --source ...`, or correct the name."
    )


def _may_do_later(error: Exception) -> bool:
    """Return whether the Hub, the network or the disk gave up, and nobody refused."""
    from huggingface_hub.errors import LocalTokenNotFoundError

    if status := status_of(error):
        return may_do_later(status)
    return isinstance(error, failures()) and not isinstance(error, LocalTokenNotFoundError)
