"""The vectors of an index: float16 on disk for exact scores, and a usearch graph of int8 ones to find candidates.

The only file that imports usearch. Settings from PERFORMANCE.md section 1: vectors are scaled and rounded here,
because usearch's own int8 cast truncates and uses a fifth of the range (exact-search ceiling of recall@10 .955,
against .990); metric `ip` costs 22 % less building than `cos`.
"""

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.errors import RowIndexError
from rebase_hf.index.durable import read_array, sync_file, sync_folder

logger = logging.getLogger(__name__)

Array = np.ndarray[Any, Any]

VECTORS = "vectors.npy"  # float16 (vectors, dimension)
GRAPH = "graph.usearch"
CONNECTIVITY = 16
EXPANSION_ADD = 128
# Recall@10 at ef 64 is .973 at 100k vectors and falls to .918 at 1M; ef 256 brings it back to .971.
EXPANSION_SEARCH = 64
EXPANSION_SEARCH_LARGE = 256
# Below this a build takes seconds on one thread, and one thread makes the same bytes every time.
SINGLE_THREAD_BELOW = 100_000
CHUNK = 16_384
_CLIP_SAMPLE = 20_000
# Component sizes beyond this share of all are cut off: for MiniLM's 384 dimensions that is about .22, a scale of 577.
_CLIP_QUANTILE = 0.9999


def choose_scale(vectors: Array, seed: int = 0) -> float:
    """Return what to multiply components by so that nearly all fit an int8."""
    if not len(vectors):
        return 127.0
    count = min(len(vectors), _CLIP_SAMPLE)
    rows = np.sort(np.random.default_rng(seed).choice(len(vectors), count, replace=False))
    clip = float(np.quantile(np.abs(np.asarray(vectors[rows], dtype=np.float32)), _CLIP_QUANTILE))
    return round(127.0 / max(clip, 1e-3), 4)


def quantise(vectors: Array, scale: float) -> Array:
    """Return int8 vectors: scaled, rounded, cut off at +-127."""
    scaled = np.rint(np.asarray(vectors, dtype=np.float32) * np.float32(scale))
    codes: Array = np.clip(scaled, -127, 127).astype(np.int8)
    return codes


def build_graph(
    vectors: Array, path: Path, *, scale: float, seed: int = 0, single_thread_below: int = SINGLE_THREAD_BELOW
) -> None:
    """Write the graph of the vectors; below 100,000 of them the same vectors make the same bytes.

    Vectors go in shuffled: in the order of their sources recall falls by 1.6 to 2.7 points at 1M.
    """
    from usearch.index import Index

    graph = Index(
        ndim=vectors.shape[1], metric="ip", dtype="i8", connectivity=CONNECTIVITY, expansion_add=EXPANSION_ADD
    )
    threads = 1 if len(vectors) < single_thread_below else 0
    order = np.random.default_rng(seed).permutation(len(vectors)).astype(np.uint64)
    for start in range(0, len(order), CHUNK):
        keys = order[start : start + CHUNK]
        # Read in file order, which a memory map likes; added in shuffled order.
        ranks = np.argsort(keys)
        codes = np.empty((len(keys), vectors.shape[1]), dtype=np.int8)
        codes[ranks] = quantise(vectors[keys[ranks]], scale)
        graph.add(keys, codes, threads=threads)
    if threads != 1:
        _mend(graph, vectors, scale)
    beside = path.with_name(f".{path.name}.part")
    graph.save(str(beside))  # usearch writes straight onto its target and never syncs
    sync_file(beside)
    os.replace(beside, path)
    sync_folder(path.parent)


def _mend(graph: Any, vectors: Array, scale: float) -> None:
    """Add again, on one thread, the vectors that a parallel build left out of reach (usearch issue 735)."""
    strays: list[int] = []
    for start in range(0, len(vectors), CHUNK):
        codes = quantise(vectors[start : start + CHUNK], scale)
        keys = np.arange(start, start + len(codes))
        found = graph.search(codes, 5)
        itself = (found.keys == keys[:, None]).any(axis=1)
        # A twin of the same code in its place is as good: the best distance found is the one to itself.
        own = 1.0 - np.einsum("nd,nd->n", codes, codes, dtype=np.float64)
        strays.extend(keys[~itself & (found.distances[:, 0] > own)].tolist())
    for key in strays:
        graph.remove(key)
        graph.add(key, quantise(vectors[key], scale), threads=1)
    if strays:
        logger.info("Added %d of %d vectors again that the graph did not find.", len(strays), len(vectors))


class VectorStore:
    """The stored vectors and their graph, both memory-mapped; reading is thread-safe."""

    def __init__(self, folder: Path, *, scale: float) -> None:
        self.array = read_array(folder / VECTORS, np.float16)
        if self.array.ndim != 2:
            raise RowIndexError(f"{folder / VECTORS} has shape {self.array.shape}; build the index again.")
        self._scale = scale
        self._graph = _view(folder / GRAPH, self.array)

    def __len__(self) -> int:
        return len(self.array)

    def scores(self, ids: Array, queries: Array) -> Array:
        """Return dot products, float32 of shape (ids, queries), by the stored float16 vectors."""
        return np.asarray(self.array[ids], dtype=np.float32) @ np.asarray(queries, dtype=np.float32).T

    def nearest(self, query: Array, count: int, *, exact: bool) -> tuple[Array, Array]:
        """Return (ids, exact scores) of the vectors nearest to a query, best first; equal scores by id.

        Args:
            count: How many are looked at; through the graph, those it finds nearest by their int8 codes.
            exact: Look at every vector instead of asking the graph.
        """
        count = min(count, len(self))
        if exact:
            scores = np.concatenate(
                [
                    self.scores(np.arange(start, min(start + CHUNK, len(self))), query[None])[:, 0]
                    for start in range(0, len(self), CHUNK)
                ]
                or [np.zeros(0, np.float32)]
            )
            best = np.argpartition(-scores, count - 1)[:count] if count < len(self) else np.arange(len(self))
            ids, scores = best, scores[best]
        else:
            found = self._graph.search(quantise(query, self._scale), count, threads=1)
            ids = np.asarray(found.keys, dtype=np.int64)
            scores = self.scores(ids, query[None])[:, 0]
        order = np.lexsort((ids, -scores))
        return ids[order], scores[order]


def _view(path: Path, vectors: Array) -> Any:
    from usearch.index import Index

    graph = Index.restore(str(path), view=True)
    if graph is None or len(graph) != len(vectors) or (len(vectors) and graph.ndim != vectors.shape[1]):
        raise RowIndexError(f"{path} is no graph of the {len(vectors)} vectors beside it; build the index again.")
    graph.expansion_search = EXPANSION_SEARCH if len(vectors) <= SINGLE_THREAD_BELOW else EXPANSION_SEARCH_LARGE
    return graph
