"""No student is trained on what it will be scored by."""

import logging
from collections.abc import Callable, Mapping, Sequence

from rebase_hf.errors import StudentError
from rebase_hf.quality.contamination import EvaluationGuard
from rebase_hf.quality.duplicates import NearDuplicates, shared_shingles
from rebase_hf.students.student import TrainingRow
from rebase_hf.task import Task

logger = logging.getLogger(__name__)


def without_leaks(
    task: Task, rows: Sequence[TrainingRow], held_out: Sequence[Mapping[str, str]], *, what: str = "training rows"
) -> tuple[list[TrainingRow], int]:
    """Return the rows that give away none of the held-out rows, and how many did.

    Datasets that `generate` made have none such; a user's own rows may.

    Args:
        held_out: Rows to score by; where there are none, all rows are kept.
        what: What the rows are, for the log.

    Raises:
        StudentError: No row would be left.
    """
    gives_away = leak_test(task, held_out)
    kept = [row for row in rows if not gives_away(row.fields)]
    leaks = len(rows) - len(kept)
    if rows and not kept:
        raise StudentError(
            f"Task `{task.name}`: every one of the {len(rows)} {what} stands in the evaluation set, so there is "
            "nothing to train on that the student could be scored by. Name other rows under `evaluation`."
        )
    if leaks:
        logger.warning(
            "Task `%s`: %d of %d %s overlap the evaluation set; they are left out.", task.name, leaks, len(rows), what
        )
    return kept, leaks


def leak_test(task: Task, held_out: Sequence[Mapping[str, str]]) -> Callable[[Mapping[str, str]], bool]:
    """Return what tells whether a row, with or without its output, gives away one of the held-out rows.

    It does when its input is that row's, whatever case and punctuation, shares 13 words in a row with it or nearly
    repeats it; see EvaluationGuard.
    """
    guard = EvaluationGuard(task, held_out)
    if not guard:
        return lambda row: False
    form = frozenset[str]().union(*(shared_shingles(e[name] for e in task.examples) for name in task.inputs))
    repeated = NearDuplicates(form=form)
    for text in guard.texts:
        repeated.add(text)
    return lambda row: _gives_away(task, guard, repeated, row)


def _gives_away(task: Task, guard: EvaluationGuard, repeated: NearDuplicates, row: Mapping[str, str]) -> bool:
    text = task.input_text(row)
    parts = dict.fromkeys([text, *(row[name] for name in task.inputs)])
    if task.kind == "generation" and task.output in row:
        parts[row[task.output]] = None
    return guard.equals(text) or any(
        guard.overlap(part) is not None or repeated.find(part) is not None for part in parts
    )
