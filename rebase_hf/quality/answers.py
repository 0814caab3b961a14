"""When two answers to a task say the same."""

import re
import string
from decimal import Decimal

from rebase_hf.quality.checks import settle_label
from rebase_hf.task import Task

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
# `1,200`, `-3.50`, `$5`, `15 %`: a number alone, with what stands at it. A comma is a point where no thousands follow.
_THOUSANDS = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?"
_NUMBER = re.compile(rf"(?P<sign>[-+−]?) ?[$€£¥]? ?(?P<digits>{_THOUSANDS}|\d+(?:[.,]\d+)?) ?(?P<unit>[%€]?)\.?")


def same_answer(task: Task, first: str, second: str) -> bool:
    """Return whether two outputs of a task say the same.

    Labels in the task's spelling; numbers as numbers; all else by SQuAD's exact match: in lower case, without
    punctuation and articles. Free text of any length rarely says the same twice by that.

    Example:
        >>> task = Task.load({"name": "sums", "instruction": "Add.", "examples": [{"input": "1 + 1", "output": "2"}]})
        >>> same_answer(task, "1,200.0", "1200"), same_answer(task, "The sum.", "sum"), same_answer(task, "2", "-2")
        (True, True, False)
    """
    return answer_key(task, first) == answer_key(task, second)


def answer_key(task: Task, text: str) -> str:
    """Return what an output says, the same text for all that say the same."""
    if task.labels:
        return settle_label(task, text)
    if (number := _NUMBER.fullmatch(text.strip())) is not None:
        digits = number["digits"]
        value = Decimal(digits.replace(",", "" if re.fullmatch(_THOUSANDS, digits) else "."))
        sign = "-" if number["sign"] in ("-", "−") and value else ""
        return f"{sign}{value.normalize():f}{number['unit'].replace('€', '')}"
    return normalize_answer(text) or " ".join(text.split()).casefold()


def normalize_answer(text: str) -> str:
    """Return a text as SQuAD compares it (arXiv 1606.05250): lower case, no punctuation, articles or extra blanks."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())
