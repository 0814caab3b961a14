"""The report of a run: one HTML file that needs nothing else, and its figures as SVG and PNG files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rebase_hf.public_text import public, script_json
from rebase_hf.publish.card_metadata import pretty_name
from rebase_hf.publish.compared_texts import MEASURES, TextsCompared, compare_texts
from rebase_hf.publish.contamination_findings import contamination
from rebase_hf.publish.findings import (
    dataset_limits,
    diversity_rows,
    funnel,
    no_sources,
    teacher_line,
    teacher_terms,
)
from rebase_hf.publish.finished_run import FinishedRun, RunPath
from rebase_hf.publish.papers import METHODS
from rebase_hf.publish.png import has_pillow, to_png
from rebase_hf.publish.report_figures import TITLES, draw_figures, figure_files
from rebase_hf.publish.report_rows import embedded_rows
from rebase_hf.publish.templating import environment
from rebase_hf.publish.training_findings import learning_by_source, learning_map
from rebase_hf.publish.worth_it import worth_it
from rebase_hf.run_folder import write_atomically
from rebase_hf.svg import standalone


def write_report(run: RunPath, *, against: Sequence[str | Path] = (), png: bool | None = None) -> Path:
    """Write `report.html` and `figures/*.svg` into the run folder, and return the path of the HTML file.

    Args:
        against: Folders of other runs, whose texts are compared with this one's.
        png: Write `figures/*.png` too; None where Pillow is installed.

    Raises:
        PublishError: The folder, or one that it is to be compared with, is no finished run.
        MissingExtraError: `png` is true, and Pillow is not installed.
    """
    folder = FinishedRun.open(run)
    compared = compare_texts(folder, against)
    drawn = draw_figures(folder, compared)
    _write_figures(folder.path / "figures", drawn, png=has_pillow() if png is None else png)
    path = folder.path / "report.html"
    write_atomically(path, _page(folder, drawn, compared))
    return path


def _page(folder: FinishedRun, drawn: dict[str, str], compared: TextsCompared | None) -> str:
    report = public(folder.report)
    page: str = environment().get_template("report.html.jinja").render(
        title=pretty_name(folder),
        run=folder,
        report=report,
        task=folder.task,
        paper=METHODS.get(folder.method),
        teacher=(teacher_line(report) or "").replace("`", ""),
        terms=_plain(teacher_terms(report) or ""),
        figures=drawn,
        figure_titles=TITLES,
        tiles=_tiles(folder),
        worth=worth_it(report),
        sums=[stage["sum"] for stage in funnel(report) if stage["sum"]],
        costs=_costs(report),
        diversity=diversity_rows(report),
        contamination=[_plain(told) for told in contamination(report)],
        compared=compared,
        measures=MEASURES,
        learning=learning_by_source(folder.path),
        mapped=learning_map(folder.path),
        unmapped=_plain((report.get("learning") or {}).get("left_out") or ""),
        no_sources=no_sources(report),
        limits=[_plain(limit) for limit in dataset_limits(folder)],
        rows=script_json(embedded_rows(folder)),
        count=sum(folder.split_sizes.values()),
    )  # fmt: skip
    return page


def _plain(text: str) -> str:
    """Return a sentence of Markdown as plain text."""
    return text.replace("**", "").replace("\\", "").replace("`", "")


def _write_figures(folder: Path, drawn: dict[str, str], *, png: bool) -> None:
    folder.mkdir(exist_ok=True)
    written = set()
    for name, svg in figure_files(drawn).items():
        write_atomically(folder / f"{name}.svg", standalone(svg))
        written |= {f"{name}.svg"}
        if png:
            write_atomically(folder / f"{name}.png", to_png(svg))
            written |= {f"{name}.png"}
    for stale in {f"{name}.{kind}" for name in TITLES for kind in ("svg", "png")} - written:
        (folder / stale).unlink(missing_ok=True)


def _tiles(folder: FinishedRun) -> list[tuple[str, str, str]]:
    """Return the headline figures: value, what it is, and what it stands against."""
    report = folder.report
    asked_for = report.get("asked_for")
    tiles = [(f"{report['examples']:,}", "examples", f"of {asked_for:,} asked for" if asked_for else "")]
    if folder.sources:
        datasets = len({source.dataset for source in folder.sources})
        tiles.append((f"{datasets:,}", "source dataset" + "s" * (datasets > 1), _indexed(report)))
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
        tiles.append(
            (f"{report['requests']:,}", "requests", f"and {journal:,} answers from the journal" if journal else took)
        )
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
    for key, name in (("retries", "Sent again"), ("refused", "Turned away by the server")):
        if report.get(key):
            costs.append((name, f"{report[key]:,}"))
    if seconds:
        costs.append(("Time", f"{sum(seconds.values()):,.0f} s"))
    asking, sent = seconds.get("transform"), report.get("requests")
    if asking and sent:  # of all requests in flight together: what one takes by itself is longer
        costs.append(("Requests a second", f"{sent / asking:,.2f}"))
    return costs
