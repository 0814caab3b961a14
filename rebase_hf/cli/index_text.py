"""An index, and what is found in it, as lines for a terminal."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import typer

from rebase_hf.cli.story_text import terminal_line
from rebase_hf.index.source_records import SkippedSource
from rebase_hf.rows import RetrievedRow

if TYPE_CHECKING:
    from rebase_hf.index.row_index import RowIndex

_WIDTH = 100
_PARTS = {"lexical": "bm25 {:.2f}", "fused": "fused {:.4f}"}


def show_index(index: "RowIndex") -> None:
    """Print what an index holds, source by source."""
    facts = index.info()
    show_counts(facts)
    licenses = ", ".join(f"{name} {rows}" for name, rows in facts["licenses"].items())
    roles = ", ".join(f"{name} {columns}" for name, columns in facts["roles"].items())
    typer.echo(terminal_line(f"fingerprint {facts['fingerprint'][:16]}, encoder {facts['encoder']['name']}"))
    typer.echo(terminal_line(f"rows by licence: {licenses}"))
    typer.echo(terminal_line(f"columns by role: {roles}"))
    width = max(len(source.dataset) for source in index.sources)
    for source in index.sources:
        total = "" if source.total_rows == source.rows else f" of {source.total_rows or 'an unknown number of'}"
        revision = (source.revision or "")[:12]
        config = f"  {source.config}" if source.config else ""
        how = "" if source.sampling == "even" else f"  ({source.sampling.replace('_', ' ')})"
        typer.echo(
            terminal_line(
                f"  {source.dataset:<{width}}  {source.rows}{total} rows{how}  {source.license or 'no licence'}  "
                f"{revision}{config}"
            )
        )
    show_skipped(index.skipped)


def show_counts(facts: Mapping[str, Any]) -> None:
    """Print how much an index holds, in two lines."""
    size = f"{facts['bytes'] / 1e6:.1f} MB"
    counts = f"{facts['rows']} rows of {len(facts['sources'])} sources, {facts['vectors']} vectors, {size}"
    typer.echo(terminal_line(f"{facts['path']}: {counts}"))
    segments = f"{facts['segments']} segment{'' if facts['segments'] == 1 else 's'}"
    dead = f"{facts['dead_rows']} rows of sources that are gone"
    typer.echo(f"{segments}, {dead}, words {'indexed' if facts['words'] else 'not indexed'}")


def found_line(found: RetrievedRow) -> str:
    """Return a row that was found as a line: score, what else counted, address, the cell."""
    row, column = found.source, found.columns["text"]
    shown = " ".join(row.cells[column].split())
    shown = shown if len(shown) <= _WIDTH else f"{shown[: _WIDTH - 1]}…"
    parts = [form.format(found.parts[name]) for name, form in _PARTS.items() if name in found.parts]
    return terminal_line("  ".join([f"{found.score:.3f}", *parts, f"{row.dataset}[{row.row}].{column}", shown]))


def show_skipped(skipped: Iterable[SkippedSource]) -> None:
    """Show what was left out, and why."""
    for skip in skipped:
        typer.echo(terminal_line(f"  left out: {skip.source} ({skip.reason}): {skip.detail}"))
