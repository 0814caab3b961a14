"""The vectors of an index: float16 on disk for exact scores, and a usearch graph of int8 ones to find candidates.

What the graph finds is scored again by the float16 vectors, which gives back what the codes confuse.
"""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.errors import RowIndexError
from rebase_hf.index.dots import Queries, dots_of_each
from rebase_hf.index.durable import read_array
from rebase_hf.index.exact_scan import NO_ID, NO_SCORE, scan
from rebase_hf.index.graph_building import (
    CHUNK,
    CONNECTIVITY,
    EXPANSION_ADD,
    EXPANSION_ADD_FAST,
    SINGLE_THREAD_BELOW,
    build_graph,
)
from rebase_hf.index.quantising import choose_scale, quantise
from rebase_hf.index.subsets import Subset

__all__ = [
    "CHUNK",
    "CONNECTIVITY",
    "EXPANSION_ADD",
    "EXPANSION_ADD_FAST",
    "GRAPH",
    "VECTORS",
    "VectorStore",
    "build_graph",
    "choose_scale",
    "default_expansion",
    "quantise",
]

Array = np.ndarray[Any, Any]

VECTORS = "vectors.npy"  # float16 (vectors, dimension)
GRAPH = "graph.usearch"
# benchmarks/index_vectors.py prints recall@10 by expansion; .99 takes 160 of 100k real texts and 320 of 1M vectors.
_EXPANSION = 160
_EXPANSION_GROWTH = 0.4
_EXPANSION_LARGEST = 1024
# Candidates scored again for k results: 40 for 10 give back all that int8 codes lose (PERFORMANCE.md section 1).
_MORE_CANDIDATES = 30
_BATCH = 1 << 20  # candidates held at once


def default_expansion(count: int) -> int:
    """Return how many vectors of so many a search keeps in view: recall falls as an index grows, this holds it up."""
    growth: float = max(count / SINGLE_THREAD_BELOW, 1.0) ** _EXPANSION_GROWTH
    return min(round(_EXPANSION * growth), _EXPANSION_LARGEST)


class VectorStore:
    """The stored vectors and their graph, both memory-mapped; reading is thread-safe.

    The graph is opened by the first search through it. Its file must have been verified by then: usearch does not
    survive every damaged one.
    """

    def __init__(self, folder: Path, *, scale: float) -> None:
        self.array = read_array(folder / VECTORS, np.float16)
        if self.array.ndim != 2:
            raise RowIndexError(f"{folder / VECTORS} has shape {self.array.shape}; build the index again.")
        self._scale = scale
        self._path = folder / GRAPH
        self._opened: Any = None
        self._one_at_a_time = threading.Lock()  # the expansion is the graph's own, for all who search it
        with self._path.open("rb") as stream:
            shape = np.frombuffer(stream.read(8), "<u4")
        if len(shape) != 2 or int(shape[0]) != len(self) or (len(self) and int(shape[1]) != self.array.shape[1]):
            raise self._other_graph()

    def __len__(self) -> int:
        return len(self.array)

    def scores(self, ids: Array, queries: Array) -> Array:
        """Return dot products, float32 of shape (ids, queries), by the stored float16 vectors."""
        return Queries(queries).dots(self.array[ids])

    def nearest(
        self,
        queries: Array,
        k: int,
        *,
        exact: bool = False,
        expansion: int | None = None,
        allowed: Array | None = None,
        threads: int = 0,
    ) -> tuple[Array, Array]:
        """Return (ids, scores) of the vectors nearest to each query, best first; equal scores by id.

        Scores are exact, whichever way the vectors were found. Distinct texts may have equal vectors: an exact search
        returns the first k by score and id; of more equal ones than the graph finds, it is the graph's affair which.

        Args:
            queries: float32 (m, dimension).
            exact: Look at every vector instead of asking the graph.
            expansion: How many vectors a search keeps in view; None takes what holds recall@10 at .98.
            allowed: Only these vectors: a boolean mask, or ids. Recall is that of a search without.
            threads: How many search at once; 0 takes all cores.

        Returns:
            Ids, int64 (m, k), and scores, float32 (m, k): `NO_ID` and `NO_SCORE` where there are fewer than k.

        Raises:
            RowIndexError: `allowed` is no mask or list of ids of these vectors.
        """
        queries = np.atleast_2d(np.asarray(queries, dtype=np.float32))
        if allowed is not None:
            return self._nearest_allowed(queries, k, Subset(allowed, len(self)), exact, expansion, threads)
        # Asking a graph for a large share of its vectors costs more than looking at them all.
        if exact or 2 * k >= len(self):
            return scan(self.array, queries, k, threads=threads)
        ids, scores = _empty(len(queries), k)
        for part, candidates in self._candidates(queries, _rescored(k), expansion, threads):
            self._put(ids[part], scores[part], candidates, queries[part])
        return ids, scores

    def _nearest_allowed(
        self, queries: Array, k: int, subset: Subset, exact: bool, expansion: int | None, threads: int
    ) -> tuple[Array, Array]:
        ids, scores = _empty(len(queries), k)
        asked = None if exact else subset.candidates(k, len(queries))
        unanswered = np.ones(len(queries), dtype=bool)
        if asked is not None:
            wanted = subset.enough(k)
            wider = (expansion or default_expansion(len(self))) + asked  # the part's best lie further down the list
            for part, candidates in self._candidates(queries, asked, wider, threads):
                inside = subset.mask[candidates] & (candidates != NO_ID)
                # The nearest of the part come first, in their order.
                first = np.argsort(~inside, axis=1, kind="stable")[:, :wanted]
                answered = np.flatnonzero(inside.sum(axis=1) >= wanted)
                numbers = np.arange(part.start, part.start + len(candidates))[answered]
                own = np.take_along_axis(candidates, first, axis=1)[answered]
                found, exactly = _empty(len(numbers), k)
                self._put(found, exactly, own, queries[numbers])
                ids[numbers], scores[numbers], unanswered[numbers] = found, exactly, False
        rest = np.flatnonzero(unanswered)
        if len(rest):
            ids[rest], scores[rest] = scan(self.array, queries[rest], k, subset.ids, threads=threads)
        return ids, scores

    def _candidates(
        self, queries: Array, count: int, expansion: int | None, threads: int
    ) -> Iterator[tuple[slice, Array]]:
        """Yield parts of the queries and what the graph finds nearest by the codes, best first: ids (part, count)."""
        count = min(count, len(self))
        graph = self._graph()
        step = max(_BATCH // count, 1)
        for start in range(0, len(queries), step):
            part = slice(start, min(start + step, len(queries)))
            codes = quantise(queries[part], self._scale)
            with self._one_at_a_time:
                graph.expansion_search = max(expansion or default_expansion(len(self)), count)
                found = graph.search(codes, count, threads=1 if len(codes) == 1 else threads)
            keys = np.full((len(codes), count), NO_ID, np.int64)
            if len(codes) == 1:  # usearch answers one query in another form
                keys[0, : len(found.keys)] = found.keys
            else:
                keys[:] = np.where(np.arange(count) < found.counts[:, None], found.keys, NO_ID)
            yield part, keys

    def _put(self, ids: Array, scores: Array, candidates: Array, queries: Array) -> None:
        """Fill in answers (m, k): the best of each query's candidates (m, c) by their exact scores."""
        exactly = dots_of_each(self.array, candidates, queries)
        exactly[candidates == NO_ID] = NO_SCORE
        best = np.lexsort((candidates, -exactly), axis=1)[:, : ids.shape[1]]
        each = np.arange(len(best))[:, None]  # what take_along_axis does, at a fraction of its cost for one query
        ids[:, : best.shape[1]] = candidates[each, best]
        scores[:, : best.shape[1]] = exactly[each, best]

    def _graph(self) -> Any:
        with self._one_at_a_time:
            if self._opened is None:
                from usearch.index import Index

                if not self._path.is_file():
                    raise RowIndexError(
                        f"{self._path} is gone: the index has changed since it was opened. Open it again."
                    )
                graph = Index.restore(str(self._path), view=True)
                if graph is None or len(graph) != len(self) or (len(self) and graph.ndim != self.array.shape[1]):
                    raise self._other_graph()
                self._opened = graph
            return self._opened

    def _other_graph(self) -> RowIndexError:
        return RowIndexError(f"{self._path} is no graph of the {len(self)} vectors beside it; build the index again.")


def _rescored(k: int) -> int:
    """Return how many candidates are scored again for k results."""
    return k + max(_MORE_CANDIDATES, k // 2)


def _empty(queries: int, k: int) -> tuple[Array, Array]:
    return np.full((queries, k), NO_ID, np.int64), np.full((queries, k), NO_SCORE, np.float32)
