"""The passages of training rows: which a question may be given, and those of rows that come without."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from rebase_hf.index.row_index import RowIndex
from rebase_hf.quality.contamination import EvaluationGuard
from rebase_hf.students.candidate_pools import Asked
from rebase_hf.students.passages import Allowed, kept_apart, none_of, search_passages
from rebase_hf.students.reading import Reading
from rebase_hf.students.student import TrainingRow
from rebase_hf.task import Task


class Apart:
    """What no question may be given: what gives away the evaluation set, the row it stands in, its own rationales."""

    def __init__(self, task: Task, rows: Sequence[TrainingRow]) -> None:
        self._task = task
        self._guard = kept_apart(EvaluationGuard(task, task.evaluation_rows()))
        self._told: defaultdict[str, list[str]] = defaultdict(list)
        for row in rows:
            if row.rationale:
                self._told[task.input_text(row.fields)].append(row.rationale)

    def allowed(self, row: TrainingRow) -> Allowed:
        """Return which passages a row's question may be given."""
        own = max((row.fields[name] for name in self._task.inputs), key=len)
        return none_of(self._told[self._task.input_text(row.fields)], self._guard, question=own)


def completed_rows(
    task: Task, rows: Sequence[TrainingRow], index: RowIndex, reading: Reading, apart: Apart
) -> list[TrainingRow]:
    """Return rows of which those without passages got theirs: by their rationale, by the question where there is none.

    The task's own examples come without, and so do rows that are to be read with a knowledge store. Rows that are to
    be read without any (`passages` is empty) stay as they are.
    """
    completed = []
    for row in rows:
        if row.passages is None:
            query = rationale_query(task, row) or task.input_text(row.fields)
            found = search_passages(index, query, reading.candidates, apart.allowed(row))
            row = replace(row, passages=tuple(passage.text for passage in found[: reading.passages]))
        completed.append(row)
    return completed


def asked_of(task: Task, rows: Sequence[TrainingRow], apart: Apart) -> list[Asked]:
    """Return each question with each of its rationales, for a reranker to learn from."""
    return [
        Asked(task.input_text(row.fields), query, apart.allowed(row))
        for row in rows
        if (query := rationale_query(task, row))
    ]


def rationale_query(task: Task, row: TrainingRow) -> str | None:
    """Return a rationale with its answer, by which KARD finds passages in training; None where there is none."""
    return f"{row.rationale} {row.fields[task.output]}" if row.rationale else None
