"""Building the usearch graph of an index: int8 codes added in a shuffled order, then audited and put in order.

Settings from PERFORMANCE.md section 1: vectors are scaled and rounded here, because usearch's own int8 cast truncates
and uses a fifth of the range (exact-search ceiling of recall@10 .955, against .990); metric `ip` costs 22 % less
building than `cos`.
"""

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.index.durable import sync_file, sync_folder
from rebase_hf.index.graph_audit import link_unreachable
from rebase_hf.index.graph_order import write_in_order
from rebase_hf.index.quantising import quantise

logger = logging.getLogger(__name__)

Array = np.ndarray[Any, Any]

CONNECTIVITY = 16
EXPANSION_ADD = 144
EXPANSION_ADD_FAST = 80  # benchmarks/index_vectors.py tells what both cost and find
# Below this a build takes seconds on one thread, and one thread makes the same bytes every time.
SINGLE_THREAD_BELOW = 100_000
CHUNK = 16_384
# Vectors that lie together in the file are added in runs this long, the runs shuffled and each chunk of them too: a
# run fills pages of the file where single rows would read five times as much, and is far shorter than a source.
_RUN = 16
# The first of the vectors go in at random, and all later ones find a graph that spans everything; where already the
# first chunk goes in group by group, a search of 1M finds less.
_AT_RANDOM = 1 / 8
_TOGETHER = 64


def build_graph(
    vectors: Array,
    path: Path,
    *,
    scale: float,
    seed: int = 0,
    single_thread_below: int = SINGLE_THREAD_BELOW,
    expansion_add: int = EXPANSION_ADD,
) -> None:
    """Write the graph of the vectors; below 100,000 of them the same vectors make the same bytes.

    Vectors go in by random chunks: in the order of their sources recall falls by 1.6 to 2.7 points at 1M. Memory is
    the graph's and some megabytes: of a memory-mapped file only the rows of one chunk are held.

    Args:
        expansion_add: `EXPANSION_ADD_FAST` builds sooner and finds a little less.
    """
    beside = path.with_name(f".{path.name}.part")
    ordered = path.with_name(f".{path.name}.ordered")
    threads = 1 if len(vectors) < single_thread_below else 0
    _save_graph(vectors, beside, scale=scale, seed=seed, threads=threads, expansion_add=expansion_add)
    strays = link_unreachable(beside)
    if strays:
        logger.info("Linked %d of %d vectors that no path led to.", strays, len(vectors))
    if write_in_order(beside, ordered):
        os.replace(ordered, beside)
    elif len(vectors):
        logger.warning("The graph's file is laid out in a way that is not known; it was left as it is.")
    sync_file(beside)
    os.replace(beside, path)
    sync_folder(path.parent)


def _save_graph(vectors: Array, path: Path, *, scale: float, seed: int, threads: int, expansion_add: int) -> None:
    from usearch.index import Index

    graph = Index(
        ndim=vectors.shape[1], metric="ip", dtype="i8", connectivity=CONNECTIVITY, expansion_add=expansion_add
    )
    random = np.random.default_rng(seed)
    runs = random.permutation(-(-len(vectors) // _RUN))
    for start in range(0, len(runs), CHUNK // _RUN):
        # Read in file order, which a memory map likes; added in shuffled order.
        keys = (np.sort(runs[start : start + CHUNK // _RUN])[:, None] * _RUN + np.arange(_RUN)).ravel()
        keys = keys[keys < len(vectors)]
        codes = quantise(_mapped_anew(vectors)[keys], scale)
        order = random.permutation(len(keys))
        if start >= _AT_RANDOM * len(runs):
            order = order[_near_ones_together(codes[order])]
        graph.add(keys[order].astype(np.uint64), codes[order], threads=threads)
    graph.save(str(path))  # usearch writes straight onto its target and never syncs


def _mapped_anew(vectors: Array) -> Array:
    """Return the same vectors; a file's through a map of its own, so that letting go of it lets go of its pages."""
    if not isinstance(vectors, np.memmap) or isinstance(vectors.base, np.ndarray) or vectors.filename is None:
        return vectors  # no file's, or a part of one
    return np.memmap(vectors.filename, dtype=vectors.dtype, mode="r", offset=vectors.offset, shape=vectors.shape)


def _near_ones_together(codes: Array) -> Array:
    """Return an order of a shuffled chunk: those nearest to the same one of it follow each other, some 64 at a time.

    They walk through the same part of the graph, which is then in the processor's cache, and adding takes less time. A
    chunk is a random sample of all, so recall does not fall as it does when all vectors lie in such an order.
    """
    real = codes.astype(np.float32)  # sums of products of codes are whole numbers, exact in any order
    centres = real[: -(-len(real) // _TOGETHER)]
    return np.argsort(np.argmax(real @ centres.T, axis=1), kind="stable")
