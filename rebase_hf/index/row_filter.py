"""What a search is held to: sources by name, licence and language, and columns by role.

The filter is part of the search, never applied to what came out of it: a dense search looks at the vectors of the
cells that pass and at no others (through the graph where that costs less, `subsets.py`), a lexical one asks the
words' index for rows of the sources that pass. So k rows come back wherever k rows pass.
"""

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rebase_hf.errors import RowIndexError
from rebase_hf.index.catalog import CatalogSource
from rebase_hf.index.places import GONE
from rebase_hf.index.roles import check_roles
from rebase_hf.index.segment_search import CellFilter, LiveSegment
from rebase_hf.index.source_records import IndexedSource

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class RowFilter:
    """What may be found.

    Attributes:
        sources: Numbers of the sources; None for all.
        roles: Roles of columns; None for all.
    """

    sources: frozenset[int] | None = None
    roles: frozenset[str] | None = None

    @property
    def all(self) -> bool:
        """Whether everything may."""
        return self.sources is None and self.roles is None


def choose_filter(
    catalog: Sequence[CatalogSource],
    *,
    sources: str | Collection[str] | None = None,
    licenses: str | Collection[str] | None = None,
    languages: str | Collection[str] | None = None,
    roles: str | Collection[str] | None = None,
) -> RowFilter:
    """Return the filter of what a search was asked for.

    Args:
        sources: Datasets, as `name`, `name:CONFIG` or `name:CONFIG:SPLIT`.
        licenses: Licence ids; a source passes if all of its licences are among them, one of unknown licence never.
        languages: Languages; a source passes if it is in one of them, one of unknown language never.
        roles: Roles of columns.

    Raises:
        RowIndexError: A name is of no source, or a role is unknown.
    """
    passing: set[int] | None = None
    if (names := _listed(sources)) is not None:
        passing = set(named_sources(catalog, *names))
    if (allowed := _listed(licenses)) is not None:
        passing = _both(passing, {i for i, one in enumerate(catalog) if _licensed(one.source, allowed)})
    if (spoken := _listed(languages)) is not None:
        spoken = {language.lower() for language in spoken}
        passing = _both(passing, {i for i, one in enumerate(catalog) if spoken & _languages(one.source)})
    wanted = _listed(roles)
    return RowFilter(
        sources=None if passing is None or len(passing) == len(catalog) else frozenset(passing),
        roles=None if wanted is None else check_roles(wanted),
    )


def cell_filter(
    chosen: RowFilter, live: LiveSegment, catalog: Sequence[CatalogSource], *, junk: bool
) -> CellFilter | None:
    """Return the filter for the cells of a segment; None where no cell passes."""
    pieces = live.owners != GONE
    if chosen.sources is not None:
        pieces &= np.isin(live.owners, np.fromiter(chosen.sources, np.int64))
    if not pieces.any():
        return None
    columns = None
    if chosen.roles is not None:
        owned = [() if owner == GONE else catalog[owner].source.roles for owner in live.owners.tolist()]
        # A piece that is gone has columns too, of which nothing is known any more; its cells end in `pieces`.
        most = 1 + int(np.max(live.segment.rows.cell_columns, initial=0)) if (live.owners == GONE).any() else 0
        columns = tuple(
            np.array([role in chosen.roles for role in own] or [False] * most, dtype=bool) for own in owned
        )
    return CellFilter(junk=junk, pieces=None if pieces.all() else pieces, columns=columns)


def _listed(values: str | Collection[str] | None) -> set[str] | None:
    return None if values is None else {values} if isinstance(values, str) else set(values)


def _both(one: set[int] | None, other: set[int]) -> set[int]:
    return other if one is None else one & other


def named_sources(catalog: Sequence[CatalogSource], *names: str) -> list[int]:
    """Return the numbers of the sources that `name`, `name:CONFIG` or `name:CONFIG:SPLIT` names, rising.

    Raises:
        RowIndexError: A name is of none.
    """
    numbers: dict[str, list[int]] = {}
    for number, one in enumerate(catalog):
        for name in _names(one.source):
            numbers.setdefault(name, []).append(number)
    for name in names:
        if name not in numbers:
            known = sorted({one.source.dataset for one in catalog})
            near = difflib.get_close_matches(name, known, n=1) or known[:1]
            raise RowIndexError(
                f"The index has no source `{name}`; `rebase-hf index info` lists them, as `{near[0]}`."
            )
    return sorted({number for name in names for number in numbers[name]})


def _names(source: IndexedSource) -> set[str]:
    config = f"{source.dataset}:{source.config or ''}"
    return {source.dataset, config, f"{config}:{source.split}"}


def _licensed(source: IndexedSource, allowed: set[str]) -> bool:
    held = {name.strip().lower() for name in (source.license or "").split(",") if name.strip()}
    return bool(held) and held <= {name.lower() for name in allowed}


def _languages(source: IndexedSource) -> set[str]:
    named = {language.lower() for language in source.language}
    return named | {language.split("-")[0] for language in named}
