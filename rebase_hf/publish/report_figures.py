"""Which figures a run has: all that it measured, by name."""

from collections import Counter
from collections.abc import Mapping

from rebase_hf.publish import figures
from rebase_hf.publish.compared_texts import TextsCompared, compare_texts, copied_shares, labels_before
from rebase_hf.publish.findings import funnel
from rebase_hf.publish.finished_run import FinishedRun
from rebase_hf.publish.training_findings import learning_by_source, learning_map
from rebase_hf.publish.worth_it import worth_it
from rebase_hf.svg import titled

TITLES = {
    "funnel": "From retrieved rows to examples",
    "sources": "Examples by source dataset",
    "labels": "Labels: what the teacher gave, and what stayed",
    "scores": "Retrieval score of the rows that became examples",
    "copied": "Share of an example's words that stand in its row",
    "texts": "How varied the texts are, beside others",
    "learning": "How well the student knows each source's rows",
    "cartography": "Map of the training rows",
    "worth_it": "Was it worth it",
    "time": "Seconds by stage",
    "latency": "Seconds until an answer was there",
}
WITHIN = {"p50": "half of the answers", "p90": "9 of 10 answers", "p99": "99 of 100 answers"}


def draw_figures(folder: FinishedRun, compared: TextsCompared | None = None) -> dict[str, str]:
    """Return the figures of a run as SVG by name; what the run did not measure has none.

    Args:
        compared: How varied its texts are beside others, where that is measured already.
    """
    report, drawn = folder.report, {}
    drawn["funnel"] = figures.funnel(TITLES["funnel"], funnel(report))
    sources: Counter[str] = Counter()
    for source in folder.sources:
        sources[source.dataset] += source.rows
    if sources:
        drawn["sources"] = figures.bars(TITLES["sources"], dict(sources.most_common()))
    if labels := report.get("labels"):
        ordered = {label: labels.get(label, 0) for label in folder.task.labels} or labels
        before = labels_before(folder)
        drawn["labels"] = (
            figures.before_and_after(TITLES["labels"], before, ordered)
            if sum(before.values()) > sum(ordered.values())
            else figures.bars("Examples by label", ordered, limit=20)
        )
    scores = [s for _, row in folder.rows() if (s := (row.get("provenance") or {}).get("score")) is not None]
    if scores:
        drawn["scores"] = figures.histogram(TITLES["scores"], scores)
    if copied := copied_shares(folder):
        drawn["copied"] = figures.histogram(TITLES["copied"], copied, low=0.0, high=1.0)
    if compared := compared or compare_texts(folder):
        drawn["texts"] = figures.grouped(TITLES["texts"], compared)
    return drawn | draw_student_figures(folder) | _time(folder) | _latency(folder)


def figure_files(drawn: Mapping[str, str]) -> dict[str, str]:
    """Return figures as they stand alone: with their names, where they have not written them themselves."""
    return {name: svg if name == "cartography" else titled(svg) for name, svg in drawn.items()}


def draw_student_figures(folder: FinishedRun) -> dict[str, str]:
    """Return the figures that say something of a run's student."""
    drawn = {}
    if worth := worth_it(folder.report):
        drawn["worth_it"] = figures.comparison(f"{worth.metric} on the held-out rows", worth)
    if found := learning_by_source(folder.path):
        drawn["learning"] = figures.learning(TITLES["learning"], found)
    if mapped := learning_map(folder.path):
        from rebase_hf.students.cartography_figure import draw_points

        drawn["cartography"] = draw_points(mapped.points, mapped.kept)
    return drawn


def _time(folder: FinishedRun) -> dict[str, str]:
    seconds = folder.report.get("seconds")
    return {"time": figures.bars(TITLES["time"], seconds, digits=1, unit=" s")} if seconds else {}


def _latency(folder: FinishedRun) -> dict[str, str]:
    latency = folder.report.get("latency")
    if not latency:
        return {}
    shown = {told: latency[name] for name, told in WITHIN.items()}
    return {"latency": figures.bars(TITLES["latency"], shown, digits=2, unit=" s")}
