"""What the page shows, as HTML. Every text of a row, a task or an error is escaped."""

import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rebase_hf.public_text import public, shorten
from rebase_hf.publish.findings import funnel
from rebase_hf.publish.finished_run import FinishedRun
from rebase_hf.rows import RetrievedRow
from rebase_space.finding import Found
from rebase_space.running import Progress

SHOWN_EXAMPLES = 50
# What was left out of which, in a visitor's words.
STAGES = {"retrieved": "retrieved rows", "outputs": "answers"}
CELL_CHARS, SHOWN_CELLS = 400, 8


def escaped(text: Any, limit: int = CELL_CHARS) -> str:
    """Return a text as HTML that shows it: no markup, and nothing that the page's own templates would fill in."""
    shown = html.escape(shorten(text, limit))
    for sign in "{}$`":
        shown = shown.replace(sign, f"&#{ord(sign)};")
    return shown


def said(text: str) -> str:
    """Return a sentence of our own as HTML, with what stands in backticks as code."""
    return re.sub(r"&#96;(.+?)&#96;", r"<code>\1</code>", escaped(text, 1000))


def show_said(text: str) -> str:
    """Return a line that says how something went."""
    return f"<p>{said(text)}</p>"


def show_error(error: Exception) -> str:
    """Return an error's one line, without this machine's folders."""
    return f'<p class="error"><strong>Not done.</strong> {said(public(" ".join(str(error).split())))}</p>'


def show_progress(progress: Progress, teacher: str) -> str:
    """Return how far a run is; what changes each time is kept from screen readers."""
    if not progress.examples:
        line = f"Working: {teacher}"
        bar = '<progress aria-label="Progress"></progress>'
    else:
        line = f"{progress.examples} of {progress.wanted} examples"
        bar = f'<progress aria-label="Progress" max="{progress.wanted}" value="{progress.examples}"></progress>'
    return f'<p>{escaped(line)} <span aria-hidden="true">({progress.seconds:.0f} s)</span></p>{bar}'


def show_found(found: Found) -> str:
    """Return retrieved rows, each with its source, licence and score."""
    if not found.rows:
        return "<p>No row was found.</p>"
    rows = "".join(_retrieved(row) for row in found.rows)
    return (
        f"<p>The first {len(found.rows)} rows that the teacher is asked about. A score is the mean cosine of a row's "
        "best cells with the instruction, the inputs and the outputs of the examples. "
        f"{_left_out(found.left_out)}</p><ol class='cards'>{rows}</ol>"
    )


def show_made(run: Path) -> str:
    """Return what came of a run: its counts, its sources, and each example beside the row that it was made from."""
    folder = FinishedRun.open(run)
    statement = f"<p><strong>{said(folder.report['statement'])}</strong></p>"
    return statement + _drops(folder) + _sources(folder) + _pairs(folder)


def _retrieved(row: RetrievedRow) -> str:
    source = row.source
    used = set(row.fields.values()) | set(row.columns.values())
    about = _about(source.dataset, source.split, source.row, source.license, row.score)
    return f"<li class='card'>{about}{_cells(source.cells, used)}</li>"


def _about(dataset: str, split: str | None, row: int | None, license: str | None, score: float | None) -> str:
    scored = "" if score is None else f"<span>score {score:.3f}</span>"
    return (
        f"<p class='about'><strong>{escaped(dataset, 100)}</strong><span>{escaped(split or '', 60)} row {row}</span>"
        f"<span>{escaped(license or 'unknown licence', 60)}</span>{scored}</p>"
    )


def _cells(cells: Mapping[str, Any], used: Iterable[str] = ()) -> str:
    # What a row is used for first, in the source's order.
    names = sorted(cells, key=lambda name: name not in set(used))
    shown = "".join(
        f"<dt{' class=used' if name in set(used) else ''}>{escaped(name, 60)}</dt><dd>{escaped(cells[name])}</dd>"
        for name in names[:SHOWN_CELLS]
    )
    more = len(names) - SHOWN_CELLS
    return f"<dl>{shown}</dl>" + (f"<p class='more'>and {more} more columns</p>" if more > 0 else "")


def _pairs(folder: FinishedRun) -> str:
    """Return each example beside its row; of many, the first ones."""
    lines = [json.loads(line) for line in (folder.path / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    pairs: list[str] = []
    for (_, example), line in zip(folder.rows(), lines, strict=True):
        if len(pairs) == SHOWN_EXAMPLES:
            break
        used = [*(line.get("fields_from") or {}).values(), *(line.get("columns") or {}).values()]
        made_from = example["provenance"]
        names = ("dataset", "split", "row", "license", "score")
        about = _about(*(made_from[name] for name in names))
        fields = {name: example[name] for name in (*folder.task.fields, "rationale") if example.get(name) is not None}
        pairs.append(
            f"<li class='card'>{about}<div class='pair'><section><h4>Retrieved row</h4>"
            f"{_cells(line.get('cells') or {}, used)}</section><section><h4>Example</h4>{_cells(fields)}</section>"
            "</div></li>"
        )
    if not pairs:
        return ""
    of = f"The first {len(pairs)} of {len(lines)}" if len(lines) > len(pairs) else f"All {len(pairs)}"
    return f"<h3>What rows became</h3><p>{of}; the download holds all.</p><ol class='cards'>{''.join(pairs)}</ol>"


def _drops(folder: FinishedRun) -> str:
    """Return how many rows and answers were left out at each stage, and why."""
    rows = [
        (STAGES.get(stage["name"], stage["name"]), reason.replace("_", " "), count)
        for stage in funnel(folder.report)
        for reason, count in stage["left"].items()
    ]
    if not rows:
        return "<p>No row was left out, and no answer was dropped.</p>"
    return _table("What was left out, and why", ("Of", "Reason", "Count"), rows)


def _sources(folder: FinishedRun) -> str:
    rows = [(source.dataset, source.license or "unknown", source.rows) for source in folder.sources]
    if not rows:
        return ""
    table = _table("Where the examples come from", ("Dataset", "Licence", "Examples"), rows)
    found = folder.license
    named = f"Licence of the dataset: `{found.identifier}`." if found.identifier else "Its licence can't be derived."
    return table + show_said(" ".join((named, found.derivation, *found.problems)))


def _table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    head = "".join(f'<th scope="col">{escaped(name)}</th>' for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escaped(cell, 100)}</td>' for cell in row)}</tr>" for row in rows)
    # Wide ones scroll by themselves, also by the keyboard.
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escaped(caption)}"><table>'
        f"<caption>{escaped(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _left_out(left_out: Mapping[str, int]) -> str:
    if not left_out:
        return ""
    reasons = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in left_out.items())
    return f"Left out on the way: {escaped(reasons)}."
