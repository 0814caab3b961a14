"""Why the Hub did not give what it was asked for, as one reason."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rebase_hf.hub_answers import may_do_later, status_of
from rebase_hf.index.source_records import SourceUnusable, one_line

if TYPE_CHECKING:
    from huggingface_hub.hf_api import DatasetInfo


def why(error: Exception, repo_id: str = "", info: "DatasetInfo | None" = None) -> SourceUnusable:
    """Return why a Hub dataset can't be used, told by the first error in the chain that says so.

    Args:
        info: What the Hub told of the repo, where it did.
    """
    from datasets.data_files import EmptyDatasetError
    from datasets.exceptions import DataFilesNotFoundError
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    chain = list(_chain(error))
    if any(isinstance(link, OfflineModeIsEnabled) for link in chain):
        return SourceUnusable("offline", "HF_HUB_OFFLINE is set, so the Hub is not asked")
    script = f"{repo_id.split('/')[-1]}.py"
    if info is not None and any(sibling.rfilename == script for sibling in info.siblings or ()):
        return SourceUnusable("script_only", f"its rows are made by its script {script}, and scripts are never run")
    reasons: tuple[tuple[Any, str], ...] = (
        (GatedRepoError, "gated"),
        ((RepositoryNotFoundError, RevisionNotFoundError, HFValidationError), "not_found"),
        ((DataFilesNotFoundError, EmptyDatasetError), "no_data_files"),
        ((ConnectionError, LocalEntryNotFoundError, TimeoutError), "unreachable"),
    )
    transport = HfHubHTTPError.__bases__[0]
    for link in chain:
        # Of `datasets`, for what .huggingface.yaml names; what a card names is checked before it is looked for.
        if "Data files don't belong to" in str(link):
            return SourceUnusable("outside_files", one_line(link))
        for kinds, reason in reasons:
            if isinstance(link, kinds):
                return SourceUnusable(reason, one_line(link))
        if isinstance(link, transport):
            return _of_transport(link)
    return SourceUnusable("unreadable", one_line(error))


def _of_transport(error: Any) -> SourceUnusable:
    status = status_of(error)
    if not status or may_do_later(status):
        return SourceUnusable("unreachable", one_line(error), retry_after=_retry_after(error))
    if status in (401, 403, 451):
        return SourceUnusable("no_access", one_line(error))
    return SourceUnusable("not_found" if status in (404, 410) else "unreadable", one_line(error))


def _retry_after(error: Any) -> float:
    """Return the seconds to wait that a busy Hub names: `Retry-After: 5`, or `RateLimit: "api";r=0;t=5`."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    plain = re.fullmatch(r"\s*(\d+)\s*", headers.get("Retry-After") or "")
    limited = re.search(r"\br=0\b.*\bt=(\d+)", headers.get("RateLimit") or "")
    return max((float(match[1]) for match in (plain, limited) if match), default=0.0)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
