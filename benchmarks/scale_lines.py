"""What `benchmarks.scale_stages` measured, as lines: what a reader wants to see, and all that the arithmetic needs."""

from collections.abc import Sequence
from typing import Any

from benchmarks.claims import Line

ENCODERS = ("fp32", "int8", "static")


def lines(figures: dict[str, Any]) -> list[Line]:
    """Return what was measured as lines."""
    read_, cut = (_both(figures, part) for part in ("read", "segments"))
    for both in cut:
        both["rest"] = both["cpu"] - both["graph"] - both["words"] - both["rows_written"]
    rows, texts = read_[1]["rows"], read_[1]["texts"]

    def rate(what: str, both: Sequence[dict[str, Any]]) -> str:
        a_row = (both[1][what] - both[0][what]) / (rows - read_[0]["rows"])
        return f"{1 / a_row:,.0f} rows a CPU-second ({a_row * 1e6:.0f} us a row)"

    words = rate("words", cut) if cut[1]["words"] > 0.1 else "not indexed"
    graph = f"{cut[1]['graph'] / texts * 1e6:.0f} us a text; of {read_[0]['texts']:,}, "
    graph += f"{cut[0]['graph'] / read_[0]['texts'] * 1e6:.0f} us"
    merged, found = figures["merge"], figures["search"]
    return [
        Line(
            "read",
            f"reading {rows:,} rows: opening, cells, pieces, checksums",
            rate("cpu", read_),
            details=_named(read_),
        ),
        *(_encoding(name, figures[name]) for name in ENCODERS if name in figures),
        Line("graph", f"the graph of {texts:,} texts", graph, details=_named(cut)),
        Line("words", "words, for lexical search", words),
        Line("rows", "compressing rows", rate("rows_written", cut)),
        Line("rest", "the rest of a segment: checksums, joining, cells", rate("rest", cut)),
        Line(
            "merge",
            "merging: checksums, catalog, manifest",
            f"{merged['cpu'] / merged['bytes'] * 1e9:.1f} CPU-seconds a GB",
            details=merged,
        ),
        Line(
            "search",
            f"searching one segment of {found['vectors']:,} texts, warm, one thread",
            f"{found['ms']:.1f} ms, {found['looked_at']:,.0f} vectors looked at",
            details=found,
        ),
        Line("bytes", "bytes a row of the index", f"{merged['bytes'] / rows:,.0f}"),
    ]


def _both(figures: dict[str, Any], part: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return figures[f"small_{part}"], figures[f"large_{part}"]


def _named(both: tuple[dict[str, Any], dict[str, Any]]) -> dict[str, Any]:
    return dict(zip(("small", "large"), both, strict=True))


def _encoding(name: str, figures: dict[str, Any]) -> Line:
    words = {"fp32": "float32", "int8": "onnx-int8", "static": "static"}[name]
    shown = f"{figures['texts'] / figures['cpu']:,.0f} texts a CPU-second"
    return Line(name, f"encoding, {words}, texts of {figures['characters']:.0f} characters", shown, details=figures)
