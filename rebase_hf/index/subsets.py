"""A part of the vectors that a search is held to, and the cheaper way to search it: the graph, or every vector of it.

usearch has no filtered search in Python. Asked for more candidates than are wanted, the graph's answer holds enough of
a large part; a small part is sooner looked at whole. A query whose candidates hold too few of the part (what is near
it lies elsewhere) is answered by looking at the whole part: nothing is lost, and as the graph is only asked where it
is the cheaper, both together cost at most twice the scan.
"""

import math
from typing import Any

import numpy as np

from rebase_hf.errors import RowIndexError

Array = np.ndarray[Any, Any]

# CPU time in microseconds, 384 dimensions, benchmarks/index_vectors.py: a scattered row read and multiplied with a
# query, each further query of the same call, and one more candidate asked of a graph of 1M.
_ROW = 0.1
_ROW_AGAIN = 0.018
_CANDIDATE = 2.0
# Candidates of the part for each result: the last of what a graph finds is found worse than the first, and rescoring
# wants a choice.
_ENOUGH = 4
# How much more of the part the graph is asked for than must come back; parts are not spread evenly.
_SLACK = 1.5


class Subset:
    """Some of `count` vectors."""

    def __init__(self, allowed: Array, count: int) -> None:
        """Take a boolean mask (count,) or ids in any order, repeated or not.

        Raises:
            RowIndexError: The mask is of another length, or an id is of no vector.
        """
        self._mask: Array | None = None
        self._ids: Array | None = None
        given = np.asarray(allowed)
        if given.dtype == np.bool_:
            if given.shape != (count,):
                raise RowIndexError(
                    f"The mask of allowed vectors has shape {given.shape}; there are {count} vectors, give one each."
                )
            self._mask, self._ids = given, None
            self.size = int(np.count_nonzero(given))
        else:
            ids = given.astype(np.int64, casting="safe") if given.size else np.zeros(0, np.int64)
            if ids.ndim != 1 or (len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < count):
                raise RowIndexError(f"Allowed vectors are a list of ids from 0 to {count - 1}, or a boolean mask.")
            rising = len(ids) < 2 or bool((ids[1:] > ids[:-1]).all())
            self._ids = ids = ids if rising else np.unique(ids)
            self.size = len(ids)
        self._count = count

    @property
    def ids(self) -> Array:
        """The ids, rising."""
        if self._ids is None:
            self._ids = np.flatnonzero(self.mask)
        return self._ids

    @property
    def mask(self) -> Array:
        """Whether each vector is of the part."""
        if self._mask is None:
            self._mask = np.zeros(self._count, dtype=bool)
            self._mask[self._ids] = True
        return self._mask

    def enough(self, k: int) -> int:
        """Return how many candidates must be of the part for the k best among them to be trusted."""
        return _ENOUGH * k

    def candidates(self, k: int, queries: int) -> int | None:
        """Return how many candidates to ask the graph for; None where looking at the whole part costs less."""
        if self.size <= self.enough(k):
            return None
        asked = math.ceil(_SLACK * self.enough(k) * self._count / self.size)
        through_graph = queries * asked * _CANDIDATE
        whole = self.size * (_ROW + (queries - 1) * _ROW_AGAIN)
        return asked if asked < self._count and through_graph < whole else None
