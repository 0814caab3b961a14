"""The vectors of an index beside hnswlib: recall, speed, size, opening, building, and searches held to a part.

Every build and every opening is a process of its own, so that its memory and CPU time are its own. Speed is told by
CPU time wherever it can be: it holds up on a machine that has other work. The vectors are those of `made_vectors`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.claims import ROOT, Line, at_least, at_most, parser, report
from benchmarks.made_vectors import exact_nearest, vectors_and_queries

K = 10
EXPANSIONS = (64, 128, 256, 512)
SHARES = (0.5, 0.2, 0.1, 0.05, 0.02, 0.005, 0.0005)
MEBI = 1 << 20
BLOCK = 65_536


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--count", type=int, default=1_000_000)
    made.add_argument("--queries", type=int, default=1000)
    made.add_argument("--real", type=int, default=73_000, help="cells of the kit that are embedded")
    made.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "rebase_hf_vectors")
    made.add_argument("--part", choices=PARTS, help="measure this in this process (what the script itself calls)")
    made.add_argument("--reuse", action="store_true", help="take parts as they were measured before in the scratch")
    options = made.parse_args()
    given = vectors_and_queries(options.scratch, options.count, options.queries, real=options.real)
    work = Work(*given)
    if options.part:
        print(json.dumps(PARTS[options.part](work)))
        return
    work.prepare()
    print(f"vectors: {work.words}")
    lines = lines_of({part: measured(part, work, options) for part in PARTS}, work)
    report("index_vectors", made, options, lines)


class Work:
    """Where the vectors are, and what is made of them."""

    def __init__(self, vectors: Path, queries: Path, words: str) -> None:
        self.vectors_path, self.words = vectors, words
        self.queries = np.load(queries)
        self.folder = vectors.with_suffix("")
        self.fast = self.folder / "fast"
        self.hnswlib = self.folder / "hnswlib.bin"
        self.truth_path = self.folder / "truth.npy"

    @property
    def vectors(self) -> np.ndarray:
        """The vectors, float32, memory-mapped."""
        return np.load(self.vectors_path, mmap_mode="r")

    def prepare(self) -> None:
        """Write the float16 vectors that an index keeps, and the exact answers."""
        from rebase_hf.index.vectors import VECTORS, choose_scale

        self.fast.mkdir(parents=True, exist_ok=True)
        if not self.truth_path.exists():
            np.save(self.truth_path, exact_nearest(self.vectors, self.queries, 10 * K))
            held = self.vectors
            halves = np.lib.format.open_memmap(
                self.folder / VECTORS, mode="w+", dtype=np.float16, shape=(len(held), held.shape[1])
            )
            for start in range(0, len(held), BLOCK):
                halves[start : start + BLOCK] = held[start : start + BLOCK]
            halves.flush()
            (self.fast / VECTORS).symlink_to((self.folder / VECTORS).resolve())
            scale = choose_scale(np.load(self.folder / VECTORS, mmap_mode="r"))
            (self.folder / "scale.json").write_text(json.dumps(scale))

    def scale(self) -> float:
        """Return the scale that an index of these vectors would have."""
        return float(json.loads((self.folder / "scale.json").read_text()))

    def recall(self, ids: np.ndarray, k: int = K, truth: np.ndarray | None = None) -> float:
        """Return the share of the k true ones that are among the ids found."""
        right = np.load(self.truth_path) if truth is None else truth
        shared = [len(set(a[:k].tolist()) & set(b[:k].tolist())) for a, b in zip(ids, right, strict=True)]
        return float(np.mean(shared)) / k


def measured(part: str, work: Work, options: argparse.Namespace) -> dict[str, Any]:
    """Return what a part measured in a process of its own."""
    kept = work.folder / f"{part}.json"
    if not (options.reuse and kept.exists()):
        command = [sys.executable, "-m", "benchmarks.index_vectors", "--part", part, "--scratch", str(options.scratch)]
        for name in ("count", "queries", "real"):
            command += [f"--{name}", str(getattr(options, name))]
        told = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
        kept.write_bytes(told.splitlines()[-1])
    figures: dict[str, Any] = json.loads(kept.read_text())
    return figures


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
    """Build hnswlib's graph of the float32 vectors, in random order, with the same connectivity and expansion."""
    import hnswlib

    held = work.vectors
    order = np.random.default_rng(0).permutation(len(held))
    start, wall = time.process_time(), time.perf_counter()
    graph = hnswlib.Index(space="ip", dim=held.shape[1])
    graph.init_index(max_elements=len(held), M=16, ef_construction=128)
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


def filtered(work: Work) -> dict[str, Any]:
    """Search parts of every size: spread at random, and runs of the file, as sources are."""
    store, held = opened(work), work.vectors
    queries = work.queries[:50]
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
            truth = exact_nearest(held, queries, K, mask)
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


def lines_of(figures: dict[str, dict[str, Any]], work: Work) -> list[Line]:
    """Return the claim's lines."""
    count = len(work.vectors)
    ours, theirs = figures["search_ours"], figures["search_hnswlib"]
    at_default = ours["points"][-1]
    behind = max(b["recall"] - a["recall"] for a, b in zip(ours["points"], theirs["points"], strict=False))
    build, fast, peer = figures["build_ours"], figures["build_fast"], figures["build_hnswlib"]
    opening, slow = figures["open_ours"], figures["open_hnswlib"]
    parts = figures["filtered"]["points"]
    worst = max(min(p["ours_ms"] / p["scan_ms"], p["ours_ms"] / p["unfiltered_ms"]) for p in parts)
    speed = {"details": {"ours": ours, "hnswlib": theirs}}
    default = f"the default expansion, {ours['default']}"
    return [
        Line("vectors", f"{count:,} vectors", work.words),
        Line("recall", f"recall@10 at {default}", **at_least(at_default["recall"], 0.98, "", digits=4), **speed),
        Line("recall_100", f"recall@100 at {default}", f"{ours['recall_100']:.4f}"),
        Line("recall_behind", "recall@10 behind hnswlib's at equal ef, worst", **at_most(behind, 0.003, "", digits=4)),
        Line("single", f"one query at {default}, p50", **at_most(at_default["single_ms"], 1.5, "ms")),
        Line("single_cpu", "the same, CPU time", f"{at_default['single_cpu_ms']:.2f} ms"),
        Line(
            "batch", "batch queries per CPU-second at equal recall", **at_least(*equal_recall(ours, theirs), digits=2)
        ),
        Line("bytes", "bytes a vector, graph and float16", **at_most(opening["bytes"] / count, 1350, "B", digits=0)),
        Line(
            "graph_bytes", "graph's bytes", **at_most(build["bytes"] / peer["bytes"], 1 / 3, "of hnswlib's", digits=3)
        ),
        Line(
            "open",
            "open and first query",
            **at_most(opening["seconds"] / slow["seconds"], 0.1, "of hnswlib's time", digits=3),
            details={"ours": opening, "hnswlib": slow},
        ),
        Line(
            "open_rss",
            "memory after the first query",
            **at_most(opening["mib"] / slow["mib"], 1 / 9, "of hnswlib's", digits=3),
        ),
        Line(
            "build_rss",
            "memory while building above the graph",
            **at_most(build["peak_mib"] - build["bytes"] / MEBI, 1536, "MiB", digits=0),
        ),
        Line(
            "build",
            "vectors built per CPU-second",
            **at_least(peer["cpu"] / build["cpu"], 1.15, "of hnswlib's", digits=2),
            details={"ours": build, "hnswlib": peer},
        ),
        Line(
            "build_fast",
            "the same, fast mode",
            **at_least(peer["cpu"] / fast["cpu"], 1.7, "of hnswlib's", digits=2),
            details=fast,
        ),
        Line("recall_fast", f"recall@10 of the fast mode's graph at {default}", f"{fast['recall']:.4f}"),
        Line(
            "around",
            "CPU time around usearch's add",
            **at_most(100 * (build["cpu"] / build["adding"] - 1), 15, "%", digits=1),
        ),
        Line(
            "filtered_recall",
            "recall@10 of searches held to a part, worst",
            **at_least(min(p["recall"] for p in parts), 0.98, "", digits=4),
            details={"points": parts},
        ),
        Line(
            "filtered",
            "their CPU time, of the part's scan or the unfiltered search, worst",
            **at_most(worst, 2, "times"),
        ),
    ]


def equal_recall(ours: dict[str, Any], theirs: dict[str, Any]) -> tuple[float, float, str]:
    """Return how many queries ours answers for each of hnswlib's where that has the recall nearest to .98."""
    at = min(theirs["points"], key=lambda point: abs(point["recall"] - 0.98))
    points = sorted(ours["points"], key=lambda point: point["recall"])
    missed = [-np.log(1.0 - min(point["recall"], 0.99999)) for point in points]
    cpu = np.interp(-np.log(1.0 - min(at["recall"], 0.99999)), missed, [point["cpu_us"] for point in points])
    return at["cpu_us"] / float(cpu), 1.0, f"of hnswlib's (recall {at['recall']:.4f})"


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


def peak_mib() -> float:
    """Return the most memory that this process held."""
    return _status("VmHWM:")


def resident_mib() -> float:
    """Return the memory that this process holds."""
    return _status("VmRSS:")


def _status(name: str) -> float:
    return int(Path("/proc/self/status").read_text().split(name)[1].split()[0]) / 1024


PARTS = {
    "build_ours": build_ours,
    "build_hnswlib": build_hnswlib,
    "search_ours": search_ours,
    "search_hnswlib": search_hnswlib,
    "open_ours": open_ours,
    "open_hnswlib": open_hnswlib,
    "filtered": filtered,
    "build_fast": build_fast,
}

if __name__ == "__main__":
    main()
