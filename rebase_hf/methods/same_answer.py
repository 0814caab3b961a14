"""When two answers to a task's question are the same."""

import re
from decimal import Decimal

from rebase_hf.quality.checks import settle_label
from rebase_hf.quality.duplicates import normalise
from rebase_hf.task import Task

_NUMBER = re.compile(r"[$€£¥]?\s*([+-]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?)\s*\.?")


def same_answer(task: Task, one: str, other: str) -> bool:
    """Return whether two answers are the same: as labels, as numbers, or but for case, punctuation and blanks.

    Example:
        >>> task = Task.load({"name": "sums", "instruction": "Add.", "examples": [{"input": "1+1", "output": "2"}]})
        >>> same_answer(task, "1,200.0", "1200"), same_answer(task, "-3", "3"), same_answer(task, "Mud.", "mud")
        (True, False, True)
    """
    if task.labels:
        return settle_label(task, one) == settle_label(task, other)
    numbers = _number(one), _number(other)
    if numbers[0] is not None and numbers[1] is not None:
        return numbers[0] == numbers[1]
    said = normalise(one), normalise(other)
    return said[0] == said[1] if any(said) else one.strip() == other.strip()


def _number(text: str) -> Decimal | None:
    match = _NUMBER.fullmatch(text.strip())
    return Decimal(match[1].replace(",", "")) if match and any(c.isdigit() for c in match[1]) else None
