"""Retrieval for every task of the kit: the official scoring against the library's defaults, rows beside rows.

Both search one index of the kit's bank with one encoder (all-MiniLM-L6-v2) and leave the task's own family out. Of
each the first 1,000 rows are taken as a run for 1,000 examples would, and counted: how many datasets they come from,
how many repeat one another, how many were found by a cell that says nothing, how many overlap the test rows, and
whether they are of the task's kind. What is expensive is made once: texts are encoded once for all tasks, and kept.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.asking import quiet
from benchmarks.claims import Line, at_least, at_most, parser, report
from benchmarks.kit_data import all_tasks, bank_index, kit_folder, kit_task
from benchmarks.linear_student import RememberingEncoder, scratch_folder
from benchmarks.retrieval_families import FAMILIES, source_categories
from benchmarks.retrieval_lists import LISTS, PublishedScores, taken_list
from benchmarks.retrieval_measures import junk_of, leaks_of, relatedness_of, repeats_of, same_cell_of, spread_of
from rebase_hf.index.row_index import RowIndex
from rebase_hf.methods.excluded import held_vectors
from rebase_hf.quality.contamination import EvaluationGuard
from rebase_hf.task import Task

# As an index has it unless it is told otherwise.
BANK_ROWS = 1000
TARGET_SOURCES = 3.0
TARGET_JUNK = 1.0
# Held-out inputs that rows are compared with.
HELD_OUT = 300
RESAMPLES = 10_000


def main() -> None:
    """Measure, show and write the figures."""
    made = parser(__doc__)
    made.add_argument("--count", type=int, default=1000, help="rows taken of each list")
    made.add_argument("--bank-rows", type=int, default=BANK_ROWS, help="rows indexed of each of the bank's folders")
    made.add_argument("--tasks", nargs="+", default=[], help="only these tasks of the kit")
    options = made.parse_args()
    encoder = RememberingEncoder()
    index = bank_index(scratch_folder(), encoder, options.bank_rows)
    encoder.keep()
    published, categories = PublishedScores(index, encoder), source_categories(kit_folder() / "bank")
    lines = []
    for name in options.tasks or all_tasks():
        with quiet("rebase_hf"):
            lines.append(measure(kit_task(name), index, encoder, published, categories, options))
        print(lines[-1], flush=True)
        encoder.keep()
    report("retrieval", made, options, [*summary(lines, index), *lines])


def measure(
    task: Task,
    index: RowIndex,
    encoder: RememberingEncoder,
    published: PublishedScores,
    categories: Mapping[str, frozenset[str]],
    options: argparse.Namespace,
) -> Line:
    """Return what can be counted of both lists of a task."""
    held_out = task.evaluation_rows()
    guard = EvaluationGuard(task, held_out)
    held_vectors(index, guard)  # what the encoder takes is not part of the seconds
    drawn = np.random.default_rng(0).permutation(len(held_out))[:HELD_OUT]
    inputs = np.asarray(encoder.encode([task.input_text(held_out[i]) for i in drawn]))
    expected, found = published.top(task, options.count), {}
    for name, how in LISTS.items():
        taken = taken_list(task, index, guard, how, options.count)
        found[name] = {
            "rows": len(taken.rows),
            **spread_of(taken),
            **repeats_of(taken, encoder),
            **junk_of(taken),
            "same_cell": same_cell_of(taken),
            **{
                f"overlap_{kind}": count
                for kind, count in leaks_of(taken, index, guard, held_out, task.inputs).items()
            },
            **relatedness_of(taken, index, inputs, FAMILIES[task.name], categories),
            "as_published": len(set(expected) & set(taken.keys)),
            "seconds": taken.seconds,
        }
    shown = " | ".join(f"{name} {one['effective']:.1f} sources, {one['junk']:.1%} junk" for name, one in found.items())
    return Line(task.name, task.name, shown, details={"lists": _rounded(found), "test_rows": len(held_out)})


def _rounded(found: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {name: {key: round(value, 5) for key, value in one.items()} for name, one in found.items()}


def summary(lines: Sequence[Line], index: RowIndex) -> list[Line]:
    """Return what the issue asks for, over all tasks."""
    official, ours = ([line.details["lists"][name] for line in lines] for name in LISTS)
    ratios = np.asarray([b["effective"] / a["effective"] for a, b in zip(official, ours, strict=True)])
    reached = int((ratios >= TARGET_SOURCES).sum())
    overlapping = sum(one["overlap_guard"] + one["overlap_equal"] for one in ours)
    same, rows = sum(one["as_published"] for one in official), sum(one["rows"] for one in official)
    return [
        Line(
            "sources",
            "effective number of sources, ours by the official, geometric mean over tasks",
            **at_least(float(np.exp(np.log(ratios).mean())), TARGET_SOURCES, "times", digits=2),
            details={"tasks_reaching_it": reached, "tasks": len(lines)},
        ),
        Line(
            "junk",
            "rows found by a junk cell, ours, mean over tasks",
            **at_most(100 * float(np.mean([one["junk"] for one in ours])), TARGET_JUNK, "%"),
            details={"official": 100 * float(np.mean([one["junk"] for one in official]))},
        ),
        Line(
            "overlap", "rows that overlap the test rows, ours, all tasks", **at_most(overlapping, 0, "rows", digits=0)
        ),
        *(_related(key, what, official, ours) for key, what in RELATED.items()),
        Line(
            "as_published",
            "official rows that the formulas alone take too",
            **at_least(100 * same / rows, 99, "%", digits=2),
            details={"index_rows": len(index), "exhaustive": not index.approximate},
        ),
    ]


RELATED = {
    "family": "rows from datasets of the task's kind, ours less the official",
    "similarity": "cosine of held-out inputs with a row, ours less the official",
    "coverage": "cosine of held-out inputs with the nearest row, ours less the official",
}


def _related(key: str, what: str, official: Sequence[Mapping[str, Any]], ours: Sequence[Mapping[str, Any]]) -> Line:
    """Return a difference in the mean over tasks; it is lower where its interval leaves zero out."""
    apart = np.asarray([b[key] - a[key] for a, b in zip(official, ours, strict=True)])
    drawn = np.random.default_rng(0).choice(apart, (RESAMPLES, len(apart))).mean(axis=1)
    low, high = (float(edge) for edge in np.quantile(drawn, (0.025, 0.975)))
    return Line(
        key,
        what,
        f"{apart.mean():+.3f} ({low:+.3f} to {high:+.3f})",
        target="not lower",
        met=bool(apart.mean() >= 0),
        details={"mean": float(apart.mean()), "low": low, "high": high, "tasks_lower": int((apart < 0).sum())},
    )


if __name__ == "__main__":
    main()
