"""Each check alone, and settings of it, on rows that no reported figure is made with: what settings were chosen by.

Needs REBASE_KIT. As `students_checks.py`, but with other seeds, and scored on human training rows of the tasks
(`gold`) in place of their test rows; the same linear head is fitted without a student around it. Tasks without gold
rows are left out.
"""

import argparse
import statistics
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from benchmarks.checked_rows import OFF, Checks, all_checks, published_checks
from benchmarks.claims import Line, parser, report
from benchmarks.kit_data import has_gold, kit_task
from benchmarks.linear_student import RememberingEncoder, Rows, fit_and_predict, text_vectors
from benchmarks.paired_scores import metric_values
from benchmarks.recorded_rows import drawn_rows, recorded_rows
from benchmarks.students_checks import SOURCES
from rebase_hf.quality.check_options import CheckOptions
from rebase_hf.quality.repeats import SEMANTIC
from rebase_hf.students.linear import LinearOptions
from rebase_hf.task import Task

FIRST_SEED = 100
TASKS = ("crowdflower_emotion", "hate_speech_da", "hypo_l", "question_intimacy", "ten_dim", "strategyqa")


def main() -> None:
    """Measure, show and write the figures."""
    made = parser(__doc__)
    made.add_argument("--seeds", type=int, default=5)
    made.add_argument("--rows", type=int, default=800)
    made.add_argument("--gold", type=int, default=1000, help="human rows of a task that are asked about")
    made.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    options = made.parse_args()
    encoder = RememberingEncoder()
    gaps = {}
    for name in options.tasks:
        gaps[name] = gaps_of(kit_task(name, train=has_gold(name)), name, encoder, options)
        encoder.keep()
    lines = [setting_line(setting, gaps) for setting in next(iter(gaps.values()))]
    report("students_development", made, options, lines)


def settings(task: Task) -> dict[str, CheckOptions]:
    """Return what is compared with the raw rows; all but the last two are one check alone."""
    alone = {
        "near duplicates from 0.6": replace(OFF, near_duplicates=0.6),
        f"semantic duplicates from {SEMANTIC:g}": replace(OFF, semantic_duplicates=SEMANTIC),
        "semantic duplicates from 0.85": replace(OFF, semantic_duplicates=0.85),
        "no label above 1.5 equal shares": replace(OFF, label_share=1.5 / len(task.labels)),
        "labels cut to equal shares": replace(OFF, balance=True),
        **{f"cartography, share {share:g}": replace(OFF, cartography=share) for share in (0.83, 0.95)},
        **{
            f"contradicted by odds of {odds:g}": replace(OFF, contradicted_odds=odds) for odds in (2.0, 3.0, 5.0, 10.0)
        },
    }
    both = {"all, by odds": all_checks(task), "all, as published": published_checks(task)}
    near = {"similar_to_evaluation": None}
    return alone | {name: replace(one, **near) for name, one in both.items()}


def gaps_of(
    task: Task, name: str, encoder: RememberingEncoder, options: argparse.Namespace
) -> dict[str, list[tuple[float, float]]]:
    """Return for each setting and seed how far it is above the raw rows, and the share of rows that it leaves."""
    gold = task.train_rows()
    held_out = [gold[row] for row in np.random.default_rng(7).permutation(len(gold))[: options.gold].tolist()]
    pool, _ = recorded_rows(task, SOURCES[name])
    checks = Checks(task, held_out, encoder)
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in range(FIRST_SEED, FIRST_SEED + options.seeds):
        raw = checks(drawn_rows(pool, options.rows, seed), replace(OFF, guard_evaluation=True), seed=seed).rows
        own = scored(task, encoder, raw, held_out)
        for setting, one in settings(task).items():
            left = checks(raw, one, seed=seed).rows
            gap = scored(task, encoder, left, held_out) - own
            found.setdefault(setting, []).append((gap, len(left) / len(raw)))
    return found


def scored(task: Task, encoder: RememberingEncoder, rows: Rows, held_out: Rows) -> float:
    """Return the task's metric of a student of the rows and the task's examples."""
    names = list(task.labels)
    learnt = [*task.examples, *rows]
    said = fit_and_predict(task, text_vectors(encoder), learnt, held_out, strength=LinearOptions().C)
    expected = np.asarray([names.index(row[task.output]) for row in held_out])
    return float(metric_values(task.metric, expected, said, np.ones((1, len(expected))), len(names))[0])


def setting_line(setting: str, gaps: Mapping[str, Mapping[str, list[tuple[float, float]]]]) -> Line:
    """Return how far a setting is above the raw rows, on average over tasks, and where it is worst."""
    by_task = {}
    for name, found in gaps.items():
        own = [gap for gap, _ in found[setting]]
        error = statistics.stdev(own) / len(own) ** 0.5
        left = statistics.fmean(share for _, share in found[setting])
        by_task[name] = {"mean": round(statistics.fmean(own), 4), "error": round(error, 4), "left": round(left, 3)}
    mean = statistics.fmean(one["mean"] for one in by_task.values())
    left = statistics.fmean(one["left"] for one in by_task.values())
    worst = min(by_task, key=lambda name: by_task[name]["mean"])
    told = by_task[worst]
    shown = f"{mean:+.4f}, worst {told['mean']:+.4f} ± {told['error']:.4f} ({worst}), {left:.0%} of the rows left"
    return Line(f"development.{setting}", setting, shown, details={"mean": round(mean, 4), "tasks": by_task})


if __name__ == "__main__":
    main()
