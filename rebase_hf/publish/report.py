"""The report of a run: one HTML file that needs nothing else, and its figures as SVG files."""

from collections import Counter
from pathlib import Path
from typing import Any

from rebase_hf.publish import figures
from rebase_hf.publish.cards import pretty_name
from rebase_hf.publish.findings import dataset_limits, diversity_rows, funnel, teacher_line
from rebase_hf.publish.finished_run import FinishedRun, RunPath, address
from rebase_hf.publish.papers import METHODS
from rebase_hf.publish.public_text import public, public_name, script_json, shorten
from rebase_hf.publish.templating import environment
from rebase_hf.publish.worth_it import worth_it
from rebase_hf.svg import standalone

# Longer texts are cut in the table of rows: 20,000 rows must stay a page that a phone opens.
_FIELD_CHARS = 1200
_CELL_CHARS = 500
_CELLS = 12


def write_report(run: RunPath) -> Path:
    """Write `report.html` and `figures/*.svg` into the run folder, and return the path of the HTML file.

    Raises:
        PublishError: The folder is no finished run.
    """
    folder = FinishedRun.open(run)
    drawn = draw_figures(folder)
    _write_figures(folder.path / "figures", drawn)
    report = public(folder.report)
    page = environment().get_template("report.html.jinja").render(
        title=pretty_name(folder),
        run=folder,
        report=report,
        task=folder.task,
        paper=METHODS.get(folder.method),
        teacher=(teacher_line(report) or "").replace("`", ""),
        figures=drawn,
        tiles=_tiles(folder),
        worth=worth_it(report),
        sums=[stage["sum"] for stage in funnel(report) if stage["sum"]],
        costs=_costs(report),
        diversity=diversity_rows(report),
        limits=[limit.replace("**", "").replace("\\", "") for limit in dataset_limits(folder)],
        rows=script_json({"fields": list(_fields(folder)), "output": folder.task.output, "rows": _rows(folder)}),
        count=sum(folder.split_sizes.values()),
    )  # fmt: skip
    path = folder.path / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def draw_figures(folder: FinishedRun) -> dict[str, str]:
    """Return the figures of a run as SVG by name; what the run did not measure has none."""
    report, drawn = folder.report, {}
    drawn["funnel"] = figures.funnel("From retrieved rows to examples", funnel(report))
    sources: Counter[str] = Counter()
    for source in folder.sources:
        sources[source.dataset] += source.rows
    if sources:
        drawn["sources"] = figures.bars("Examples by source dataset", dict(sources.most_common()))
    if labels := report.get("labels"):
        ordered = {label: labels.get(label, 0) for label in folder.task.labels} or labels
        drawn["labels"] = figures.bars("Examples by label", ordered, limit=20)
    scores = [s for _, row in folder.rows() if (s := (row.get("provenance") or {}).get("score")) is not None]
    if scores:
        drawn["scores"] = figures.histogram("Retrieval score of the rows that became examples", scores)
    if worth := worth_it(report):
        drawn["worth_it"] = figures.comparison(f"{worth.metric} on the held-out rows", worth)
    if seconds := report.get("seconds"):
        drawn["time"] = figures.bars("Seconds by stage", seconds, digits=1, unit=" s")
    return drawn


def _write_figures(folder: Path, drawn: dict[str, str]) -> None:
    folder.mkdir(exist_ok=True)
    for name, svg in drawn.items():
        (folder / f"{name}.svg").write_text(standalone(svg), encoding="utf-8")


def _tiles(folder: FinishedRun) -> list[tuple[str, str, str]]:
    """Return the headline figures: value, what it is, and what it stands against."""
    report = folder.report
    asked_for = report.get("asked_for")
    tiles = [(f"{report['examples']:,}", "examples", f"of {asked_for:,} asked for" if asked_for else "")]
    if folder.sources:
        datasets = len({source.dataset for source in folder.sources})
        tiles.append((str(datasets), "source dataset" + "s" * (datasets > 1), _indexed(report)))
    worth = worth_it(report)
    if worth:
        student = worth.contenders[0].scores[worth.metric]
        others = [c for c in worth.contenders[1:] if worth.metric in c.scores and not c.is_ceiling]
        best = max((c.scores[worth.metric][0] for c in others), default=None)
        against = f"best baseline {best:.3f}" if best is not None else ""
        tiles.append((f"{student[0]:.3f}", f"student's {worth.metric}", against))
    if report.get("requests") is not None:
        seconds = sum((report.get("seconds") or {}).values())
        took = f"{seconds:,.0f} s in all" if seconds else ""
        journal = report.get("from_journal")
        tiles.append((f"{report['requests']:,}", "requests", f"{journal:,} from the journal" if journal else took))
    return tiles


def _indexed(report: Any) -> str:
    rows = (report.get("index") or {}).get("rows")
    return f"{rows:,} rows in the index" if rows else ""


def _costs(report: Any) -> list[tuple[str, str]]:
    tokens, seconds = report.get("tokens") or {}, report.get("seconds") or {}
    costs = []
    if tokens.get("prompt") or tokens.get("completion"):
        costs += [("Prompt tokens", f"{tokens['prompt']:,}"), ("Completion tokens", f"{tokens['completion']:,}")]
    if report.get("cost") is not None:
        costs.append(("Cost", f"{report['cost']:.4f}"))
    if seconds:
        costs.append(("Time", f"{sum(seconds.values()):,.0f} s"))
    return costs


def _fields(folder: FinishedRun) -> tuple[str, ...]:
    return (*folder.task.fields, *(["rationale"] if "rationale" in folder.columns else []))


def _rows(folder: FinishedRun) -> list[dict[str, Any]]:
    """Return every row as the page shows it: fields, retrieved cells, where it came from."""
    rows = []
    for split, row in folder.rows():
        made_from = row.get("provenance") or {}
        where = [made_from.get(key) for key in ("dataset", "config", "split", "row", "revision", "license")]
        where[0] = public_name(str(where[0])) if where[0] else None
        cells = list(folder.retrieved_cells.get(address(made_from), {}).items())[:_CELLS]
        rows.append(
            {
                "f": [shorten("" if row.get(n) is None else row[n], _FIELD_CHARS) for n in _fields(folder)],
                "c": [[shorten(name, 80), shorten(value, _CELL_CHARS)] for name, value in cells],
                "w": where,
                "x": made_from.get("score"),
                "p": (made_from.get("prompt_id") or "")[:12],
                "s": split,
            }
        )
    return rows
