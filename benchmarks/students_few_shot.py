"""The few-shot teacher on the kit's bank: the student of the rows that it labels, against that of the few examples.

Needs REBASE_KIT. No language model is asked: SetFit, trained on the task's examples and label phrases, labels rows of
the bank as they are (`--teacher few-shot`), with the checks that `generate` applies to it. The task's own family is
left out of the bank. Training a teacher is nearly all of the time, so seeds take turns with `--teachers` of them, and
each seed learns from another four fifths of the rows. The student is `train_student(kind="linear")`: a frozen encoder
and a linear head; two inputs are one text to it. Of longer test sets 600 rows are drawn. Answers, vectors and the
bank's index are kept under TMPDIR: a second run trains no teacher.

generated    the student of the task's examples, its labels' phrases and the labelled rows (`include_phrases`)
rows_alone   the same without the phrases (`include_phrases=False`)
few          the student of the task's examples alone; a label without one is learnt from its phrase
phrases      of the examples and all labels' phrases: all that the teacher has learnt from
gold         of the examples, the phrases and as many human-labelled rows
majority     the labelled rows' most frequent label
constant     the test rows' most frequent label, which nobody knows: what is not above it has learnt nothing
"""

import argparse
import os
import random
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.asking import quiet
from benchmarks.checks_student import TextStudent
from benchmarks.claims import Line, parser, report
from benchmarks.kit_data import bank_index, has_gold, kit_task, shortened
from benchmarks.linear_student import RememberingEncoder, scratch_folder
from benchmarks.methods_students import SEEDS, Made, drawn, line, majority, told
from benchmarks.paired_scores import Contender
from rebase_hf import RowIndex, Task
from rebase_hf.errors import NoExamplesError
from rebase_hf.pipeline import Run
from rebase_hf.plan import make_plan

TASKS = ("clinc20_oos", "dbpedia14", "mnli", "boolq", "creak", "banking77", "crowdflower_emotion", "hypo_l")
TEST_ROWS = 600
# Gold rows are drawn from so many: each text costs, of BoolQ's passages most of all.
GOLD_ROWS = 200
SHARE = 0.8
PAIRS = ("few", "phrases", "rows_alone", "gold", "constant")
SHOWN_ROWS = 3
SHOWN_CHARS = 100


def main() -> None:
    """Measure, show and write the figures."""
    made = parser(__doc__)
    made.add_argument("--examples", type=int, default=100, help="examples asked for of each run")
    made.add_argument("--teachers", type=int, default=1, help="teachers trained for a task, each of another seed")
    made.add_argument("--tasks", nargs="+", default=list(TASKS), help="tasks of the kit")
    options = made.parse_args()
    os.environ["REBASE_HOME"] = str(scratch_folder() / "home")
    encoder = RememberingEncoder()
    index = bank_index(scratch_folder(), encoder)
    lines = []
    with tempfile.TemporaryDirectory(prefix="rebase-benchmark-") as folder:
        for name in options.tasks:
            task = shortened(kit_task(name), Path(folder), TEST_ROWS)
            lines.append(measure(task, index, encoder, options))
            print(lines[-1], flush=True)
            encoder.keep()
    report("students_few_shot", made, options, [average(lines), *lines])


def measure(task: Task, index: RowIndex, encoder: RememberingEncoder, options: argparse.Namespace) -> Line:
    """Train the teachers and the students of one task."""
    runs = [run(task, index, options.examples, seed) for seed in range(options.teachers)]
    made = [runs[seed % len(runs)].rows for seed in range(SEEDS)]
    learnt = [drawn(rows, round(SHARE * len(rows)), seed) for seed, rows in enumerate(made)]
    student, held_out = TextStudent(task, encoder), task.evaluation_rows()

    def of(sets: Sequence[Sequence[Mapping[str, str]]], *, phrases: bool) -> Contender:
        said = [student.predictions(rows, seed, phrases=phrases) for seed, rows in enumerate(sets)]
        # Where nothing is drawn one student stands for those of all seeds.
        return Contender([len(rows) for rows in sets], said if len(said) == SEEDS else said * SEEDS)

    contenders = {
        "generated": of(learnt, phrases=True),
        "rows_alone": of(learnt, phrases=False),
        "few": of([[]], phrases=False),
        "phrases": of([[]], phrases=True),
        "majority": majority(task, held_out, learnt),
    }
    if has_gold(task.name):
        gold = kit_task(task.name, train=True).train_rows()[:GOLD_ROWS]
        contenders["gold"] = of([drawn(gold, len(rows), seed) for seed, rows in enumerate(learnt)], phrases=True)
    about = {"sources": sources(runs), "shown": samples(task, runs[0])}
    return line("few_shot", task, held_out, contenders, PAIRS, runs=told(runs), **about)


def run(task: Task, index: RowIndex, num_examples: int, seed: int) -> Made:
    """Generate as `generate --teacher few-shot` does; answers of an earlier run are not given anew."""
    with quiet("rebase_hf"):
        whole = Run(make_plan(task, index, "few-shot", num_examples=num_examples, seed=seed))
        try:
            examples = list(whole.examples())
        except NoExamplesError:
            examples = []
        return Made(examples, whole.tally())


def sources(runs: Sequence[Made]) -> dict[str, int]:
    """Return how many of the rows came from which dataset, most first."""
    names = [str(example.provenance["dataset"]) for one in runs for example in one.examples]
    return {name: names.count(name) for name in sorted(set(names), key=lambda name: (-names.count(name), name))}


def samples(task: Task, made: Made) -> list[dict[str, str]]:
    """Return a few rows as they came out, drawn at random, so that a reader can see what was learnt from."""
    few = random.Random(0).sample(made.rows, min(SHOWN_ROWS, len(made.rows)))
    return [{name: " ".join(row[name].split())[:SHOWN_CHARS] for name in task.fields} for row in few]


def average(lines: Sequence[Line]) -> Line:
    """Return how far the students of the rows are above those without, on average over tasks."""
    scores = [line.details["scores"] for line in lines]
    told = []
    gaps: dict[str, dict[str, float]] = {}
    for who, other in (("generated", "few"), ("generated", "phrases"), ("rows_alone", "few")):
        found = [one[who]["mean"] - one[other]["mean"] for one in scores]
        error = statistics.stdev(found) / len(found) ** 0.5 if len(found) > 1 else 0.0
        gaps[f"{who} less {other}"] = {"mean": statistics.fmean(found), "error": error}
        told.append(f"{who} less {other} {statistics.fmean(found):+.3f} ± {error:.3f}")
    what = f"few-shot teacher: mean over {len(lines)} tasks (standard error over tasks)"
    return Line("few_shot_average", what, ", ".join(told), details=gaps)


if __name__ == "__main__":
    main()
