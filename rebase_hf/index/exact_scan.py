"""Exact search: every vector, or every one of a subset, compared with the queries, block by block."""

from typing import Any

import numpy as np

from rebase_hf.index.dots import Queries

Array = np.ndarray[Any, Any]

NO_ID = -1  # fills up where there are fewer vectors than were asked for
NO_SCORE = np.float32(-np.inf)
_BLOCK = 8192
_QUERIES = 64  # more at once make the blocks' scores fall out of the processor's cache


def scan(vectors: Array, queries: Array, k: int, ids: Array | None = None) -> tuple[Array, Array]:
    """Return the k vectors nearest to each query, best first, equal scores by id.

    Args:
        vectors: float16 (n, dimension), memory-mapped or not.
        queries: float32 (m, dimension).
        ids: Look only at these, rising; None looks at all.

    Returns:
        Ids, int64 (m, k), and scores, float32 (m, k); `NO_ID` and `NO_SCORE` where there are fewer than k.
    """
    found = np.full((len(queries), k), NO_ID, np.int64)
    scores = np.full((len(queries), k), NO_SCORE, np.float32)
    for start in range(0, len(queries), _QUERIES):
        part = slice(start, start + _QUERIES)
        for best, own_ids, own_scores in zip(
            _best(vectors, queries[part], k, ids), found[part], scores[part], strict=True
        ):
            held_ids, held_scores = best.nearest()
            own_ids[: len(held_ids)], own_scores[: len(held_ids)] = held_ids, held_scores
    return found, scores


def nearest_of(ids: Array, scores: Array, k: int) -> tuple[Array, Array]:
    """Return the k ids that score highest, best first, equal scores by id."""
    if len(ids) > 4 * k:
        # Sorting a few beats sorting all; equal scores at the boundary all stay, so that the ids decide.
        keep = scores >= np.partition(scores, len(scores) - k)[len(scores) - k]
        ids, scores = ids[keep], scores[keep]
    order = np.lexsort((ids, -scores))[:k]
    return ids[order], scores[order]


class _Best:
    """The nearest so far to one query."""

    def __init__(self, k: int) -> None:
        self._k = k
        self._ids: list[Array] = []
        self._scores: list[Array] = []
        self._held = 0
        self._floor = NO_SCORE

    def look_at(self, ids: Array, scores: Array) -> None:
        """Take in those of a block that may be among the nearest."""
        if self._floor > NO_SCORE:
            better = np.flatnonzero(scores >= self._floor)
            ids, scores = ids[better], scores[better]
        self._ids.append(ids)
        self._scores.append(scores)
        self._held += len(ids)
        if self._held > max(4 * self._k, _BLOCK) or (self._floor == NO_SCORE and 4 * self._k < self._held):
            self._reduce()

    def nearest(self) -> tuple[Array, Array]:
        """Return the ids and scores of the k nearest, best first."""
        self._reduce()
        return self._ids[0], self._scores[0]

    def _reduce(self) -> None:
        ids = np.concatenate([*self._ids, np.zeros(0, np.int64)])
        scores = np.concatenate([*self._scores, np.zeros(0, np.float32)])
        ids, scores = nearest_of(ids, scores, self._k)
        self._ids, self._scores, self._held = [ids], [scores], len(ids)
        if len(ids) == self._k:
            self._floor = scores[-1]


def _best(vectors: Array, queries: Array, k: int, ids: Array | None) -> list[_Best]:
    packed = Queries(queries)
    best = [_Best(k) for _ in queries]
    count = len(vectors) if ids is None else len(ids)
    for start in range(0, count, _BLOCK):
        stop = min(start + _BLOCK, count)
        block = np.arange(start, stop) if ids is None else ids[start:stop]
        whole = int(block[-1]) - int(block[0]) == stop - start - 1  # a run of the file needs no copy
        rows = vectors[int(block[0]) : int(block[-1]) + 1] if whole else vectors[block]
        scores = packed.dots(np.asarray(rows))
        for own, column in zip(best, np.ascontiguousarray(scores.T), strict=True):
            own.look_at(block, column)
    return best
