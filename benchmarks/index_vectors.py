"""The vectors of an index beside hnswlib: recall, speed, size, opening, building, and searches held to a part.

Every build and every opening is a process of its own, so that its memory and CPU time are its own. Speed is told by
CPU time wherever it can be: it holds up on a machine that has other work. The vectors are those of `made_vectors`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.claims import ROOT, Line, at_least, at_most, parser, report
from benchmarks.index_vectors_parts import PARTS, PEER_EXPANSION
from benchmarks.index_vectors_work import Work
from benchmarks.made_vectors import vectors_and_queries

MEBI = 1 << 20


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--count", type=int, default=1_000_000)
    made.add_argument("--queries", type=int, default=1000)
    made.add_argument("--real", type=int, default=200_000, help="cells of the kit that are embedded")
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
    del options.scratch, options.part  # where things lie on this machine is no part of the result
    report("index_vectors", made, options, lines)


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


def lines_of(figures: dict[str, dict[str, Any]], work: Work) -> list[Line]:
    """Return the claim's lines."""
    from rebase_hf.index.vectors import EXPANSION_ADD, EXPANSION_ADD_FAST

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
        Line(
            "order",
            "CPU time of a search, of what it takes with the nodes at random",
            f"{figures['order']['walking'] / figures['order']['random']:.2f}",
            details=figures["order"],
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
            f"vectors built per CPU-second (expansion {EXPANSION_ADD}; hnswlib's {PEER_EXPANSION})",
            **at_least(peer["cpu"] / build["cpu"], 1.15, "of hnswlib's", digits=2),
            details={"ours": build, "hnswlib": peer},
        ),
        Line(
            "build_fast",
            f"the same, fast mode (expansion {EXPANSION_ADD_FAST})",
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
    """Return how many queries ours answers for each of hnswlib's where both find .98, between the points measured."""
    return cpu_at(theirs, 0.98) / cpu_at(ours, 0.98), 1.0, "of hnswlib's, at recall@10 .98"


def cpu_at(figures: dict[str, Any], recall: float) -> float:
    """Return the CPU microseconds of a query at a recall, by the logarithm of what is missed."""
    points = sorted(figures["points"], key=lambda point: point["recall"])
    missed = [-np.log(1.0 - min(point["recall"], 0.99999)) for point in points]
    return float(np.interp(-np.log(1.0 - recall), missed, [point["cpu_us"] for point in points]))


if __name__ == "__main__":
    main()
