"""A whole build of 1M rows from 1,000 sources: memory above the graph, work around encoding and usearch, opening.

The encoder costs nothing to speak of: it draws a vector for each text. What a real encoder costs is measured beside it
on a part of the rows (`index_encoding` has its own claim), so that the share of everything else can be told.
"""

import argparse
import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.claims import ROOT, Line, at_most, parser, report
from benchmarks.index_texts import made_rows
from benchmarks.memory import peak_mib, resident_mib

MEBI = 1 << 20
DIMENSION = 384
FETCHED = 1_000


class DrawnEncoder:
    """A vector for each text, drawn by its digest; texts with the same beginning lie near each other."""

    name = "drawn"
    dimension = DIMENSION
    identity = "drawn-1"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit vectors."""
        from rebase_hf.index.known_texts import digest_table, text_digest

        first = digest_table(b"".join(text_digest(text[:12]) for text in texts))[:, 0]
        every = digest_table(b"".join(text_digest(text) for text in texts))[:, 0]
        vectors = _drawn(first) + 0.7 * _drawn(every)
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _drawn(seeds: np.ndarray) -> np.ndarray:
    """Return numbers that look random, by a hash of seed and place (splitmix64)."""
    held = seeds[:, None] + np.arange(1, DIMENSION + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    held = (held ^ (held >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    held = (held ^ (held >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (held >> np.uint64(40)).astype(np.float32) / (1 << 23) - 1


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=1_000_000)
    made.add_argument("--sources", type=int, default=1_000, help="Parquet files that hold the rows")
    made.add_argument("--encoded", type=int, default=4_000, help="rows built with a real encoder")
    made.add_argument("--part", choices=PARTS, help="measure this in this process (what the script itself calls)")
    made.add_argument("--held", type=Path, help="where the parts find what the script made")
    options = made.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part](options.held)))
        return
    with tempfile.TemporaryDirectory() as held:
        write_sources(Path(held) / "sources", options.rows, options.sources)
        write_sources(Path(held) / "few", options.encoded, 10)
        figures = {part: measured(part, Path(held)) for part in PARTS}
    report("index_build", made, options, lines(figures, options))


def write_sources(folder: Path, rows: int, sources: int) -> None:
    """Write rows as so many Parquet files."""
    import pyarrow
    from pyarrow import parquet

    folder.mkdir()
    every = made_rows(rows)
    for number in range(sources):
        part = list(itertools.islice(every, rows // sources))
        cells = {"title": [row[0] for row in part], "text": [row[-1] if len(row) > 1 else None for row in part]}
        parquet.write_table(pyarrow.table(cells), folder / f"source{number:04d}.parquet")


def measured(part: str, held: Path) -> dict[str, Any]:
    """Return what a part measured in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.index_build", "--part", part, "--held", str(held)]
    told = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    figures: dict[str, Any] = json.loads(told.splitlines()[-1])
    return figures


class Watch:
    """CPU time that goes into a function, whatever its thread."""

    def __init__(self, owner: Any, name: str) -> None:
        self.seconds = 0.0
        inner: Callable[..., Any] = getattr(owner, name)

        def timed(*args: Any, **named: Any) -> Any:
            before = time.process_time()
            result = inner(*args, **named)
            self.seconds += time.process_time() - before
            return result

        setattr(owner, name, timed)


def build(held: Path, sources: str, encoder: Any) -> dict[str, Any]:
    """Build an index; CPU seconds in all, in encoding, in usearch and in the words' index, and the most memory."""
    import usearch.index

    from rebase_hf import RowIndex
    from rebase_hf.index import index_writing
    from rebase_hf.index.encoders import load_encoder

    loaded = load_encoder(encoder)
    loaded.encode(["a text to warm up"])
    watched = {
        "encoding": Watch(type(loaded), "encode"),
        "adding": Watch(usearch.index.Index, "add"),
        "words": Watch(index_writing, "write_words"),
    }
    files = sorted(map(str, (held / sources).glob("*.parquet")))
    start, wall = time.process_time(), time.perf_counter()
    index = RowIndex.build(held / f"index-{sources}", files, encoder=loaded, licenses="any")
    cpu, seconds = time.process_time() - start, time.perf_counter() - wall
    graph = sum(path.stat().st_size for path in index.path.glob("segment-*/graph.usearch"))
    return {
        "cpu": cpu,
        "seconds": seconds,
        **{name: watch.seconds for name, watch in watched.items()},
        "peak_mib": peak_mib(),
        "graph_mib": graph / MEBI,
        "bytes": index.info()["bytes"],
        "rows": len(index),
        "texts": index.info()["texts"],
    }


def build_all(held: Path) -> dict[str, Any]:
    """Build the index of all rows."""
    return build(held, "sources", DrawnEncoder())


def build_real(held: Path) -> dict[str, Any]:
    """Build an index of few rows with the default encoder."""
    return build(held, "few", None)


def open_all(held: Path) -> dict[str, Any]:
    """Open the index, verified before, search it and fetch rows by key."""
    from rebase_hf import RowIndex

    RowIndex.open(held / "index-sources")  # which verifies it
    encoder = DrawnEncoder()
    before = resident_mib()
    start = time.perf_counter()
    index = RowIndex.open(held / "index-sources", encoder=encoder)
    opened = time.perf_counter() - start
    index.search("a parcel that never came", k=10)
    first = time.perf_counter() - start
    rng = random.Random(3)
    walls = []
    for key in range(0, len(index), 7):  # the page cache is warm in this claim
        index.rows([key])
    for _ in range(15):
        keys = [rng.randrange(len(index)) for _ in range(FETCHED)]
        begun = time.perf_counter()
        index.rows(keys)
        walls.append(time.perf_counter() - begun)
    return {
        "open_ms": opened * 1e3,
        "first_ms": first * 1e3,
        "mib": resident_mib() - before,
        "fetch_ms": float(np.median(walls)) * 1e3,
    }


def lines(figures: dict[str, dict[str, Any]], options: argparse.Namespace) -> list[Line]:
    """Return the claim's lines."""
    every, real, opened = figures["build_all"], figures["build_real"], figures["open_all"]
    around = every["cpu"] - every["encoding"] - every["adding"]
    encoding = real["encoding"] / real["texts"] * every["texts"]
    share = 100 * around / (encoding + every["adding"])
    per_row = 1e6 / every["rows"]
    return [
        Line(
            "rss",
            f"memory while {every['rows']:,} rows of {options.sources:,} sources are built, above the graph",
            **at_most(every["peak_mib"] - every["graph_mib"], 1536, "MiB", digits=0),
            details=every,
        ),
        Line(
            "around",
            "CPU time around usearch's add and encoding (all-MiniLM-L6-v2)",
            **at_most(share, 15, "% of these", digits=1),
            details={"real": real, "around_us_a_row": around * per_row, "words_us_a_row": every["words"] * per_row},
        ),
        Line(
            "around_row", "the same a row", f"{around * per_row:.0f} us, {every['words'] * per_row:.0f} of them words"
        ),
        Line("bytes", "bytes a row, all files", f"{every['bytes'] / every['rows']:.0f}"),
        Line("open", "opening it, once it was verified", f"{opened['open_ms']:.0f} ms"),
        Line("first", "opening it and the first search", f"{opened['first_ms']:.0f} ms"),
        Line("open_rss", "memory that takes", f"{opened['mib']:.0f} MiB"),
        Line("fetch", f"RowIndex.rows of {FETCHED:,} scattered keys, warm", **at_most(opened["fetch_ms"], 5, "ms")),
    ]


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "build_all": build_all,
    "build_real": build_real,
    "open_all": open_all,
}

if __name__ == "__main__":
    main()
