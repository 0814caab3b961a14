"""Dot products of stored float16 vectors with float32 queries, without making float32 copies of the vectors.

The only file that imports numkong, which usearch brings along. numpy turns 10,000 float16 rows of 384 into float32 in
6 ms and multiplies them in 1; numkong reads them as they are, in .9 ms. It wants the query in float16 too, so a query
goes in as two: what float16 holds of it, and 2,048 times what that leaves out. Products and sums are float32: with
both parts the result is as near the true one as float32's own (3e-8 for unit vectors; one part alone is 4e-5 off).
A result depends on its row and its query alone, not on what else is asked for: equal vectors score equally.
"""

from typing import Any

import numkong
import numpy as np

Array = np.ndarray[Any, Any]

_FINER = np.float32(2048.0)  # a float16 has 11 significant bits


class Queries:
    """Queries made ready to be multiplied with many blocks of rows."""

    def __init__(self, queries: Array) -> None:
        """Pack queries, float32 (m, dimension)."""
        parts = _parts(queries)
        self._count = len(queries)
        self._packed = numkong.dots_pack(parts.swapaxes(0, 1).reshape(-1, parts.shape[2])) if len(parts) else None

    def __len__(self) -> int:
        return self._count

    def dots(self, rows: Array) -> Array:
        """Return the dot products with rows, float16 (n, dimension): float32 (n, m)."""
        if self._packed is None or not len(rows):
            return np.zeros((len(rows), self._count), np.float32)
        both = np.asarray(numkong.dots_packed(np.ascontiguousarray(rows), self._packed))
        products: Array = both[:, : self._count] + both[:, self._count :] / _FINER
        return products


def dots_of_each(vectors: Array, ids: Array, queries: Array) -> Array:
    """Return each query's dot products with vectors of its own.

    Args:
        vectors: float16 (n, dimension), memory-mapped or not.
        ids: int64 (m, c).
        queries: float32 (m, dimension).

    Returns:
        float32 (m, c).
    """
    plain = np.asarray(vectors)  # a memory map's own indexing makes a map of each result
    both = np.empty((*ids.shape, 2), np.float32)
    for own, rows, parts in zip(both, ids, _parts(queries), strict=True):
        own[:] = numkong.dots_packed(plain[rows], numkong.dots_pack(parts))
    products: Array = both[..., 0] + both[..., 1] / _FINER
    return products


def _parts(queries: Array) -> Array:
    """Return what float16 holds of queries and, enlarged, what it leaves out: (m, 2, dimension)."""
    given = np.asarray(queries, dtype=np.float32)
    parts = np.empty((len(given), 2, given.shape[1]), np.float16)
    parts[:, 0] = given
    parts[:, 1] = (given - parts[:, 0].astype(np.float32)) * _FINER
    return parts
