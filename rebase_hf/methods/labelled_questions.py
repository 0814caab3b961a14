"""The labelled questions of a task: which may be asked about, and which are held back to decide something by."""

import random
from collections.abc import Mapping, Sequence

from rebase_hf.quality.checks import Refusal
from rebase_hf.quality.contamination import EvaluationGuard
from rebase_hf.task import Task

Fields = Mapping[str, str]


def labelled_questions(task: Task) -> list[Fields]:
    """Return the task's `train` rows, else its examples, without their rationales."""
    return [*task.train_rows()] or [{name: example[name] for name in task.fields} for example in task.examples]


def longest_input(task: Task, fields: Fields) -> str:
    """Return a question's longest input: a row that holds it is where the question comes from.

    A task's other inputs (options, a title) say less, and the same for many questions.
    """
    return max((fields[name] for name in task.inputs), key=len)


def question_refusal(task: Task, guard: EvaluationGuard, fields: Fields) -> Refusal | None:
    """Return why a question is not asked about: the gate would refuse its examples once they are paid for."""
    if blank := [name for name in task.fields if not fields[name].strip()]:
        return "empty_field", f"{', '.join(blank)} is blank"
    text = task.input_text(fields)
    parts = [text, *(fields[name] for name in task.inputs)]
    if task.kind == "generation":
        parts.append(fields[task.output])
    if guard.equals(text):
        return "in_evaluation_set", f"the question is an evaluation question: {text[:200]}"
    shared = next((found for part in dict.fromkeys(parts) if (found := guard.overlap(part)) is not None), None)
    return None if shared is None else ("in_evaluation_set", f"the question shares with an evaluation text: {shared}")


def development_questions(task: Task, questions: Sequence[Fields], size: int, seed: int) -> list[Fields]:
    """Return `size` of the questions, in their order, drawn by the seed; at most half of them, each input once."""
    different = list({task.input_text(fields): fields for fields in questions}.values())
    drawn = random.Random(seed).sample(range(len(different)), min(size, len(different) // 2))
    return [different[i] for i in sorted(drawn)]
