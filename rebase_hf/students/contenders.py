"""What stands in a comparison: the student, and others on equal terms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rebase_hf.students.kind import StudentKind
from rebase_hf.students.leaks import without_leaks
from rebase_hf.students.student import TrainingRow, example_row, training_rows
from rebase_hf.students.training import phrases_for
from rebase_hf.task import Task


@dataclass(frozen=True, slots=True)
class Contender:
    """What one student is trained on, and how."""

    rows: Sequence[TrainingRow]
    options: Any


def contenders_of(
    task: Task,
    dataset: Sequence[TrainingRow],
    held_out: Sequence[Mapping[str, str]],
    kind: StudentKind,
    options: Mapping[str, Any],
    *,
    include_phrases: bool,
) -> tuple[dict[str, Contender], dict[str, int]]:
    """Return what each student is trained on, and how many rows of it were left out as leaks."""
    given = {"student": dataset, "few_examples": [example_row(task, example) for example in task.examples]}
    if gold := task.train_rows():
        given["gold_rows"] = training_rows(task, gold)
    contenders, leaks = {}, {}
    for name, rows in given.items():
        kept, leaks[name] = without_leaks(task, rows, held_out, what=f"rows of `{name}`")
        contenders[name] = Contender(kept, _options_for(name, kept, kind, options))
    few = contenders["few_examples"]
    if kind.name == "grounded":
        return _reasoning_only(task, contenders), leaks
    if phrases := phrases_for(task, kind):
        if include_phrases:
            with_phrases = {
                n: replace(c, rows=[*c.rows, *phrases]) for n, c in contenders.items() if n != "few_examples"
            }
            contenders |= with_phrases
        contenders["examples_and_phrases"] = replace(few, rows=[*few.rows, *phrases])
    return contenders, leaks


def _options_for(name: str, rows: Sequence[TrainingRow], kind: StudentKind, options: Mapping[str, Any]) -> Any:
    """Return the options, for others than the student without the one on rationales where their rows have none."""
    if name == "student" or any(row.rationale for row in rows):
        return kind.read_options(options)
    return kind.read_options({name: value for name, value in options.items() if name != "rationales"})


def _reasoning_only(task: Task, contenders: Mapping[str, Contender]) -> dict[str, Contender]:
    """Return the contenders of a student that reads: it, the same without passages, and others, which read none."""
    student = contenders["student"]
    without = replace(student.options, knowledge=False)
    reads = student.options.knowledge and any(row.passages for row in student.rows)
    told = replace(without, reasoning=task.reasons)
    return {
        "student": student,
        **({"reasoning_only": replace(student, options=without)} if reads else {}),
        **{name: replace(one, options=told) for name, one in contenders.items() if name != "student"},
    }


def drawn_gold(gold: Sequence[TrainingRow], student: Sequence[TrainingRow], seed: int) -> list[TrainingRow]:
    """Return what the task file says, and as many of its labelled rows as the student has others, or all there are."""
    of_task = [row for row in gold if row.is_example or row.is_phrase]
    others = [row for row in gold if not (row.is_example or row.is_phrase)]
    wanted = sum(not (row.is_example or row.is_phrase) for row in student)
    drawn = np.random.default_rng(seed).permutation(len(others))[:wanted]
    return [*of_task, *(others[place] for place in sorted(drawn.tolist()))]
