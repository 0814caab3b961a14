"""What an index of so many rows costs, by arithmetic: what was measured a row, times rows, times stated prices."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ASSUMPTIONS = Path(__file__).with_name("scale_assumptions.json")
GIGA = 1e9
HOUR = 3600.0


def assumptions(changed: Mapping[str, float]) -> dict[str, Any]:
    """Return the stated assumptions by name, with some of them changed."""
    held = {name: about["value"] for name, about in json.loads(ASSUMPTIONS.read_text()).items()}
    if unknown := changed.keys() - held.keys():
        raise SystemExit(f"{', '.join(sorted(unknown))}: no assumption; there are {', '.join(held)}.")
    return {**held, **changed}


@dataclass(frozen=True, slots=True)
class Stages:
    """What was measured.

    Attributes:
        read: CPU seconds a row; and so are `words`, `rows` and `rest`.
        encode: CPU seconds a text, by encoder.
        graph: CPU seconds a text at two sizes, by the size.
        merge: CPU seconds a byte.
        text_bytes: Of a text: its vector, its place in the graph.
        row_bytes: All else, of a row.
        piece_bytes: What a rank writes, of a row.
        read_mib: Memory of a rank.
        segment_mib: Memory of making a segment, by its texts.
        search_ms: Of one segment, warm.
        looked_at: Vectors that a search of it looks at.
        searched: Vectors of the segment that was searched.
        view_growth: By this power of their number grows how many vectors a search keeps in view.
    """

    texts_per_row: float
    read: float
    words: float
    rows: float
    rest: float
    encode: Mapping[str, float]
    graph: Mapping[int, float]
    merge: float
    graph_bytes: float
    vector_bytes: float
    row_bytes: float
    piece_bytes: float
    read_mib: float
    segment_mib: Mapping[int, float]
    search_ms: float
    looked_at: float
    searched: int
    view_growth: float

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> "Stages":
        """Return the stages that `benchmarks.scale_stages` wrote."""
        lines = {line["key"]: line["details"] for line in result["lines"]}
        (small, large), (small_cut, large_cut) = (
            (lines[key]["small"], lines[key]["large"]) for key in ("read", "graph")
        )
        rows, texts = large["rows"], large["texts"]
        sizes = large_cut["sizes"]

        def a_row(what: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
            return float(other[what] - one[what]) / (rows - small["rows"])

        return cls(
            texts_per_row=texts / rows,
            read=a_row("cpu", small, large),
            words=a_row("words", small_cut, large_cut),
            rows=a_row("rows_written", small_cut, large_cut),
            rest=a_row("rest", small_cut, large_cut),
            encode={name: lines[name]["cpu"] / lines[name]["texts"] for name in ("fp32", "int8", "static")},
            graph={small["texts"]: small_cut["graph"] / small["texts"], texts: large_cut["graph"] / texts},
            merge=lines["merge"]["cpu"] / lines["merge"]["bytes"],
            graph_bytes=sizes["graph.usearch"] / texts,
            vector_bytes=sizes["vectors.npy"] / texts,
            row_bytes=(lines["merge"]["bytes"] - sizes["graph.usearch"] - sizes["vectors.npy"]) / rows,
            piece_bytes=large["bytes"] / rows,
            read_mib=large["mib"],
            segment_mib={small["texts"]: small_cut["mib"], texts: large_cut["mib"]},
            search_ms=lines["search"]["ms"],
            looked_at=lines["search"]["looked_at"],
            searched=lines["search"]["vectors"],
            view_growth=lines["search"]["view_growth"],
        )

    def graph_of(self, texts: float) -> float:
        """Return the CPU seconds a text of a graph of so many, by the logarithm of its size."""
        (small, low), (large, high) = sorted(self.graph.items())
        slope = max(high - low, 0.0) / math.log(large / small)
        return high + slope * math.log(texts / large)

    def segment_memory(self, texts: float) -> float:
        """Return the MiB that making a segment of so many texts takes."""
        (small, low), (large, high) = sorted(self.segment_mib.items())
        return high + (high - low) / (large - small) * (texts - large)

    def search_growth(self, texts: float) -> float:
        """Return how much longer a search of so many takes: it keeps more in view, and paths are longer."""
        return (texts / self.searched) ** self.view_growth * math.log(texts) / math.log(self.searched)


def costs(stages: Stages, assumed: Mapping[str, Any], rows: int) -> dict[str, str]:
    """Return the table's column for so many rows: what it is, and how much."""
    texts = rows * (assumed["texts_per_row"] or stages.texts_per_row)
    full = min(float(assumed["segment_texts"]), texts)
    segments = math.ceil(texts / full)
    held = texts * (stages.graph_bytes + stages.vector_bytes) + rows * stages.row_bytes
    merge = held * stages.merge / HOUR
    around = {
        "reading": rows * stages.read / HOUR,
        "graphs": texts * stages.graph_of(full) / HOUR,
        "words": rows * stages.words / HOUR,
        "rows and the rest of segments": rows * (stages.rows + stages.rest) / HOUR,
    }
    found = {"texts": _count(texts), "segments": f"{segments:,}"}
    found |= {f"CPU hours, {name}": _hours(hours) if hours > 1e-3 else "" for name, hours in around.items()}
    found["CPU hours, merging (one task, hashing on all its cores)"] = _hours(merge)
    for name, words in (("fp32", "float32"), ("int8", "onnx-int8"), ("static", "static")):
        encoding = texts * stages.encode[name] / HOUR
        total = encoding + sum(around.values()) + merge
        found[f"CPU hours, encoding, {words}"] = _hours(encoding)
        found[f"**in all, {words}**"] = (
            f"{_hours(total)} CPU hours, {_usd(total * assumed['core_hour_usd'])}, "
            f"{_hours((total - merge) / assumed['cores'] + merge)} hours on {assumed['cores']:,.0f} cores"
        )
    on_gpu = texts / assumed["gpu_texts_per_second"] / HOUR
    rest = sum(around.values()) + merge
    found["**in all, float32 encoded on GPUs**"] = (
        f"{_hours(on_gpu)} GPU hours and {_hours(rest)} CPU hours, "
        f"{_usd(on_gpu * assumed['gpu_hour_usd'] + rest * assumed['core_hour_usd'])}"
    )
    return found | _room(stages, assumed, rows, held, full) | _searching(stages, assumed, segments, texts, held)


def _room(stages: Stages, assumed: Mapping[str, Any], rows: int, held: float, full: float) -> dict[str, str]:
    return {
        "disk, the index": f"{_bytes(held)}, {_usd(held / GIGA * assumed['disk_gb_month_usd'])} a month",
        "disk while it is built, at most": _bytes(held + rows * stages.piece_bytes),
        "memory of a reading rank, without its encoder": f"{stages.read_mib / 1024:.1f} GiB",
        "memory of making a segment": f"{stages.segment_memory(full) / 1024:.1f} GiB",
    }


def _searching(stages: Stages, assumed: Mapping[str, Any], segments: int, texts: float, held: float) -> dict[str, str]:
    searches = segments * stages.search_growth(texts / segments)  # of the measured segment
    pages = searches * stages.looked_at
    return {
        "memory that searches keep warm: the graphs": _bytes(texts * stages.graph_bytes),
        "one search, everything warm, one thread": _seconds(searches * stages.search_ms / 1e3),
        "one search, nothing in memory": f"{pages:,.0f} pages, {_seconds(pages * assumed['page_read_us'] / 1e6)}",
        "first opening: checksums of everything, one core": f"{_hours(held * stages.merge / HOUR)} hours",
    }


def _count(number: float) -> str:
    return f"{number / 1e6:,.0f} million"


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


def _usd(amount: float) -> str:
    return f"${amount:,.0f}" if amount >= 1 else f"${amount:.2f}"


def _bytes(size: float) -> str:
    return f"{size / 1e12:,.2f} TB" if size >= 1e12 else f"{size / GIGA:,.0f} GB"


def _seconds(seconds: float) -> str:
    return f"{seconds:,.1f} s" if seconds >= 1 else f"{seconds * 1e3:.0f} ms"
