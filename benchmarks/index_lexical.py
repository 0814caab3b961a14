"""Lexical search beside bm25s (memory-mapped): queries of 8 words, opening, bytes a row, RSS; in own processes.

The two take turns, so that what else the machine does meets both. Ours holds every word twice, in the row's whole text
and in that of its cell's role. With REBASE_KIT the sentences are real and rows share them; without it all words are
drawn independently of each other, which leaves much less to skip than any text does.
"""

import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.claims import ROOT, Line, at_least, at_most, parser, report
from benchmarks.index_texts import made_queries, made_rows

SOURCES = 1_000
QUERIES = 200
TURNS = 3
K = 10
ROLES = ("title", "text")
TARGET_FASTER = 5
TARGET_OPEN_MS = 50
FILTERS = {
    "": None,
    "one source": range(3, 4),
    "half the sources": range(0, SOURCES, 2),
    "all but 50": range(50, SOURCES),
}


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=1_000_000)
    made.add_argument("--part", choices=PARTS, help="measure this part in this process (what the script itself calls)")
    made.add_argument("--held", type=Path, help="where the parts find what the script made")
    options = made.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part](options.held, options.rows)))
        return
    with tempfile.TemporaryDirectory() as held:
        rows = list(itertools.islice(made_rows(options.rows), 20_000))
        (Path(held) / "queries.json").write_text(json.dumps(made_queries(rows, QUERIES)))
        built = {name: run(f"build_{name}", held, options.rows) for name in ("ours", "bm25s")}
        turns = [(run("query_ours", held, options.rows), run("query_bm25s", held, options.rows)) for _ in range(TURNS)]
    report("index_lexical", made, options, lines(options.rows, built, turns))


def lines(rows: int, built: dict[str, Any], turns: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[Line]:
    """Return the figures of all turns; of times the median turn."""
    ours, theirs = ({key: _median([turn[side][key] for turn in turns]) for key in turns[0][side]} for side in (0, 1))
    faster = theirs["wall_p50"] / ours["wall_p50"]
    said = [
        Line(
            "faster",
            f"bm25s' p50 over ours, {rows:,} rows, 8 words, k={K}",
            **at_least(faster, TARGET_FASTER, "x", digits=1),
            details={"ours": ours, "bm25s": theirs},
        ),
        Line("faster_cpu", "the same by CPU seconds of all queries", f"{theirs['cpu'] / ours['cpu']:.1f} x"),
        Line(
            "query",
            "one query, p50 / p99",
            " / ".join(f"{ours[key]:.2f}" for key in ("wall_p50", "wall_p99"))
            + " ms, bm25s "
            + " / ".join(f"{theirs[key]:.2f}" for key in ("wall_p50", "wall_p99")),
        ),
        Line(
            "first",
            "the same queries asked for the first time, p50",
            f"{ours['wall_first']:.2f} ms, bm25s {theirs['wall_first']:.2f}",
        ),
        Line(
            "open",
            "open memory-mapped",
            **at_most(ours["open_ms"], TARGET_OPEN_MS, "ms", digits=1),
            details={"bm25s": theirs["open_ms"]},
        ),
        Line(
            "disk", "bytes a row", f"{built['ours']['bytes'] / rows:.0f} (bm25s {built['bm25s']['bytes'] / rows:.0f})"
        ),
        Line(
            "rss",
            "RSS over all queries, beyond what imports take",
            f"{ours['rss_mb']:.0f} MB (bm25s {theirs['rss_mb']:.0f})",
        ),
        Line(
            "build",
            "rows a CPU second, built",
            f"{rows / built['ours']['cpu']:,.0f} (bm25s {rows / built['bm25s']['cpu']:,.0f})",
            details=built,
        ),
    ]
    said += [
        Line(f"filter_{name.replace(' ', '_')}", f"p50, only rows of {name}", f"{ours[f'{name} wall_p50']:.2f} ms")
        for name, allowed in FILTERS.items()
        if allowed is not None
    ]
    return said


def run(part: str, held: str, rows: int) -> dict[str, Any]:
    """Return what a part measured in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.index_lexical", "--part", part, "--held", held, "--rows", str(rows)]
    told = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    found: dict[str, Any] = json.loads(told.splitlines()[-1])
    return found


def build_ours(held: Path, rows: int) -> dict[str, float]:
    from rebase_hf.index.lexical_building import build_lexical

    cells = [dict(zip(ROLES[-len(row) :], row, strict=True)) for row in made_rows(rows)]
    before, start = _resident(), time.process_time()
    build_lexical(held / "ours", ((key, row, key * SOURCES // rows) for key, row in enumerate(cells)), ROLES)
    return _built(held / "ours", start, before)


def build_bm25s(held: Path, rows: int) -> dict[str, float]:
    import bm25s

    texts = list(_texts(rows))
    before, start = _resident(), time.process_time()
    index = bm25s.BM25()
    index.index(bm25s.tokenize(texts, stopwords=None, show_progress=False), show_progress=False)
    index.save(held / "bm25s")
    return _built(held / "bm25s", start, before)


def query_ours(held: Path, rows: int) -> dict[str, float]:
    import tantivy  # noqa: F401 - importing is not opening

    from rebase_hf.index.lexical import LexicalIndex

    before, start = _resident(), time.perf_counter()
    index = LexicalIndex([held / "ours"])
    opened = (time.perf_counter() - start) * 1e3
    found: dict[str, float] = {"open_ms": opened}
    for name, allowed in FILTERS.items():
        sources = None if allowed is None else np.array(allowed)
        timed = _timed(held, lambda text, sources=sources: index.search([text], K, sources=sources))
        found |= {f"{name} {key}".strip(): value for key, value in timed.items()}
        if allowed is None:
            found["rss_mb"] = _resident() - before
    return found


def query_bm25s(held: Path, rows: int) -> dict[str, float]:
    import bm25s

    before, start = _resident(), time.perf_counter()
    index = bm25s.BM25.load(held / "bm25s", mmap=True)
    opened = (time.perf_counter() - start) * 1e3

    def search(text: str) -> object:
        words = bm25s.tokenize([text], stopwords=None, show_progress=False)
        return index.retrieve(words, k=K, show_progress=False)

    return {"open_ms": opened, **_timed(held, search), "rss_mb": _resident() - before}


def _texts(rows: int) -> Iterator[str]:
    return ("\n".join(cells) for cells in made_rows(rows))


def _timed(held: Path, search: Callable[[str], object]) -> dict[str, float]:
    """Return milliseconds a query, warm: every query is asked once before."""
    queries = json.loads((held / "queries.json").read_text())
    firsts = [_milliseconds(search, query) for query in queries]
    cpu = time.process_time()
    walls = [_milliseconds(search, query) for query in queries]
    cpu = time.process_time() - cpu
    return {
        "wall_first": float(np.median(firsts)),
        "wall_p50": float(np.median(walls)),
        "wall_p99": float(np.quantile(walls, 0.99)),
        "cpu": cpu,
    }


def _milliseconds(search: Callable[[str], object], query: str) -> float:
    start = time.perf_counter()
    search(query)
    return (time.perf_counter() - start) * 1e3


def _built(folder: Path, start: float, before: float) -> dict[str, float]:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = sum(path.stat().st_size for path in folder.iterdir())
    return {"cpu": time.process_time() - start, "peak_mb": peak - before, "bytes": size}


def _resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _median(values: list[float]) -> float:
    return float(np.median(values))


PARTS = {"build_ours": build_ours, "build_bm25s": build_bm25s, "query_ours": query_ours, "query_bm25s": query_bm25s}

if __name__ == "__main__":
    main()
