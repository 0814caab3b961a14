"""An index's vectors beside hnswlib, faiss and usearch by itself: recall against queries, the same vectors, one run.

Every one is built and searched in a process of its own, with the same links a node and the same width of search while
building; then it searches with wider and wider searches. Queries are counted by CPU time, all threads together, which
holds up on a machine that has other work. Real vectors only: distinct cells of the kit, some held out as queries.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from bisect import bisect_left
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.claims import ROOT, Line, parser, report
from benchmarks.index_vectors_parts import build_ours, cpu_of, opened
from benchmarks.index_vectors_work import K, Work
from benchmarks.made_vectors import vectors_and_queries

LINKS = 16  # of a node in the upper layers; twice as many in the lowest, in all of them
WIDTH_OF_BUILDING = 128
WIDTHS = (16, 32, 64, 128, 256, 512)
AT_RECALL = 0.98
WIDENED = 4  # candidates a place, where a search by small vectors is scored again by whole ones

Search = Callable[[np.ndarray, int], np.ndarray]


def ours(work: Work) -> tuple[Search, int]:
    """Build ours: a graph of 8-bit vectors, scored again by the 16-bit ones beside them."""
    size = build_ours(work)["bytes"]
    store = opened(work)
    return lambda queries, width: store.nearest(queries, K, expansion=width)[0], size + 2 * work.vectors.size


def hnswlib(work: Work) -> tuple[Search, int]:
    """Build hnswlib's graph, float32."""
    import hnswlib

    held = np.asarray(work.vectors)
    graph = hnswlib.Index(space="ip", dim=held.shape[1])
    graph.init_index(max_elements=len(held), M=LINKS, ef_construction=WIDTH_OF_BUILDING)
    graph.add_items(held)
    with tempfile.NamedTemporaryFile() as file:
        graph.save_index(file.name)
        size = Path(file.name).stat().st_size

    def search(queries: np.ndarray, width: int) -> np.ndarray:
        graph.set_ef(width)
        return np.asarray(graph.knn_query(queries, k=K)[0])

    return search, size


def faiss_float(work: Work) -> tuple[Search, int]:
    """Build faiss's graph, float32."""
    return _faiss(work, f"HNSW{LINKS},Flat")


def faiss_small(work: Work) -> tuple[Search, int]:
    """Build faiss's graph of 8-bit vectors, scored again by float16 ones, which is what ours does."""
    return _faiss(work, f"HNSW{LINKS}_SQ8,Refine(SQfp16)")


def faiss_scan(work: Work) -> tuple[Search, int]:
    """Build faiss's scan of float32 vectors, which finds all."""
    return _faiss(work, "Flat")


def _faiss(work: Work, kind: str) -> tuple[Search, int]:
    import faiss

    held = np.asarray(work.vectors)
    index = faiss.index_factory(held.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    refined = isinstance(index, faiss.IndexRefine)
    graph = faiss.downcast_index(index.base_index) if refined else index
    if hasattr(graph, "hnsw"):
        graph.hnsw.efConstruction = WIDTH_OF_BUILDING
    index.train(held)
    index.add(held)
    if refined:
        index.k_factor = WIDENED

    def search(queries: np.ndarray, width: int) -> np.ndarray:
        if hasattr(graph, "hnsw"):
            graph.hnsw.efSearch = width
        return np.asarray(index.search(queries, K)[1])

    return search, len(faiss.serialize_index(index))


def usearch_float(work: Work) -> tuple[Search, int]:
    """Build usearch's graph by itself, float32."""
    return _usearch(work, "f32")


def usearch_small(work: Work) -> tuple[Search, int]:
    """Build usearch's graph by itself, 8-bit vectors, nothing scored again."""
    return _usearch(work, "i8")


def _usearch(work: Work, dtype: str) -> tuple[Search, int]:
    from usearch.index import Index

    held = np.asarray(work.vectors)
    graph = Index(ndim=held.shape[1], metric="ip", dtype=dtype, connectivity=LINKS, expansion_add=WIDTH_OF_BUILDING)
    graph.add(np.arange(len(held)), held)

    def search(queries: np.ndarray, width: int) -> np.ndarray:
        graph.expansion_search = width
        return np.asarray(graph.search(queries, K).keys).astype(np.int64).reshape(len(queries), K)

    return search, int(graph.serialized_length)


BUILT = {
    "ours": ("ours, 8-bit graph scored again by 16-bit vectors", ours),
    "hnswlib": ("hnswlib, float32", hnswlib),
    "faiss": ("faiss HNSW, float32", faiss_float),
    "faiss_small": ("faiss HNSW of 8-bit vectors, scored again by float16 ones", faiss_small),
    "usearch": ("usearch by itself, float32", usearch_float),
    "usearch_small": ("usearch by itself, 8-bit", usearch_small),
    "faiss_scan": ("faiss, a scan of all, float32", faiss_scan),
}


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--count", type=int, default=150_000)
    made.add_argument("--queries", type=int, default=1000)
    made.add_argument("--real", type=int, default=200_000, help="cells of the kit that are embedded")
    made.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "rebase_hf_vectors")
    made.add_argument("--one", choices=BUILT, help="measure this in this process (what the script itself calls)")
    options = made.parse_args()
    work = Work(*vectors_and_queries(options.scratch, options.count, options.queries, real=options.real))
    work.prepare()
    if options.one:
        print(json.dumps(measure(work, options.one)))
        return
    lines = [Line("peers", f"{options.count:,} vectors", work.words), *lines_of(work, options)]
    del options.scratch, options.one  # where things lie on this machine is no part of the result
    report("index_peers", made, options, lines)


def measure(work: Work, name: str) -> dict[str, Any]:
    """Return what it takes to build one, and its recall and queries by width of search."""
    search: Search | None = None
    size = 0

    def build() -> None:
        nonlocal search, size
        search, size = BUILT[name][1](work)

    built = cpu_of(build)
    assert search is not None
    points = []
    for width in WIDTHS[:1] if name == "faiss_scan" else WIDTHS:
        ids = search(work.queries, width)
        spent = min(cpu_of(lambda w=width: search(work.queries, w)) for _ in range(3))
        points.append({"width": width, "recall": work.recall(ids), "queries": len(work.queries) / spent})
    return {"build_cpu": built, "bytes": size / len(work.vectors), "points": points}


def lines_of(work: Work, options: argparse.Namespace) -> Iterator[Line]:
    """Yield a line for each, measured in a process of its own."""
    for name, (words, _) in BUILT.items():
        command = [sys.executable, "-m", "benchmarks.index_peers", "--one", name, "--scratch", str(options.scratch)]
        for option in ("count", "queries", "real"):
            command += [f"--{option}", str(getattr(options, option))]
        told = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
        figures = json.loads(told.splitlines()[-1])
        count = queries_at(figures["points"], AT_RECALL)
        reached = f"{count:,.0f}" if count else f"never ({max(p['recall'] for p in figures['points']):.3f} at best)"
        shown = f"{reached}; built in {figures['build_cpu']:,.0f} CPU-seconds; {figures['bytes']:,.0f} B a vector"
        yield Line(name, f"{words}: queries a CPU-second at recall@10 of {AT_RECALL:g}", shown, details=figures)


def queries_at(points: list[dict[str, float]], recall: float) -> float | None:
    """Return the queries a CPU-second at a recall, between the points that were measured; None where it is not had.

    Example:
        >>> queries_at([{"recall": 0.9, "queries": 400.0}, {"recall": 1.0, "queries": 100.0}], 0.95)
        200.0
    """
    rising = sorted(points, key=lambda point: point["recall"])
    place = bisect_left([point["recall"] for point in rising], recall)
    if place == len(rising):
        return None
    above = rising[place]
    if place == 0:
        return above["queries"]
    below = rising[place - 1]
    share = (recall - below["recall"]) / (above["recall"] - below["recall"])
    return float(below["queries"] ** (1 - share) * above["queries"] ** share)


if __name__ == "__main__":
    main()
