"""What `index_vectors` measures: each part a function of where the vectors are, run in a process of its own."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.index_vectors_work import BLOCK, K, Work
from benchmarks.made_vectors import exact_nearest
from benchmarks.memory import peak_mib, resident_mib

PEER_EXPANSION = 128  # hnswlib's while building
EXPANSIONS = (64, 128, 256, 512)
SHARES = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.0005)


def build_ours(work: Work, folder: Path | None = None, *, fast: bool = False) -> dict[str, Any]:
    """Build the graph; CPU seconds in all and in usearch's own `add`, and the most memory that was held."""
    import usearch.index

    from rebase_hf.index.vectors import EXPANSION_ADD, EXPANSION_ADD_FAST, GRAPH, VECTORS, build_graph

    adding = 0.0
    add = usearch.index.Index.add

    def timed(self: Any, *args: Any, **named: Any) -> Any:
        nonlocal adding
        before = time.process_time()
        added = add(self, *args, **named)
        adding += time.process_time() - before
        return added

    usearch.index.Index.add = timed
    scale, folder = work.scale(), folder or work.folder
    start, wall = time.process_time(), time.perf_counter()
    vectors = np.load(folder / VECTORS, mmap_mode="r")
    build_graph(vectors, folder / GRAPH, scale=scale, expansion_add=EXPANSION_ADD_FAST if fast else EXPANSION_ADD)
    cpu, seconds = time.process_time() - start, time.perf_counter() - wall
    size = (folder / GRAPH).stat().st_size
    return {"cpu": cpu, "adding": adding, "seconds": seconds, "peak_mib": peak_mib(), "bytes": size}


def build_fast(work: Work) -> dict[str, Any]:
    """Build the graph in fast mode, and its recall at the default."""
    figures = build_ours(work, work.fast, fast=True)
    ids, _ = opened(work, work.fast).nearest(work.queries, K)
    return {**figures, "recall": work.recall(ids)}


def build_hnswlib(work: Work) -> dict[str, Any]:
    """Build hnswlib's graph of the float32 vectors, in random order, with the same connectivity."""
    import hnswlib

    held = work.vectors
    order = np.random.default_rng(0).permutation(len(held))
    start, wall = time.process_time(), time.perf_counter()
    graph = hnswlib.Index(space="ip", dim=held.shape[1])
    graph.init_index(max_elements=len(held), M=16, ef_construction=PEER_EXPANSION)
    for at in range(0, len(order), BLOCK):
        ids = np.sort(order[at : at + BLOCK])
        graph.add_items(np.asarray(held[ids]), ids, num_threads=-1)
    cpu, seconds = time.process_time() - start, time.perf_counter() - wall
    graph.save_index(str(work.hnswlib))
    return {"cpu": cpu, "seconds": seconds, "peak_mib": peak_mib(), "bytes": work.hnswlib.stat().st_size}


def search_ours(work: Work) -> dict[str, Any]:
    """Search with each expansion, and with the default."""
    from rebase_hf.index.vectors import default_expansion

    store = opened(work)
    default = default_expansion(len(store))
    figures = curve(work, lambda queries, ef: store.nearest(queries, K, expansion=ef)[0], (*EXPANSIONS, default))
    hundred = work.recall(store.nearest(work.queries, 10 * K)[0], 10 * K)
    return {**figures, "default": default, "recall_100": hundred}


def search_hnswlib(work: Work) -> dict[str, Any]:
    """Search hnswlib's graph with each expansion."""
    graph = hnswlib_opened(work)

    def nearest(queries: np.ndarray, expansion: int) -> np.ndarray:
        graph.set_ef(expansion)
        return graph.knn_query(queries, k=K, num_threads=1 if len(queries) == 1 else -1)[0]

    return curve(work, nearest, EXPANSIONS)


def curve(work: Work, nearest: Callable[[np.ndarray, int], np.ndarray], expansions: tuple[int, ...]) -> dict[str, Any]:
    """Return recall, CPU microseconds a query of a batch, and the median milliseconds of single ones."""
    points = []
    for expansion in expansions:
        ids = nearest(work.queries, expansion)
        batch = min(cpu_of(lambda e=expansion: nearest(work.queries, e)) for _ in range(3))
        singles, spent = [], []
        for query in work.queries[:500]:
            wall, cpu = time.perf_counter(), time.process_time()
            nearest(query[None], expansion)
            singles.append(time.perf_counter() - wall)
            spent.append(time.process_time() - cpu)
        points.append(
            {
                "expansion": expansion,
                "recall": work.recall(ids),
                "cpu_us": batch / len(work.queries) * 1e6,
                "single_ms": float(np.median(singles)) * 1e3,
                "single_cpu_ms": float(np.median(spent)) * 1e3,
            }
        )
    return {"points": points}


def open_ours(work: Work) -> dict[str, Any]:
    """Open and answer one query, beyond verification."""
    import rebase_hf.index.vectors  # noqa: F401  what any program has loaded is not the opening's
    from rebase_hf.index.vectors import GRAPH, VECTORS

    sizes = (work.folder / VECTORS).stat().st_size + (work.folder / GRAPH).stat().st_size
    scale = work.scale()
    start = time.perf_counter()
    opened(work, scale=scale).nearest(work.queries[:1], K)
    return {"seconds": time.perf_counter() - start, "mib": resident_mib(), "bytes": sizes}


def open_hnswlib(work: Work) -> dict[str, Any]:
    """Open hnswlib's file and answer one query."""
    import hnswlib  # noqa: F401

    start = time.perf_counter()
    graph = hnswlib_opened(work)
    graph.set_ef(256)
    graph.knn_query(work.queries[:1], k=K)
    return {"seconds": time.perf_counter() - start, "mib": resident_mib()}


def order(work: Work) -> dict[str, Any]:
    """Search at the default with the nodes as they are laid out, and at random."""
    from rebase_hf.index.graph_order import write_in_order
    from rebase_hf.index.vectors import GRAPH, VECTORS

    shuffled = work.folder / "shuffled"
    shuffled.mkdir(exist_ok=True)
    (shuffled / VECTORS).unlink(missing_ok=True)
    (shuffled / VECTORS).symlink_to((work.folder / VECTORS).resolve())
    at_random = np.random.default_rng(0).permutation(len(work.vectors))
    write_in_order(work.folder / GRAPH, shuffled / GRAPH, at_random)
    stores = {"walking": opened(work), "random": opened(work, shuffled)}
    spent: dict[str, list[float]] = {name: [] for name in stores}
    for _ in range(4):  # the first round reads the files
        for name, store in stores.items():
            spent[name].append(cpu_of(lambda s=store: s.nearest(work.queries, K)))
    return {name: min(times[1:]) / len(work.queries) * 1e6 for name, times in spent.items()}


def filtered(work: Work) -> dict[str, Any]:
    """Search parts of every size: spread at random, and runs of the file, as sources are."""
    store, held = opened(work), work.vectors
    queries = work.queries[:50]
    store.nearest(work.queries, K)  # has the files' pages mapped
    unfiltered = cpu_of(lambda: [store.nearest(query, K) for query in queries]) / len(queries)
    points = []
    for kind in ("spread", "run"):
        for share in SHARES:
            mask = np.zeros(len(held), dtype=bool)
            size = max(int(share * len(held)), K)
            chosen = np.random.default_rng(3).choice(len(held), size, replace=False)
            mask[chosen if kind == "spread" else np.arange(len(held) - size, len(held))] = True
            ids = np.flatnonzero(mask)
            part = np.asarray(held[ids])  # float32 in memory, which costs the scan nothing here
            _, truth = exact_nearest(held, queries, K, mask)
            found = np.concatenate([store.nearest(query, K, allowed=ids)[0] for query in queries])
            ours = cpu_of(lambda i=ids: [store.nearest(query, K, allowed=i) for query in queries]) / len(queries)
            few = queries[: max(1, min(len(queries), 2_000_000 // size))]
            scan = cpu_of(lambda p=part, f=few: [np.argpartition(-(p @ query), K - 1)[:K] for query in f]) / len(few)
            points.append(
                {
                    "kind": kind,
                    "share": share,
                    "recall": work.recall(found, truth=truth),
                    "ours_ms": ours * 1e3,
                    "scan_ms": scan * 1e3,
                    "unfiltered_ms": unfiltered * 1e3,
                }
            )
    return {"points": points}


def opened(work: Work, folder: Path | None = None, scale: float | None = None) -> Any:
    """Return our store."""
    from rebase_hf.index.vectors import VectorStore

    return VectorStore(folder or work.folder, scale=scale or work.scale())


def hnswlib_opened(work: Work) -> Any:
    """Return hnswlib's graph, loaded."""
    import hnswlib

    graph = hnswlib.Index(space="ip", dim=work.queries.shape[1])
    graph.load_index(str(work.hnswlib))
    return graph


def cpu_of(call: Callable[[], object]) -> float:
    """Return the CPU seconds that a call took, all threads together."""
    start = time.process_time()
    call()
    return time.process_time() - start


PARTS = {
    "build_ours": build_ours,
    "build_hnswlib": build_hnswlib,
    "search_ours": search_ours,
    "search_hnswlib": search_hnswlib,
    "open_ours": open_ours,
    "open_hnswlib": open_hnswlib,
    "order": order,
    "filtered": filtered,
    "build_fast": build_fast,
}
