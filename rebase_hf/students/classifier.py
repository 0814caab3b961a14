"""What students that give each label a probability have in common."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.students.student import Input, evaluation_scores
from rebase_hf.task import Task


class Classifier:
    """A student that answers with its likeliest label; a subclass says how likely each is."""

    kind: str
    task: Task
    facts: Any

    def predict_proba(self, inputs: Sequence[Input]) -> np.ndarray:
        """Return the probability of each label for each input, shape (inputs, labels), in the task's label order."""
        raise NotImplementedError

    def predict(self, inputs: Sequence[Input]) -> list[str]:
        """Return the likeliest label of each input, in order."""
        names = list(self.task.labels)
        return [names[place] for place in self.predict_proba(inputs).argmax(axis=1)]

    def evaluate(self, rows: Iterable[Any] | None = None) -> dict[str, float]:
        """Return the task's metrics on `rows`, by default on the task's evaluation rows."""
        return evaluation_scores(self, rows)

    def save(self, folder: str | Path, *, pickle: bool = True) -> Path:
        """Write the student to a folder, as `Student.save` says."""
        raise NotImplementedError
