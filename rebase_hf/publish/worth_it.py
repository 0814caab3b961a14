"""Was it worth it: the student next to the baselines, as the card and the report tell it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rebase_hf.students.metrics import ERRORS

NAMES = {
    "student": "Student (trained on this dataset)",
    "reasoning_only": "Same student without passages: reasoning distillation",
    "few_examples": "Same student, the few examples only",
    "examples_and_phrases": "Same student, the few examples and the labels' phrases",
    "gold_rows": "Same student, as many of the task's own labelled rows",
    "majority": "Always the most frequent label",
}
# What the dataset is to come near to, not to beat.
CEILING = "gold_rows"


@dataclass(frozen=True, slots=True)
class Contender:
    """One row of the table.

    Attributes:
        scores: Mean and, where there is one, standard deviation over the seeds, by metric.
        per_seed: The values of the table's metric, one a seed.
        is_ceiling: It is what the student is to come near to, no baseline.
    """

    name: str
    scores: Mapping[str, tuple[float, float | None]]
    per_seed: tuple[float, ...] = ()
    is_ceiling: bool = False

    def cell(self, metric: str) -> str:
        """Return what stands in the table: `0.871 ± 0.014`, or a dash where nothing was measured."""
        if metric not in self.scores:
            return "-"
        mean, spread = self.scores[metric]
        return f"{mean:.3f}" if spread is None else f"{mean:.3f} ± {spread:.3f}"


@dataclass(frozen=True, slots=True)
class WorthIt:
    """The table and what it says.

    Attributes:
        metric: The metric that the verdict is about, the first of `metrics`.
        verdict: One sentence, whichever way the table falls.
        terms: Under which terms it was measured: rows, seeds, cap on training pairs.
    """

    metric: str
    metrics: tuple[str, ...]
    contenders: tuple[Contender, ...]
    verdict: str
    terms: str

    @property
    def heads(self) -> tuple[str, ...]:
        """The metrics as a reader wants them, with a word where less is better."""
        return tuple(f"{metric} (less is better)" if metric in ERRORS else metric for metric in self.metrics)


def worth_it(report: Mapping[str, Any]) -> WorthIt | None:
    """Return the table of a report, or None where no student was evaluated."""
    student = report.get("student") or {}
    metrics = [name for name in student if not name.endswith("_std")]
    if not metrics:
        return None
    comparison = report.get("comparison") or {}
    metric = str(comparison.get("metric"))
    metric = metric if metric in metrics else metrics[0]
    metrics.sort(key=lambda name: name != metric)
    per_seed = comparison.get("per_seed") or {}
    baselines = report.get("baselines") or {}
    best_first = sorted(baselines, key=lambda name: -(baselines[name].get(metric) or 0.0))
    measured = {"student": student, **{name: baselines[name] for name in best_first}}
    contenders = tuple(
        Contender(
            NAMES.get(name, name.replace("_", " ")),
            {m: (float(figures[m]), figures.get(f"{m}_std")) for m in metrics if figures.get(m) is not None},
            tuple(per_seed.get(name) or ()),
            name == CEILING,
        )
        for name, figures in measured.items()
    )
    return WorthIt(metric, tuple(metrics), contenders, _verdict(metric, contenders), _terms(report))


def _verdict(metric: str, contenders: tuple[Contender, ...]) -> str:
    student, *others = contenders
    others = [other for other in others if metric in other.scores]
    ceiling = "".join(
        f" With as many rows labelled by hand it would be {other.scores[metric][0]:.3f}."
        for other in others
        if other.is_ceiling
    )
    baselines = [other for other in others if not other.is_ceiling]
    if not baselines:
        return f"There is no baseline to compare with.{ceiling}"
    best = max(baselines, key=lambda other: other.scores[metric][0])
    gap = student.scores[metric][0] - best.scores[metric][0]
    spread = max(student.scores[metric][1] or 0.0, best.scores[metric][1] or 0.0)
    against = f"the best baseline ({best.name[0].lower()}{best.name[1:]})"
    if abs(gap) <= spread:
        verdict = f"No clear difference: {gap:+.3f} {metric} against {against} lies within the spread of {spread:.3f}."
    elif gap > 0:
        verdict = f"The student is {gap:.3f} {metric} above {against}."
    else:
        verdict = f"The dataset did not pay off here: the student is {-gap:.3f} {metric} below {against}."
    return verdict + ceiling


def _terms(report: Mapping[str, Any]) -> str:
    comparison, evaluation = report.get("comparison") or {}, report.get("evaluation") or {}
    terms = []
    if evaluation.get("rows"):
        terms.append(f"{evaluation['rows']:,} held-out rows that no one trained on")
    if leaks := sum((comparison.get("leaks") or {}).values()):
        terms.append(f"{leaks:,} training row{'s' * (leaks > 1)} that overlapped them left out")
    if seeds := comparison.get("seeds"):
        terms.append(f"mean ± standard deviation over {len(seeds)} seed{'s' * (len(seeds) > 1)}")
    if comparison.get("max_pairs"):
        unit = "pairs" if comparison.get("kind", "setfit") == "setfit" else "rows, repeated as needed"
        terms.append(f"every student is trained on {comparison['max_pairs']:,} {unit}")
    return "; ".join(terms)
