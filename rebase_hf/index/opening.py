"""Opening what a build was given: each source found, pinned and allowed, or recorded with the reason why not."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, Union

from rebase_hf.errors import RowIndexError
from rebase_hf.index import hub_search, hub_sources, local_sources
from rebase_hf.index.hub_search import HubSearch
from rebase_hf.index.source_records import SkippedSource, SourceLimits, SourceUnusable, printable
from rebase_hf.index.sources import Source
from rebase_hf.index.time_budget import TimeBudget

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

GivenSource = Union[str, Path, "Dataset", HubSearch]
T = TypeVar("T")
Opened = Source | SkippedSource

# Seconds before the second, third and fourth attempt, where the Hub is busy or can't be reached.
WAITS = (1.0, 3.0, 9.0)
_LONGEST_WAIT = 300.0


def open_all(
    given: Sequence[GivenSource],
    *,
    licenses: Sequence[str] | None,
    limits: SourceLimits,
    token: str | bool | None = None,
) -> Iterator[Opened]:
    """Yield the sources that were given, in order: one each, or several of a search or of a Hub dataset.

    A source is a `datasets.Dataset`; a local folder or file (.jsonl, .json, .csv, .parquet); a Hub dataset id,
    `org/name` or `org/name@revision`; or a HubSearch. Folders and ids may go on with `:CONFIG` or `:CONFIG:SPLIT`.
    What exists on this machine is local, as in `load_dataset`. None that fails ends the others.

    Args:
        licenses: Allowed licence ids; None allows any.
        token: For the Hub, and sent nowhere else.

    Raises:
        RowIndexError: One is no kind of source at all.
    """
    for _, opened in open_numbered(given, licenses=licenses, limits=limits, token=token):
        yield opened


def open_numbered(
    given: Sequence[GivenSource],
    *,
    licenses: Sequence[str] | None,
    limits: SourceLimits,
    token: str | bool | None = None,
) -> Iterator[tuple[int, Opened]]:
    """Yield what `open_all` yields, each with the place of what it came from in `given`."""
    for source in given:
        check_given(source)
    hub = PatientHub(licenses, limits, token)
    for number, source in enumerate(given):
        if isinstance(source, HubSearch):
            yield from ((number, opened) for opened in hub.search(source))
            continue
        try:
            yield from ((number, _within(opened, limits)) for opened in _open(source, licenses, limits, hub))
        except SourceUnusable as error:
            yield number, SkippedSource(name_of(source), error.reason, error.detail)


def told(skip: SkippedSource) -> SkippedSource:
    """Say that a source is left out, and why."""
    logger.warning("Source %s is left out (%s): %s.", skip.source, skip.reason, skip.detail)
    return skip


def check_given(source: GivenSource) -> None:
    """Raise RowIndexError for what is no kind of source."""
    from datasets import Dataset

    if isinstance(source, HubSearch):
        source.check()
    elif not isinstance(source, str | Path | Dataset):
        raise RowIndexError(
            f"Source {source!r} is a {type(source).__name__}; expected a Hub dataset id, a local folder or file, "
            "a `datasets.Dataset`, or a HubSearch."
        )


def _open(
    source: "str | Path | Dataset", licenses: Sequence[str] | None, limits: SourceLimits, hub: "PatientHub"
) -> list[Opened]:
    if not isinstance(source, str | Path):
        return [local_sources.open_dataset(source, licenses, limits)]
    if (local := local_sources.find(str(source))) is not None:
        return [local_sources.open_path(str(source), *local, licenses, limits)]
    if isinstance(source, Path) or local_sources.looks_like_a_path(source):
        raise SourceUnusable("not_found", "there is no such folder or file")
    return hub.open(source)


def _within(opened: Opened, limits: SourceLimits) -> Opened:
    most = limits.max_source_rows
    if isinstance(opened, SkippedSource) or most is None or (opened.total_rows or 0) <= most:
        return opened
    detail = f"it has {opened.total_rows} rows, more than {most} allowed"
    return SkippedSource(printable(opened.address), "too_many_rows", detail)


def unpinned(address: str) -> str:
    """Return the address of a dataset of the Hub without its revision."""
    name, colon, rest = address.partition(":")
    return f"{name.split('@')[0]}{colon}{rest}"


def name_of(source: "str | Path | Dataset") -> str:
    """Return what a source that could not be opened is called."""
    return printable(str(source)) if isinstance(source, str | Path) else "datasets.Dataset"


class PatientHub:
    """Asks the Hub patiently, and less so once it has not answered at all."""

    def __init__(self, licenses: Sequence[str] | None, limits: SourceLimits, token: str | bool | None) -> None:
        self._licenses, self._limits, self._token = licenses, limits, token
        self._waits: tuple[float, ...] = WAITS

    def open(self, address: str) -> list[Opened]:
        """Return a Hub dataset's sources."""
        budget = TimeBudget(self._limits.max_source_seconds)
        return self._patiently(
            lambda: budget.call(
                lambda: hub_sources.open_id(address, self._licenses, self._limits, budget, self._token)
            )
        )

    def pin(self, address: str) -> str:
        """Return a Hub dataset's address with the commit that its branch shows now."""
        return self._within_budget(lambda: hub_sources.pin_id(address, self._token))

    def find(self, search: HubSearch) -> list[str | SkippedSource]:
        """Return what a search finds, pinned, and what was passed over."""
        try:
            return self._within_budget(lambda: hub_search.find(search, self._licenses, self._token))
        except SourceUnusable as error:
            return [SkippedSource(printable(str(search)), error.reason, error.detail)]

    def search(self, search: HubSearch) -> Iterator[Opened]:
        """Yield the sources of the datasets that a search finds."""
        found = self.find(search)
        for number, address in enumerate(found, start=1):
            if isinstance(address, SkippedSource):
                yield address
                continue
            logger.debug("Opening source %d of %d, %s.", number, len(found), address)
            try:
                for opened in self.open(address):
                    if isinstance(opened, SkippedSource):
                        yield replace(opened, source=unpinned(opened.source))
                    else:
                        again = None if opened.reopen is None else unpinned(opened.reopen)
                        yield _within(replace(opened, address=unpinned(address), reopen=again), self._limits)
            except SourceUnusable as error:
                yield SkippedSource(unpinned(address), error.reason, error.detail)

    def _within_budget(self, ask: Callable[[], T]) -> T:
        return self._patiently(lambda: TimeBudget(self._limits.max_source_seconds).call(ask))

    def _patiently(self, ask: Callable[[], T]) -> T:
        for wait in (*self._waits, None):
            try:
                answer = ask()
            except SourceUnusable as error:
                if error.reason != "unreachable" or wait is None:
                    if error.reason == "unreachable":
                        self._waits = ()  # the next sources need not wait as long to learn the same
                    raise
                pause = min(max(wait, error.retry_after), _LONGEST_WAIT)
                logger.info("The Hub is asked again in %g seconds: %s.", pause, error.detail)
                time.sleep(pause)
            else:
                self._waits = WAITS
                return answer
        raise AssertionError("the last attempt returns or raises")
