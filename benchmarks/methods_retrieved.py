"""Retrieved rows as they are, for every classification task of the kit: for how many it yields enough, and what of it.

One index of the kit's bank serves all tasks; the task's own family is left out by the method. The method draws
nothing, so a seed decides only which four fifths of the rows are learnt from. Of longer test sets 300 rows are drawn.

generated    the student of the rows that came out
few          what the task file says: its examples and label phrases
gold         as many human-labelled rows, where the kit has any
majority     the retrieved rows' most frequent label
constant     the test rows\' most frequent label, which nobody knows: what is not above it has learnt nothing
"""

import tempfile
from pathlib import Path

from benchmarks.claims import Line, parser, report
from benchmarks.kit_data import bank_index, classification_tasks, has_gold, kit_task, shortened
from benchmarks.linear_student import RememberingEncoder, scratch_folder, text_vectors
from benchmarks.methods_students import SEEDS, Made, drawn, few_examples, line, majority, run_whole, students, told
from rebase_hf import RowIndex, Task

ENOUGH = 20
SHARE = 0.8
TEST_ROWS = 300
# Gold rows are drawn from so many: each text costs, of BoolQ's passages most of all.
GOLD_ROWS = 250
PAIRS = ("few", "gold", "constant")


def main() -> None:
    """Measure, show and write the figures."""
    made = parser(__doc__)
    made.add_argument("--examples", type=int, default=300, help="examples asked for of each run")
    made.add_argument("--tasks", nargs="+", default=[], help="only these tasks of the kit")
    options = made.parse_args()
    encoder = RememberingEncoder()
    index = bank_index(scratch_folder(), encoder)
    encoder.keep()
    lines, too_few = [], {}
    with tempfile.TemporaryDirectory(prefix="rebase-benchmark-") as folder:
        for name in options.tasks or classification_tasks():
            task = shortened(kit_task(name), Path(folder), TEST_ROWS)
            found = run_whole(task, index, "none", "retrieved", num_examples=options.examples, seed=0, options={})
            if len(found.rows) < ENOUGH or len({row[task.output] for row in found.rows}) < 2:
                too_few[name] = told([found])
            else:
                lines.append(measure(task, found, encoder))
                print(lines[-1], flush=True)
            encoder.keep()
    report("methods_retrieved", made, options, [summary(index, too_few, len(lines)), *lines])


def measure(task: Task, found: Made, encoder: RememberingEncoder) -> Line:
    """Train the students of one task."""
    features, held_out = text_vectors(encoder), task.evaluation_rows()
    count = max(1, round(SHARE * len(found.rows)))
    learnt = [drawn(found.rows, count, seed) for seed in range(SEEDS)]
    contenders = {
        "generated": students(task, features, held_out, learnt),
        "few": few_examples(task, features, held_out, SEEDS),
        "majority": majority(task, held_out, learnt),
    }
    gold = kit_task(task.name, train=True).train_rows()[:GOLD_ROWS] if has_gold(task.name) else []
    if len(gold) >= count:
        as_many = [drawn(gold, count, seed) for seed in range(SEEDS)]
        contenders["gold"] = students(task, features, held_out, as_many)
    return line("retrieved", task, held_out, contenders, PAIRS, runs=told([found]), sources=sources(found))


def sources(found: Made) -> dict[str, int]:
    """Return how many of the rows came from which dataset, most first."""
    names = [str(example.provenance["dataset"]) for example in found.examples]
    return {name: names.count(name) for name in sorted(set(names), key=lambda name: (-names.count(name), name))}


def summary(index: RowIndex, too_few: dict[str, object], enough: int) -> Line:
    """Return for how many tasks the method gives anything to learn from."""
    shown = f"{enough} of {enough + len(too_few)} tasks"
    what = f"retrieved: at least {ENOUGH} rows, of two labels, out of the bank's {len(index):,}"
    return Line("retrieved.enough", what, shown, details={"too_few": too_few, "rows": len(index)})


if __name__ == "__main__":
    main()
