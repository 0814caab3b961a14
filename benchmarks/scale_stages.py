"""What each stage of a build by many machines costs, by its own steps: CPU seconds, memory, bytes; and one search.

Two builds, one of a quarter of the rows. What a row costs is told by the difference, so that starting a process is not
counted; and a graph's cost a text grows with the logarithm of its size, which two sizes show. Their encoder makes
vectors as `made_vectors` does, and is not counted; real encoders are measured beside, on texts of the same rows. Every
part is a process of its own, so that its memory and its CPU time are its own. `benchmarks.scale_figures` makes the
page's tables of what is written here.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.claims import ROOT, parser, report
from benchmarks.index_build import Watch, write_sources
from benchmarks.index_texts import made_rows
from benchmarks.made_encoder import MadeEncoder, made_encoder, write_base
from benchmarks.memory import peak_mib
from benchmarks.scale_lines import ENCODERS, lines

SMALLER = 4  # of 480,000 rows it has over 100,000 texts, too, from which on graphs are built by all cores
SOURCES = 24
QUERIES = 200
FULL = 4_000_000  # texts of a full segment
MEBI = 1 << 20


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=480_000)
    made.add_argument(
        "--encoded", type=int, default=1_500, help="texts encoded by each transformer; ten times by static"
    )
    made.add_argument("--encoders", nargs="+", choices=ENCODERS, default=list(ENCODERS), help="which are measured")
    made.add_argument("--part", choices=PARTS, help="measure this in this process (what the script itself calls)")
    made.add_argument("--held", type=Path, help="where the parts find what the script made")
    options = made.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part](options.held, options)))
        return
    with tempfile.TemporaryDirectory() as held:
        figures = measured(Path(held), options)
    report("scale_stages", made, options, lines(figures))


def measured(held: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return what every part measured."""
    figures: dict[str, Any] = {}
    write_base(held)
    for name, rows in (("small", options.rows // SMALLER), ("large", options.rows)):
        (held / name).mkdir()
        write_sources(held / name / "sources", rows, SOURCES)
        for part in ("read", "segments"):
            figures[f"{name}_{part}"] = run(part, held / name, options)
    for part in ("merge", "search", *options.encoders):
        figures[part] = run(part, held / "large", options)
    return figures


def run(part: str, held: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return what a part measured in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scale_stages", "--part", part, "--held", str(held)]
    command += ["--encoded", str(options.encoded)]
    env = os.environ | {"REBASE_HOME": str(held / "home")}
    told = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, env=env).stdout
    figures: dict[str, Any] = json.loads(told.splitlines()[-1])
    return figures


def read(held: Path, _: argparse.Namespace) -> dict[str, Any]:
    """One rank reads all sources: opening, cells, pieces, checksums; encoding is left out of its CPU time."""
    from rebase_hf.index.distributed import BuildSettings, plan_index
    from rebase_hf.index.distributed_folder import SharedFolder
    from rebase_hf.index.distributed_reading import read_rank

    files = sorted(map(str, (held / "sources").glob("*.parquet")))
    settings = BuildSettings(max_rows_per_source=10**9, licenses="any", exact_below=1)
    plan = plan_index(held / "shared", files, tasks=1, encoder=made_encoder(held.parent), settings=settings)
    encoding = Watch(MadeEncoder, "encode")
    start = time.process_time()
    part = read_rank(SharedFolder.at(held / "shared"), plan, 0, made_encoder(held.parent))
    pieces = [piece for entry in part.entries for piece in entry.pieces]  # type: ignore[union-attr]
    return {
        "cpu": time.process_time() - start - encoding.seconds,
        "mib": peak_mib(),
        "rows": sum(piece.rows for piece in pieces),
        "texts": sum(piece.texts for piece in pieces),
        "bytes": sum(int(about["size"]) for about in part.files.values()),
    }


def segments(held: Path, _: argparse.Namespace) -> dict[str, Any]:
    """One task makes the segment: checksums, joining, compressing, the graph, words."""
    import usearch.index

    from rebase_hf.index import index_writing, segment_writing
    from rebase_hf.index.distributed_folder import SharedFolder
    from rebase_hf.index.distributed_plan import read_plan
    from rebase_hf.index.distributed_segments import make_segments

    folder = SharedFolder.at(held / "shared")
    watched = {
        "graph": Watch(usearch.index.Index, "add"),
        "words": Watch(index_writing, "write_words"),
        "rows_written": Watch(segment_writing, "compress_rows"),
    }
    start = time.process_time()
    made = make_segments(folder, read_plan(folder), 0, 1)
    cpu = time.process_time() - start
    sizes: dict[str, int] = {}
    for path in (held / "shared" / "segments").glob("*/*-*/*"):
        kind = path.name if path.name in ("graph.usearch", "vectors.npy") else path.parent.name.partition("-")[0]
        sizes[kind] = sizes.get(kind, 0) + path.stat().st_size
    return {
        "cpu": cpu,
        **{name: watch.seconds for name, watch in watched.items()},
        "mib": peak_mib(),
        "segments": made,
        "sizes": sizes,
    }


def merge(held: Path, _: argparse.Namespace) -> dict[str, Any]:
    """One task checks the segments, moves them and writes catalog and manifest."""
    from rebase_hf.index.distributed_folder import SharedFolder
    from rebase_hf.index.distributed_plan import read_plan
    from rebase_hf.index.distributed_segments import merge_parts

    folder = SharedFolder.at(held / "shared")
    start = time.process_time()
    merge_parts(folder, read_plan(folder), held / "index")
    cpu = time.process_time() - start
    files = [path.stat().st_size for path in (held / "index").rglob("*") if path.is_file()]
    return {"cpu": cpu, "bytes": sum(files)}


def search(held: Path, _: argparse.Namespace) -> dict[str, Any]:
    """Opening for the first time, and searching one segment through its graph, warm."""
    from usearch.index import Index

    from rebase_hf import RowIndex
    from rebase_hf.index.quantising import quantise
    from rebase_hf.index.segment import Segment
    from rebase_hf.index.vectors import default_expansion

    start = time.process_time()
    index = RowIndex.open(held / "index", encoder=made_encoder(held.parent))
    opened = time.process_time() - start
    texts = [row[0] for row in made_rows(QUERIES, seed=5)]
    queries = made_encoder(held.parent).encode(texts)
    index.nearest_rows(queries[0], 10)
    walls = []
    for query in queries:
        start = time.perf_counter()
        index.nearest_rows(query, 10)
        walls.append(time.perf_counter() - start)
    folder = next(index.path.glob("segment-*"))
    graph = Index.restore(str(folder / "graph.usearch"), view=True)
    scale = json.loads((folder / "segment.json").read_text())["scale"]
    count = len(Segment(folder).vectors)
    graph.expansion_search = default_expansion(count)
    looked = [graph.search(quantise(query[None], scale)[0], 50).computed_distances for query in queries]
    growth = math.log(default_expansion(FULL) / default_expansion(count)) / math.log(FULL / count)
    return {
        "view_growth": growth,  # what is kept in view grows by this power of the number of vectors
        "open_cpu": opened,
        "ms": statistics.median(walls) * 1e3,
        "looked_at": statistics.mean(looked),
        "vectors": count,
    }


def encoded(spec: Callable[[Path], str | None], times: int) -> Callable[[Path, argparse.Namespace], dict[str, Any]]:
    """Return a part that encodes texts of the rows with an encoder."""

    def part(held: Path, options: argparse.Namespace) -> dict[str, Any]:
        from rebase_hf.index.encoders import load_encoder

        encoder = load_encoder(spec(held))
        texts = [text for row in made_rows(options.encoded * times, seed=9) for text in row][: options.encoded * times]
        encoder.encode(texts[:64])
        start, wall = time.process_time(), time.perf_counter()
        encoder.encode(texts)
        cpu, seconds = time.process_time() - start, time.perf_counter() - wall
        return {"cpu": cpu, "seconds": seconds, "texts": len(texts), "characters": sum(map(len, texts)) / len(texts)}

    return part


def static_model(held: Path) -> str:
    """Distil a static model of the default one and return what loads it."""
    from benchmarks.index_encoding import make_static
    from rebase_hf.index.encoders import load_encoder

    return f"static:{make_static(held / 'static', load_encoder('onnx-int8:'))}"


PARTS: dict[str, Callable[[Path, argparse.Namespace], dict[str, Any]]] = {
    "read": read,
    "segments": segments,
    "merge": merge,
    "search": search,
    "fp32": encoded(lambda _: None, 1),
    "int8": encoded(lambda _: "onnx-int8:", 1),
    "static": encoded(static_model, 10),
}

if __name__ == "__main__":
    main()
