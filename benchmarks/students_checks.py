"""The student with our checks on against the same student on the raw rows, on what language models once wrote.

Needs REBASE_KIT. A seed draws so many of a task's recorded rows. Rows that stand in the test set are in no arm: not
those that the kit marks (`in_eval`), nor those that the evaluation guard finds besides (`leaks`), as `train_student`
leaves them out. All arms get the same draw, so that they cost the same answers. The student is
`train_student(kind="linear")`: a frozen encoder and a linear head. That can't read which option stands under which
letter, so for questions with options a vector is what one option says less what the other says (`option_pairs.py`),
and all rows count the other way round too.

checked      the rows that the gate and the checks of the whole set leave (`checked_rows.all_checks`)
raw          all rows of the draw
random       as many of the raw rows as were left, drawn at random: what having fewer rows does
published    with the share of SynthesizRR's cartography, and labels cut to equal shares
constant     the test rows' most frequent label, which nobody knows: what is not above it has learnt nothing
"""

import argparse
import os
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.checked_rows import OFF, Checks, all_checks, published_checks
from benchmarks.checks_student import HeadStudent, OptionStudent, TextStudent
from benchmarks.claims import Line, parser, report
from benchmarks.kit_data import kit_task
from benchmarks.linear_student import RememberingEncoder, scratch_folder
from benchmarks.methods_students import best_constant, drawn
from benchmarks.paired_scores import Contender, compared
from benchmarks.recorded_rows import Recorded, drawn_rows, recorded_rows

ONE_PROMPT = (("teacher", "gpt-4"), ("condition", "cot"))
OPTIONS_TASKS = (
    "anthropic_corrigible_neutral_hhh",
    "anthropic_myopic_reward",
    "anthropic_one_box_tendency",
    "anthropic_self_awareness_text_model",
)
SOURCES = {
    "crowdflower_emotion": Recorded("worker_vs_gpt_crowdflower"),
    "hate_speech_da": Recorded("worker_vs_gpt_hate_speech_da"),
    "hypo_l": Recorded("worker_vs_gpt_hypo_l"),
    "question_intimacy": Recorded("worker_vs_gpt_question_intimacy"),
    "ten_dim": Recorded("worker_vs_gpt_ten_dim"),
    "strategyqa": Recorded("strategyqa_faithful_cot", ONE_PROMPT),
    "bbh_sports_understanding": Recorded("sports_faithful_cot", ONE_PROMPT),
    **{name: Recorded("anthropic_risk_lm", (("task", name),)) for name in OPTIONS_TASKS},
}
LEAKS_OUT = replace(OFF, guard_evaluation=True)
# A task is behind where its mean difference is below zero by more than this many standard errors.
ERRORS = 2.0


def main() -> None:
    """Measure, show and write the figures."""
    made = parser(__doc__)
    made.add_argument("--seeds", type=int, default=5)
    made.add_argument("--rows", type=int, default=800, help="recorded rows that a seed draws, or all there are")
    made.add_argument("--tasks", nargs="+", default=list(SOURCES), choices=list(SOURCES))
    options = made.parse_args()
    os.environ["REBASE_HOME"] = str(scratch_folder() / "home")
    encoder = RememberingEncoder()
    lines = []
    for name in options.tasks:
        lines.append(measure(name, encoder, options))
        print(lines[-1], flush=True)
        encoder.keep()
    report("students_checks", made, options, [*verdicts(lines), *lines])


def student_of(name: str, encoder: RememberingEncoder) -> HeadStudent:
    """Return what trains the students of a task."""
    task = kit_task(name)
    return OptionStudent(task, encoder) if name in OPTIONS_TASKS else TextStudent(task, encoder)


def measure(name: str, encoder: RememberingEncoder, options: argparse.Namespace) -> Line:
    """Train the students of one task, once a seed."""
    student = student_of(name, encoder)
    task, held_out = student.task, student.held_out
    pool, leaking = recorded_rows(task, SOURCES[name])
    pool = student.readable(pool)
    checks = Checks(task, held_out, encoder)
    rows: dict[str, list[Any]] = {"checked": [], "raw": [], "random": [], "published": []}
    dropped, leaks = Counter[str](), list[int]()
    for seed in range(options.seeds):
        drawn_now = checks(drawn_rows(pool, options.rows, seed), LEAKS_OUT, seed=seed)
        raw = drawn_now.rows
        leaks.append(len(pool[: options.rows]) - len(raw))
        checked = checks(raw, all_checks(task), seed=seed)
        dropped.update(checked.dropped)
        rows["checked"].append(checked.rows)
        rows["raw"].append(raw)
        rows["random"].append(drawn(raw, len(checked.rows), seed + 1))
        rows["published"].append(checks(raw, published_checks(task), seed=seed).rows)
    contenders = {
        who: Contender([len(one) for one in sets], [student.predictions(one, seed) for seed, one in enumerate(sets)])
        for who, sets in rows.items()
    }
    contenders["constant"] = best_constant(task, held_out, options.seeds)
    found = compared(task, held_out, contenders, ["raw", "random", "published", "constant"])
    means = {reason: round(count / options.seeds, 1) for reason, count in dropped.most_common()}
    about: dict[str, Any] = {"source": SOURCES[name].told, "pool": len(pool), "in_eval": leaking, "dropped": means}
    about["leaks"] = statistics.fmean(leaks)
    return Line(f"checks.{name}", f"checks, {name}", shown(found), details={**found, **about})


def shown(found: Mapping[str, Any]) -> str:
    """Return a task's figures as a reader wants them."""
    score, raw, apart = found["scores"]["checked"], found["scores"]["raw"], found["differences"]["raw"]
    return (
        f"{score['mean']:.3f} ± {score['std']:.3f} {found['metric']} from {score['rows']:.0f} of {raw['rows']:.0f} "
        f"rows, {apart['mean']:+.3f} ± {apart['error']:.3f} to raw"
    )


def verdicts(lines: Sequence[Line]) -> list[Line]:
    """Return whether the checks are of use on average, and whether they do harm anywhere."""
    found = {line.key.partition(".")[2]: line.details["differences"]["raw"] for line in lines}
    gaps = [apart["mean"] for apart in found.values()]
    mean, error = statistics.fmean(gaps), statistics.stdev(gaps) / len(gaps) ** 0.5 if len(gaps) > 1 else 0.0
    behind = [name for name, apart in found.items() if apart["mean"] < -ERRORS * apart["error"]]
    scores = [line.details["scores"] for line in lines]
    others = {
        who: statistics.fmean(one[who]["mean"] - one["raw"]["mean"] for one in scores)
        for who in ("random", "published")
    }
    told = f"{mean:+.4f} ± {error:.4f} over {len(gaps)} tasks"
    what = "checked less raw, mean over tasks (standard error over tasks)"
    which = ", ".join(behind) or "none"
    return [
        Line("average", what, told, "above 0", mean > 0, details=others),
        Line("behind", f"tasks behind raw by more than {ERRORS:g} standard errors", which, "none", not behind),
    ]


if __name__ == "__main__":
    main()
