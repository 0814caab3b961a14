"""The few-shot teacher on the kit's bank: the student of the rows that it labels, against that of the few examples.

Needs REBASE_KIT. No language model is asked: SetFit, trained on the task's examples and label phrases, labels rows of
the bank as they are (`--teacher few-shot`), with the checks that `generate` applies to it. The task's own family is left
out of the bank. A seed is another teacher, and so other labels. The student is a linear head on the default encoder,
which stays as it is; two inputs are one text to it. Of longer test sets 600 rows are drawn. Answers, vectors and the
bank's index are kept under TMPDIR: a second run trains no teacher.

generated    the student of the task's examples and the labelled rows
few          the student of the task's examples alone; a label without one is learnt from its phrase
phrases      of the examples and all labels' phrases: all that the teacher has learnt from
gold         of the examples and as many human-labelled rows
majority     the labelled rows' most frequent label
constant     the test rows' most frequent label, which nobody knows: what is not above it has learnt nothing
"""

import os
import tempfile
from pathlib import Path

from benchmarks.asking import quiet
from benchmarks.claims import parser, report
from benchmarks.kit_data import bank_index, kit_task, shortened
from benchmarks.linear_student import RememberingEncoder, scratch_folder
from benchmarks.methods_students import SEEDS, Made
from rebase_hf import RowIndex, Task
from rebase_hf.errors import NoExamplesError
from rebase_hf.pipeline import Run
from rebase_hf.plan import make_plan

TASKS = ("clinc20_oos", "dbpedia14", "mnli", "boolq", "creak", "banking77", "crowdflower_emotion", "hypo_l")
TEST_ROWS = 600
GOLD_ROWS = 400
PAIRS = ("few", "phrases", "gold", "constant")
SHOWN_ROWS = 5


def main() -> None:
    """Measure, show and write the figures."""
    made = parser(__doc__)
    made.add_argument("--examples", type=int, default=100, help="examples asked for of each run")
    made.add_argument("--tasks", nargs="+", default=list(TASKS), help="tasks of the kit")
    options = made.parse_args()
    os.environ["REBASE_HOME"] = str(scratch_folder() / "home")
    encoder = RememberingEncoder()
    index = bank_index(scratch_folder(), encoder)
    lines = []
    with tempfile.TemporaryDirectory(prefix="rebase-benchmark-") as folder:
        for name in options.tasks:
            task = shortened(kit_task(name), Path(folder), TEST_ROWS)
            lines.append(measure(task, [run(task, index, options.examples, seed) for seed in range(SEEDS)], encoder))
            print(lines[-1], flush=True)
            encoder.keep()
    report("students_few_shot", made, options, [average(lines), *lines])


def run(task: Task, index: RowIndex, num_examples: int, seed: int) -> Made:
    """Generate as `generate --teacher few-shot` does; answers of an earlier run are not given anew."""
    with quiet("rebase_hf"):
        whole = Run(make_plan(task, index, "few-shot", num_examples=num_examples, seed=seed))
        try:
            examples = list(whole.examples())
        except NoExamplesError:
            examples = []
        return Made(examples, whole.tally())
