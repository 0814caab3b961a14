"""Scoring a segment's rows by their cells: the best cell of each, exactly, or the rows whose cells are nearest."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rebase_hf.index.exact_scan import NO_ID
from rebase_hf.index.places import GONE
from rebase_hf.index.rows_store import RowsStore
from rebase_hf.index.segment import Segment
from rebase_hf.index.vectors import VectorStore

Array = np.ndarray[Any, Any]

NOTHING = -1.0  # the score of a row none of whose cells competes; no cosine is lower
_CHUNK_CELLS = 32_768


@dataclass(frozen=True, slots=True)
class CellFilter:
    """Which cells of a segment compete.

    Attributes:
        junk: Whether those that say nothing by themselves do.
        pieces: bool (pieces): which pieces' cells do; None for all.
        columns: For each piece which of its source's columns do, bool; None for all.
    """

    junk: bool = False
    pieces: Array | None = field(default=None, repr=False)
    columns: tuple[Array, ...] | None = field(default=None, repr=False)

    def keeps(self, store: RowsStore, cells: Array, rows: Array) -> Array:
        """Return which of these cells compete.

        Args:
            rows: The row of each.
        """
        kept = np.ones(len(cells), dtype=bool) if self.junk else ~store.cell_junk[cells]
        if self.pieces is None and self.columns is None:
            return kept
        owners = store.pieces[rows]
        if self.pieces is not None:
            kept &= self.pieces[owners]
        if self.columns is not None:
            starts = np.concatenate([[0], np.cumsum([len(own) for own in self.columns])])
            kept &= np.concatenate(self.columns)[starts[owners] + store.cell_columns[cells]]
        return kept


@dataclass(frozen=True, slots=True)
class LiveSegment:
    """A segment, and which of its rows are in the index under which keys.

    Attributes:
        owners: int64 (pieces): the source of each; GONE where it is no longer in the index.
        keys_of: Turns its rows into keys.
    """

    segment: Segment
    owners: Array
    keys_of: Callable[[Array], Array]

    def living(self, *, junk: bool) -> CellFilter:
        """Return the filter that lets pass what is in the index."""
        alive = self.owners != GONE
        return CellFilter(junk=junk, pieces=None if alive.all() else alive)


def best_cells(
    segment: Segment,
    queries: Array,
    rows: Array,
    competing: CellFilter,
    *,
    scores: Array,
    columns: Array,
    at: Array,
    without: Array | None = None,
) -> None:
    """Fill in for rows and queries the best cell's score and column; of cells that score the same the first counts.

    Args:
        queries: float32 (m, dimension).
        scores: float32 (any, m) to write into, at the places `at` of the rows; and so `columns`, int32. Where no cell
            of a row competes they are left as they are.
        without: For each row a column that does not compete.
    """
    store = segment.rows
    counts = store.cell_starts[rows + 1] - store.cell_starts[rows]
    ends = np.cumsum(counts)
    start = 0
    while start < len(rows):
        done = int(ends[start] - counts[start])
        stop = max(int(np.searchsorted(ends, done + _CHUNK_CELLS, side="right")), start + 1)
        part = slice(start, stop)
        cells, owners = _cells_of(store, rows[part], counts[part])
        kept = competing.keeps(store, cells, rows[part][owners])
        if without is not None:
            kept &= store.cell_columns[cells] != without[part][owners]
        cells, owners = cells[kept], owners[kept]
        if len(cells):
            held, best, best_columns = _best_of(store, segment.vectors, queries, cells, owners)
            scores[at[part][held]] = best
            columns[at[part][held]] = best_columns
        start = stop


def nearest_rows(
    live: LiveSegment, query: Array, k: int, competing: CellFilter, *, exact: bool, allowed: Array | None = None
) -> tuple[Array, Array]:
    """Return the k rows of a segment whose best cell is nearest to a query.

    Args:
        query: float32 (dimension,).
        exact: Look at every vector; else at those that the graph finds.
        allowed: Look at no other vectors than these: a mask, or ids.

    Returns:
        Keys, int64, best first, equal scores by key, and their best cells' exact scores, float32. There may be more
        than k, and fewer only where no other row has a competing cell.
    """
    vectors = live.segment.vectors
    count = len(vectors) if allowed is None else int(allowed.sum()) if allowed.dtype == np.bool_ else len(allowed)
    looked = 2 * k + 32  # a text may stand in several rows, a row has several cells, and codes of 8 bits misplace some
    while True:
        looked = min(looked, count)
        if not looked:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        ids, found = vectors.nearest(query[None], looked, exact=exact, allowed=allowed)
        held = ids[0] != NO_ID
        keys, scores = _rows_of(live, ids[0][held], found[0][held], competing)
        # Texts may share a vector ("Yes" and "yes" to an uncased encoder): what scores as the last one looked at may
        # go on among those that were not, and then the keys decide.
        floor = found[0][held][-1] if exact and looked < count else np.float32(-np.inf)
        if looked == count or (len(keys) >= k and scores[k - 1] > floor):
            return keys, scores
        looked *= 4


def column_sums(
    segment: Segment, queries: Array, rows: Array, *, junk: bool
) -> tuple[dict[int, Array], dict[int, int]]:
    """Return for each column of some rows of a source the sum of its cells' scores, float32 (m), and their number."""
    store = segment.rows
    cells, owners = _cells_of(store, rows, store.cell_starts[rows + 1] - store.cell_starts[rows])
    cells = cells[CellFilter(junk=junk).keeps(store, cells, rows[owners])]
    if not len(cells):
        return {}, {}
    ids, place = np.unique(store.cell_vectors[cells], return_inverse=True)
    scores = segment.vectors.scores(ids, queries)[place]
    columns, at = np.unique(store.cell_columns[cells], return_inverse=True)
    sums = np.zeros((len(columns), len(queries)), np.float32)
    np.add.at(sums, at, scores)
    numbers = columns.tolist()
    return dict(zip(numbers, sums, strict=True)), dict(zip(numbers, np.bincount(at).tolist(), strict=True))


def allowed_vectors(segment: Segment, competing: CellFilter) -> Array:
    """Return the vectors of the cells that compete: ids where they are few, else a mask."""
    store, wanted = segment.rows, competing.pieces
    pieces = range(len(segment.pieces)) if wanted is None else np.flatnonzero(wanted).tolist()
    mask = np.zeros(len(segment.vectors), dtype=bool)
    for piece in pieces:
        first, last = segment.piece_starts[piece : piece + 2].tolist()
        rows = np.arange(first, last)
        cells, owners = _cells_of(store, rows, store.cell_starts[rows + 1] - store.cell_starts[rows])
        mask[store.cell_vectors[cells[competing.keeps(store, cells, rows[owners])]]] = True
    ids = np.flatnonzero(mask)
    return ids if 8 * len(ids) < len(mask) else mask


def _cells_of(store: RowsStore, rows: Array, counts: Array) -> tuple[Array, Array]:
    """Return the cells of the rows, one row after the other, and which of the rows each is of."""
    owners = np.repeat(np.arange(len(rows)), counts)
    before = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return store.cell_starts[rows][owners] + np.arange(len(owners)) - before[owners], owners


def _best_of(
    store: RowsStore, vectors: VectorStore, queries: Array, cells: Array, owners: Array
) -> tuple[Array, Array, Array]:
    """Return which owners there are, and the score and column of the best cell of each; `owners` never falls."""
    ids, place = np.unique(store.cell_vectors[cells], return_inverse=True)
    cell_scores = vectors.scores(ids, queries)[place]
    held, starts = np.unique(owners, return_index=True)
    best = np.maximum.reduceat(cell_scores, starts, axis=0)
    lengths = np.diff(np.append(starts, len(owners)))
    first = np.where(cell_scores == np.repeat(best, lengths, axis=0), np.arange(len(cells))[:, None], len(cells))
    first = np.minimum.reduceat(first, starts, axis=0)
    return held, best, store.cell_columns[cells][first]


def _rows_of(live: LiveSegment, ids: Array, scores: Array, competing: CellFilter) -> tuple[Array, Array]:
    """Return the keys of rows that hold the vectors, each once, with its best score; best first, then by key."""
    store = live.segment.rows
    counts = store.vector_starts[ids + 1] - store.vector_starts[ids]
    owners = np.repeat(np.arange(len(ids)), counts)
    before = np.cumsum(counts) - counts
    cells = store.vector_cells[store.vector_starts[ids][owners] + np.arange(len(owners)) - before[owners]]
    rows = store.cell_rows(cells)
    kept = competing.keeps(store, cells, rows)
    rows, owners = rows[kept], owners[kept]
    unique, first = np.unique(rows, return_index=True)  # owners are by falling score, so the first is the best
    keys, best = live.keys_of(unique), scores[owners[first]]
    order = np.lexsort((keys, -best))
    return keys[order].astype(np.int64), best[order].astype(np.float32)
