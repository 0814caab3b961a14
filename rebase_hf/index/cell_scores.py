"""Scoring rows by their cells: the best cell of each row for a query, exactly, or the rows whose cells are nearest."""

from typing import Any

import numpy as np

from rebase_hf.index.exact_scan import NO_ID
from rebase_hf.index.rows_store import RowsStore
from rebase_hf.index.vectors import VectorStore

Array = np.ndarray[Any, Any]

NOTHING = -1.0  # the score of a row none of whose cells competes; no cosine is lower
_CHUNK_CELLS = 32_768


def best_cells(
    store: RowsStore, vectors: VectorStore, queries: Array, keys: Array | None, *, junk: bool
) -> tuple[Array, Array]:
    """Return for each row and query the best cell's score and column.

    Args:
        queries: float32 (m, dimension).
        keys: Rows to score; None scores all.
        junk: Whether cells that say nothing by themselves compete.

    Returns:
        Scores, float32 (rows, m), and columns, int32 (rows, m): -1.0 and -1 where no cell of the row competes. Of
        cells that score the same, the first counts.
    """
    rows = np.arange(len(store), dtype=np.int64) if keys is None else np.asarray(keys, dtype=np.int64)
    scores = np.full((len(rows), len(queries)), NOTHING, dtype=np.float32)
    columns = np.full((len(rows), len(queries)), -1, dtype=np.int32)
    counts = store.cell_starts[rows + 1] - store.cell_starts[rows]
    ends = np.cumsum(counts)
    start = 0
    while start < len(rows):
        done = int(ends[start] - counts[start])
        stop = max(int(np.searchsorted(ends, done + _CHUNK_CELLS, side="right")), start + 1)
        part = slice(start, stop)
        cells, owners = _cells_of(store, rows[part], counts[part])
        if not junk:
            competes = ~store.cell_junk[cells]
            cells, owners = cells[competes], owners[competes]
        if len(cells):
            _score_part(store, vectors, queries, cells, owners, scores[part], columns[part])
        start = stop
    return scores, columns


def nearest_rows(
    store: RowsStore, vectors: VectorStore, query: Array, k: int, *, junk: bool, exact: bool
) -> tuple[Array, Array, float]:
    """Return the k rows whose best cell is nearest to a query.

    Args:
        exact: Look at every vector; else at those that the graph finds.

    Returns:
        Keys, int64, best first, equal scores by key; their best cells' exact scores, float32; and the score of the
        last cell looked at: up to the graph's recall, no cell of a row that is not returned scores above it. It is
        -1.0 when there was nothing more to look at.
    """
    k = min(k, len(store))
    if k < 1:
        return np.zeros(0, np.int64), np.zeros(0, np.float32), 1.0
    looked = 2 * k + 32  # a text may stand in several rows, a row has several cells, and codes of 8 bits misplace some
    while True:
        exhausted = looked >= len(vectors)
        ids, found = vectors.nearest(query[None], min(looked, len(vectors)), exact=exact)
        held = ids[0] != NO_ID
        keys, scores = _rows_of(store, ids[0][held], found[0][held], junk=junk)
        if len(keys) >= k:
            return keys[:k], scores[:k], float(scores[k - 1])
        if exhausted:
            return keys, scores, NOTHING
        looked *= 4


def column_scores(
    store: RowsStore, vectors: VectorStore, queries: Array, keys: Array, *, junk: bool
) -> tuple[Array, Array]:
    """Return the columns of some rows and how near their cells are to each query on average.

    Args:
        queries: float32 (m, dimension).
        keys: Rows of one source, a few hundred at most.
        junk: Whether cells that say nothing by themselves count.

    Returns:
        Columns, int32 (c), and mean scores, float32 (c, m).
    """
    rows = np.asarray(keys, dtype=np.int64)
    cells, _ = _cells_of(store, rows, store.cell_starts[rows + 1] - store.cell_starts[rows])
    if not junk:
        cells = cells[~store.cell_junk[cells]]
    if not len(cells):
        return np.zeros(0, np.int32), np.zeros((0, len(queries)), np.float32)
    ids, place = np.unique(store.cell_vectors[cells], return_inverse=True)
    scores = vectors.scores(ids, queries)[place]
    columns, at = np.unique(store.cell_columns[cells], return_inverse=True)
    sums = np.zeros((len(columns), len(queries)), np.float32)
    np.add.at(sums, at, scores)
    return columns.astype(np.int32), sums / np.bincount(at)[:, None].astype(np.float32)


def _cells_of(store: RowsStore, rows: Array, counts: Array) -> tuple[Array, Array]:
    """Return the cells of the rows, one row after the other, and which of the rows each is of."""
    owners = np.repeat(np.arange(len(rows)), counts)
    before = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return store.cell_starts[rows][owners] + np.arange(len(owners)) - before[owners], owners


def _score_part(
    store: RowsStore, vectors: VectorStore, queries: Array, cells: Array, owners: Array, scores: Array, columns: Array
) -> None:
    """Fill in the scores and columns of some rows; `owners` never falls."""
    ids, place = np.unique(store.cell_vectors[cells], return_inverse=True)
    cell_scores = vectors.scores(ids, queries)[place]
    held, starts = np.unique(owners, return_index=True)
    best = np.maximum.reduceat(cell_scores, starts, axis=0)
    lengths = np.diff(np.append(starts, len(owners)))
    first = np.where(cell_scores == np.repeat(best, lengths, axis=0), np.arange(len(cells))[:, None], len(cells))
    first = np.minimum.reduceat(first, starts, axis=0)
    scores[held] = best
    columns[held] = store.cell_columns[cells][first]


def _rows_of(store: RowsStore, ids: Array, scores: Array, *, junk: bool) -> tuple[Array, Array]:
    """Return the rows that hold the vectors, each once, with its best score; best first, equal scores by key."""
    counts = store.vector_starts[ids + 1] - store.vector_starts[ids]
    owners = np.repeat(np.arange(len(ids)), counts)
    before = np.cumsum(counts) - counts
    cells = store.vector_cells[store.vector_starts[ids][owners] + np.arange(len(owners)) - before[owners]]
    if not junk:
        competes = ~store.cell_junk[cells]
        cells, owners = cells[competes], owners[competes]
    rows = store.cell_rows(cells)
    keys, first = np.unique(rows, return_index=True)  # owners are by falling score, so the first is the best
    best = scores[owners[first]]
    order = np.lexsort((keys, -best))
    return keys[order].astype(np.int64), best[order].astype(np.float32)
