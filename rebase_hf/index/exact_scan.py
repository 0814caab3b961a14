"""Exact search: every vector, or every one of a subset, compared with the queries, block by block.

Threads look at a stretch of the vectors each. A score depends on its vector and its query alone, and the k best by
score and id are the same whichever way they are looked for, so the answer is that of one thread, to the bit.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from rebase_hf.index.dots import Queries
from rebase_hf.index.text_batches import usable_cores

Array = np.ndarray[Any, Any]

NO_ID = -1  # fills up where there are fewer vectors than were asked for
NO_SCORE = np.float32(-np.inf)
_BLOCK = 8192
_BLOCK_OF_ONE = 1024  # scattered rows are then still in the processor's cache when they are multiplied
_QUERIES = 64  # more at once make the blocks' scores fall out of the processor's cache
_STRETCH = 4 * _BLOCK  # a thread's start costs as much as some thousand vectors do


def scan(vectors: Array, queries: Array, k: int, ids: Array | None = None, *, threads: int = 1) -> tuple[Array, Array]:
    """Return the k vectors nearest to each query, best first, equal scores by id.

    Args:
        vectors: float16 (n, dimension), memory-mapped or not.
        queries: float32 (m, dimension).
        ids: Look only at these, rising; None looks at all.
        threads: How many look at once; 0 takes all cores. The answer is the same.

    Returns:
        Ids, int64 (m, k), and scores, float32 (m, k); `NO_ID` and `NO_SCORE` where there are fewer than k.
    """
    found = np.full((len(queries), k), NO_ID, np.int64)
    scores = np.full((len(queries), k), NO_SCORE, np.float32)
    count = len(vectors) if ids is None else len(ids)
    stretches = max(min(threads or usable_cores(), count // _STRETCH), 1)
    bounds = np.linspace(0, count, stretches + 1).astype(np.int64).tolist()
    plain = np.asarray(vectors)  # a memory map's own indexing makes a map of each result
    with ThreadPoolExecutor(stretches) as pool:  # starts no thread before it is given work
        for start in range(0, len(queries), _QUERIES):
            part = slice(start, start + _QUERIES)
            packed = Queries(queries[part])

            def look(first: int, last: int, packed: Queries = packed) -> list[_Best]:
                return _best(plain, packed, k, ids, first, last)

            each = list((map if stretches == 1 else pool.map)(look, bounds[:-1], bounds[1:]))
            for own_ids, own_scores, *bests in zip(found[part], scores[part], *each, strict=True):
                held_ids, held_scores = _joined(bests, k)
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


def _joined(bests: list[_Best], k: int) -> tuple[Array, Array]:
    parts = [best.nearest() for best in bests]
    if len(parts) == 1:
        return parts[0]
    return nearest_of(np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]), k)


def _best(vectors: Array, queries: Queries, k: int, ids: Array | None, first: int, last: int) -> list[_Best]:
    """Return what is best for each query of the vectors, or of the ids, from place `first` to `last`."""
    best = [_Best(k) for _ in range(len(queries))]
    scattered = ids is not None and last > first and int(ids[last - 1] - ids[first]) != last - first - 1
    step = _BLOCK_OF_ONE if scattered and len(queries) == 1 else _BLOCK
    room = np.empty((step, vectors.shape[1]), vectors.dtype)  # one for all blocks: fresh pages cost more than the rows
    for start in range(first, last, step):
        stop = min(start + step, last)
        block = np.arange(start, stop) if ids is None else ids[start:stop]
        if int(block[-1]) - int(block[0]) == stop - start - 1:  # a run of the file needs no copy
            rows = vectors[int(block[0]) : int(block[-1]) + 1]
        else:
            rows = np.take(vectors, block, axis=0, out=room[: len(block)], mode="clip")  # "raise" would copy twice
        for own, column in zip(best, np.ascontiguousarray(queries.dots(rows).T), strict=True):
            own.look_at(block, column)
    return best
