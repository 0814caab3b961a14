"""Reading an index: its segments as one, by key."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rebase_hf.errors import RowIndexError, require
from rebase_hf.index.catalog import Catalog, read_catalog
from rebase_hf.index.manifest import Manifest
from rebase_hf.index.open_files import allow_open_files
from rebase_hf.index.places import Places
from rebase_hf.index.row_filter import RowFilter, cell_filter
from rebase_hf.index.segment import Segment
from rebase_hf.index.segment_search import (
    NOTHING,
    CellFilter,
    LiveSegment,
    allowed_vectors,
    best_cells,
    column_sums,
    nearest_rows,
)
from rebase_hf.index.segment_writing import read_facts
from rebase_hf.index.source_records import IndexedSource
from rebase_hf.rows import SourceRow

if TYPE_CHECKING:
    from rebase_hf.index.lexical import LexicalIndex

Array = np.ndarray[Any, Any]

_REMEMBERED_FILTERS = 8
_REMEMBERED_BYTES = 1 << 28
_FILES_A_SEGMENT = 13  # memory maps, each of which keeps a file open
_OPENED_AT_ONCE = 16


class IndexReader:
    """An index whose files were verified; reading is thread-safe. Segments are opened when something is read of them.

    Attributes:
        catalog: Its sources.
        places: Where their rows lie.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path, self.manifest = path, manifest
        self.catalog: Catalog = read_catalog(path / manifest.catalog.name)
        self._names = [segment.rows.name for segment in manifest.segments]
        pieces = [read_facts(path / name).pieces for name in self._names]
        _check(self.catalog, dict(zip(self._names, pieces, strict=True)), path)
        self.places = Places(self.catalog.sources, [[piece.rows for piece in held] for held in pieces], self._names)
        allow_open_files(_FILES_A_SEGMENT * len(self._names))
        self._segments: dict[int, LiveSegment] = {}
        self._filters: dict[tuple[RowFilter, bool, int], tuple[CellFilter | None, Array | None]] = {}
        self._words: LexicalIndex | None = None
        self._opening = threading.Lock()
        # Few are opened at once: who holds them reads on when the index is changed.
        for number in range(len(self._names) if len(self._names) <= _OPENED_AT_ONCE else 0):
            self.segment(number)

    def segment(self, number: int) -> LiveSegment:
        """Return a segment, opened."""
        with self._opening:
            if number not in self._segments:
                try:
                    segment = Segment(self.path / self._names[number])
                except FileNotFoundError as error:  # it was there when the index was opened
                    raise self._changed(self._names[number]) from error
                self._segments[number] = LiveSegment(
                    segment, self.places.owners(number), lambda rows: self.places.keys_of(number, rows)
                )
            return self._segments[number]

    def _changed(self, gone: str) -> RowIndexError:
        return RowIndexError(f"Index {self.path} has changed since it was opened ({gone} is gone). Open it again.")

    def words(self) -> "LexicalIndex":
        """Return the index of the words of all segments.

        Raises:
            RowIndexError: It was built without.
            MissingExtraError: tantivy is not installed.
        """
        parts = [segment.words for segment in self.manifest.segments]
        if any(part is None for part in parts):
            raise RowIndexError(
                f"Index {self.path} was built without its words; build it again with `rebase-hf[lexical]` installed."
            )
        require("tantivy", what="Lexical search", extra="lexical")
        from rebase_hf.index.lexical import LexicalIndex

        with self._opening:
            if self._words is None:
                gone = next((part.name for part in parts if part and not (self.path / part.name).is_dir()), None)
                if gone is not None:
                    raise self._changed(gone)
                folders = [self.path / part.name for part in parts if part is not None]
                self._words = LexicalIndex(folders, row_keys=self.places.keys_of)
            return self._words

    def rows(self, keys: Array) -> list[SourceRow]:
        """Return the rows of these keys, in their order.

        Raises:
            RowIndexError: There is no such key.
        """
        outside = keys[(keys < 0) | (keys >= len(self.places))]
        if len(outside):
            raise RowIndexError(f"Row key {outside[0]} is not in the index; keys go from 0 to {len(self.places) - 1}.")
        segments, locals_ = self.places.locate(keys)
        sources = self.places.sources_of(keys)
        catalog = self.catalog.sources
        found: dict[int, SourceRow] = {}
        for number in np.unique(segments).tolist():
            places = np.flatnonzero(segments == number)
            read = self.segment(number).segment.rows.read(locals_[places])
            for place, source, (row, columns, texts) in zip(
                places.tolist(), sources[places].tolist(), read, strict=True
            ):
                found[place] = _source_row(catalog[source].source, row, columns, texts)
        return [found[place] for place in range(len(keys))]

    def best_cells(
        self,
        queries: Array,
        keys: Array | None,
        *,
        junk: bool,
        chosen: RowFilter | None = None,
        without: Array | None = None,
    ) -> tuple[Array, Array]:
        """Return for each row and query the best competing cell's score and column; -1.0 and -1 where none does."""
        keys = np.arange(len(self.places), dtype=np.int64) if keys is None else np.asarray(keys, dtype=np.int64)
        scores = np.full((len(keys), len(queries)), NOTHING, dtype=np.float32)
        columns = np.full((len(keys), len(queries)), -1, dtype=np.int32)
        segments, rows = self.places.locate(keys)
        for number in np.unique(segments).tolist():
            at = np.flatnonzero(segments == number)
            competing, _ = self._filter(chosen or RowFilter(), number, junk=junk, vectors=False)
            if competing is not None:
                segment = self.segment(number).segment
                apart = None if without is None else without[at]
                best_cells(segment, queries, rows[at], competing, scores=scores, columns=columns, at=at, without=apart)
        return scores, columns

    def column_scores(self, queries: Array, keys: Array, *, junk: bool) -> dict[int, Array]:
        """Return for each column of some rows of one source its cells' mean scores for the queries, float32 (m)."""
        sums: dict[int, Array] = {}
        counts: dict[int, int] = {}
        segments, rows = self.places.locate(np.asarray(keys, dtype=np.int64))
        for number in np.unique(segments).tolist():
            own_sums, own_counts = column_sums(
                self.segment(number).segment, queries, rows[segments == number], junk=junk
            )
            for column, added in own_sums.items():
                sums[column] = sums[column] + added if column in sums else added
                counts[column] = counts.get(column, 0) + own_counts[column]
        return {column: sums[column] / np.float32(counts[column]) for column in sorted(sums)}

    def nearest_rows(
        self, query: Array, k: int, *, junk: bool, exact: bool, chosen: RowFilter | None = None
    ) -> tuple[Array, Array, float]:
        """Return the k rows whose best competing cell is nearest to a query: keys, exact scores, and a floor."""
        k = min(k, len(self.places))
        if k < 1:
            return np.zeros(0, np.int64), np.zeros(0, np.float32), 1.0
        chosen = chosen or RowFilter()
        found = []
        for number in range(len(self._names)):
            competing, allowed = self._filter(chosen, number, junk=junk, vectors=not chosen.all)
            if competing is not None:
                found.append(nearest_rows(self.segment(number), query, k, competing, exact=exact, allowed=allowed))
        keys = np.concatenate([np.zeros(0, np.int64), *(own for own, _ in found)])
        scores = np.concatenate([np.zeros(0, np.float32), *(own for _, own in found)])
        order = np.lexsort((keys, -scores))[:k]
        floor = float(scores[order[-1]]) if len(order) == k else NOTHING
        return keys[order], scores[order], floor

    def _filter(
        self, chosen: RowFilter, number: int, *, junk: bool, vectors: bool
    ) -> tuple[CellFilter | None, Array | None]:
        """Return which cells of a segment compete and, where asked for, the vectors of these; a few are kept."""
        remembered = self._filters.get((chosen, junk, number))
        if remembered is None or (vectors and remembered[0] is not None and remembered[1] is None):
            live = self.segment(number)
            competing = cell_filter(chosen, live, self.catalog.sources, junk=junk)
            allowed = allowed_vectors(live.segment, competing) if vectors and competing is not None else None
            remembered = competing, allowed
            with self._opening:
                held = sum(_bytes(one) for _, one in self._filters.values())
                while self._filters and (
                    len(self._filters) >= _REMEMBERED_FILTERS * len(self._names)
                    or held + _bytes(allowed) > _REMEMBERED_BYTES
                ):
                    held -= _bytes(self._filters.pop(next(iter(self._filters)))[1])
                self._filters[chosen, junk, number] = remembered
        return remembered


def _bytes(allowed: Array | None) -> int:
    return 0 if allowed is None else int(allowed.nbytes)


def _source_row(about: IndexedSource, row: int, columns: Sequence[int], texts: Sequence[str]) -> SourceRow:
    names = about.columns
    return SourceRow(  # by place: keywords cost time, and a thousand rows are fetched at once
        about.dataset,
        about.config,
        about.split,
        about.revision,
        row,
        about.license,
        about.url,
        {names[column]: text for column, text in zip(columns, texts, strict=True)},
        about.description,
        about.language,
    )


def _check(catalog: Catalog, held: dict[str, Sequence[Any]], path: Path) -> None:
    """Check that every piece of the catalog lies where it says, once.

    Raises:
        RowIndexError: One does not; names the source.
    """
    taken: set[tuple[str, int]] = set()
    for one in catalog.sources:
        for piece in one.pieces:
            pieces = held.get(piece.segment, ())
            place = piece.segment, piece.number
            if not 0 <= piece.number < len(pieces) or pieces[piece.number] != piece.record or place in taken:
                raise RowIndexError(
                    f"Index {path}: the rows of `{one.source.dataset}` are not in {piece.segment}, where its catalog "
                    "says they are. Fetch or build the index again."
                )
            taken.add(place)
