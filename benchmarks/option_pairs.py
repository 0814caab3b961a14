"""Questions with two options, for a linear student: how one option differs from the other.

The label of such a row is a letter, and which option stands under which letter is chance. In the vector of the whole
text that can't be told apart linearly; in the difference of "question and option A" and "question and option B" it
can. Every row also counts the other way round, so that the letters themselves say nothing.
"""

import re
from collections.abc import Mapping

import numpy as np

from benchmarks.linear_student import Array, Features, Rows
from rebase_hf.index.encoders import Encoder
from rebase_hf.task import Task

_OPTIONS = re.compile(r"(.*)\(A\)(.*?)\(B\)(.*)", re.DOTALL)


def split_options(text: str) -> tuple[str, str, str] | None:
    """Return a question without its last two options, and these; None where there are none."""
    found = _OPTIONS.fullmatch(text)
    return None if found is None else (found[1].strip(), found[2].strip(), found[3].strip())


def with_options(task: Task, rows: Rows) -> list[Mapping[str, str]]:
    """Return the rows whose one input has two options."""
    return [row for row in rows if split_options(row[task.inputs[0]]) is not None]


def mirrored(task: Task, rows: Rows) -> list[dict[str, str]]:
    """Return rows, and each with its options and its label exchanged."""
    field, (first, second) = task.inputs[0], tuple(task.labels)
    found = []
    for row in rows:
        question, one, other = _parts(row[field])
        label = row[task.output]
        found.append({field: _joined(question, one, other), task.output: label})
        turned = second if label == first else first
        found.append({field: _joined(question, other, one), task.output: turned})
    return found


def option_vectors(encoder: Encoder) -> Features:
    """Return what makes a row a vector: its question with the first option, less its question with the second."""

    def vectors(task: Task, rows: Rows) -> Array:
        parts = [_parts(row[task.inputs[0]]) for row in rows]
        first = np.asarray(encoder.encode([f"{question} {one}" for question, one, _ in parts]))
        return first - np.asarray(encoder.encode([f"{question} {other}" for question, _, other in parts]))

    return vectors


def _parts(text: str) -> tuple[str, str, str]:
    found = split_options(text)
    if found is None:
        raise ValueError(f"no options (A) and (B) in `{text[:80]}`")
    return found


def _joined(question: str, one: str, other: str) -> str:
    return f"{question}\n (A) {one}\n (B) {other}"
