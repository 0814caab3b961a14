"""What the methods' benchmarks share: a method run whole, what it made, and the students that learn from it.

Each of `methods_*.py` runs one method through a plan and a run as anybody would (index, retrieval, prompts, journal,
checks), and compares the student of its data with those of the baselines, over the same seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.asking import own_home, quiet
from benchmarks.claims import Line
from benchmarks.linear_student import Features, Rows, fit_and_predict, phrase_rows
from benchmarks.paired_scores import Contender, compared
from rebase_hf import Task
from rebase_hf.errors import NoExamplesError
from rebase_hf.index.row_index import RowIndex
from rebase_hf.outcomes import Tally
from rebase_hf.pipeline import Run
from rebase_hf.plan import make_plan
from rebase_hf.rows import Example

SEEDS = 5


@dataclass(frozen=True, slots=True)
class Made:
    """What a run made.

    Attributes:
        examples: Those that passed, in their order.
        tally: What became of all else.
    """

    examples: list[Example]
    tally: Tally

    @property
    def rows(self) -> list[dict[str, str]]:
        """The examples' fields."""
        return [dict(example.fields) for example in self.examples]


def run_whole(
    task: Task,
    index: RowIndex | None,
    teacher: str,
    method: str,
    *,
    num_examples: int,
    seed: int,
    options: Mapping[str, Any],
) -> Made:
    """Run a method as `generate` does, in a home of its own, so that no journal answers for the teacher."""
    with own_home(), quiet("rebase_hf"):
        run = Run(
            make_plan(task, index, teacher, method=method, num_examples=num_examples, seed=seed, options=dict(options))
        )
        try:
            examples = list(run.examples())
        except NoExamplesError:
            examples = []
        return Made(examples, run.tally())


def told(made: Sequence[Made]) -> dict[str, Any]:
    """Return what became of the outputs of several runs, in the mean."""
    return {
        part: _means([_counts(one.tally, part) for one in made])
        for part in ("asked", "examples", "dropped_before", "dropped", "quarantined")
    }


def _counts(tally: Tally, part: str) -> Mapping[str, float]:
    found = getattr(tally, part)
    return found if isinstance(found, Mapping) else {"": float(found)}


def _means(counts: Sequence[Mapping[str, float]]) -> Any:
    names = dict.fromkeys(name for one in counts for name in one)
    found = {name: round(float(np.mean([one.get(name, 0) for one in counts])), 1) for name in names}
    return found.get("", found) if set(names) <= {""} and names else found


def students(
    task: Task, features: Features, held_out: Rows, rows_of: Sequence[Rows], *, with_examples: bool = True
) -> Contender:
    """Train a student a seed, on these rows and the task's own examples, as `compare_students` does."""
    own = [dict(example) for example in task.examples] if with_examples else []
    given = [[*own, *rows] for rows in rows_of]
    return Contender([len(rows) for rows in rows_of], [fit_and_predict(task, features, g, held_out) for g in given])


def majority(task: Task, held_out: Rows, rows_of: Sequence[Rows]) -> Contender:
    """Answer always what is most frequent in the rows; of equals the first."""
    predictions = []
    for rows in rows_of:
        labels = [row[task.output] for row in rows]
        most = max(dict.fromkeys(labels), key=labels.count)
        predictions.append(np.full(len(held_out), list(task.labels).index(most)))
    return Contender([0] * len(rows_of), predictions)


def best_constant(task: Task, held_out: Rows, seeds: int) -> Contender:
    """Answer always the test rows' most frequent label, which nobody knows: what is below it has learnt nothing."""
    return majority(task, held_out, [held_out] * seeds)


def few_examples(task: Task, features: Features, held_out: Rows, seeds: int) -> Contender:
    """Train on all that the task file says: its examples and its labels' phrases. Nothing of it is drawn."""
    rows = phrase_rows(task)
    (prediction,) = students(task, features, held_out, [rows]).predictions
    return Contender([len(task.examples) + len(rows)] * seeds, [prediction] * seeds)


def line(
    key: str, task: Task, held_out: Rows, contenders: Mapping[str, Contender], pairs: Sequence[str], **details: Any
) -> Line:
    """Return one task's figures: the first contender's score, and how far it is from the others.

    Args:
        pairs: The contenders that it is compared with, the most telling first; those that there are not are left out.
    """
    contenders = {**contenders, "constant": best_constant(task, held_out, SEEDS)}
    found = compared(task, held_out, contenders, pairs)
    score = found["scores"][next(iter(contenders))]
    apart = found["differences"][pairs[0]]
    shown = (
        f"{score['mean']:.3f} ± {score['std']:.3f} {task.metric} from {score['rows']:.0f} rows, {apart['mean']:+.3f} "
        f"({apart['low']:+.3f} to {apart['high']:+.3f}) to {pairs[0]}"
    )
    return Line(f"{key}.{task.name}", f"{key}, {task.name}", shown, details={**found, **details})


def drawn(rows: Rows, count: int, seed: int) -> list[Mapping[str, str]]:
    """Return so many of the rows, drawn at random."""
    order = np.random.default_rng([seed, len(rows)]).permutation(len(rows))[:count]
    return [rows[place] for place in order.tolist()]
