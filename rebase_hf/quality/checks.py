"""Small pure checks: an answer passes (None), or has a reason not to.

Each looks at one answer alone; `answer_checks.py` puts them together for a task, with those that its examples decide.
What depends on the answers accepted before (duplicates) is in `gate.py`.
"""

from collections.abc import Mapping

from rebase_hf.task import Task

Fields = Mapping[str, str]
Refusal = tuple[str, str]


def empty_field(task: Task, fields: Fields, rationale: str | None) -> Refusal | None:
    """Refuse an answer with a blank field."""
    blank = [name for name in task.fields if not fields[name].strip()]
    if task.reasons and not (rationale or "").strip():
        blank.append("rationale")
    return ("empty_field", f"{', '.join(blank)} is blank") if blank else None


def label_not_in_task(task: Task, fields: Fields, rationale: str | None) -> Refusal | None:
    """Refuse a label that is not one of the task's."""
    if not task.labels or fields[task.output] in task.labels:
        return None
    return ("label_not_in_task", f"`{fields[task.output]}` is not one of {', '.join(task.labels)}")


def answer_not_in_input(task: Task, fields: Fields, rationale: str | None) -> Refusal | None:
    """Refuse an extractive answer that stands in no input (38 % of ReBase's released SQuAD rows)."""
    if not task.extractive or any(fields[task.output] in fields[name] for name in task.inputs):
        return None
    return ("answer_not_in_input", f"`{fields[task.output]}` stands in none of {', '.join(task.inputs)}")


def rationale_without_reasoning(task: Task, fields: Fields, rationale: str | None) -> Refusal | None:
    """Refuse an answer whose rationale is nothing but the output again."""
    if rationale is not None and rationale.strip() == fields[task.output].strip():
        return ("rationale_without_reasoning", "the rationale only repeats the output")
    return None


def settle_label(task: Task, label: str) -> str:
    """Return the task's own spelling of a label that differs in case, blanks, quotes or a stop only."""
    if label in task.labels:
        return label
    same = [known for known in task.labels if _plain(known) == _plain(label)]
    return same[0] if len(same) == 1 else label


def _plain(label: str) -> str:
    return label.strip().strip("\"'`.").strip().casefold()
