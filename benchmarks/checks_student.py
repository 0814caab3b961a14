"""The students of the checks' benchmark: how rows become predictions of one task's held-out rows."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from benchmarks.asking import quiet
from benchmarks.linear_student import Array, RememberingEncoder, Rows, fit_and_predict
from benchmarks.option_pairs import mirrored, option_vectors, with_options
from rebase_hf.embedding_model import find_embedding_model, model_fingerprint
from rebase_hf.students.leaks import without_leaks
from rebase_hf.students.linear import LinearStudent
from rebase_hf.students.student import training_rows
from rebase_hf.students.training import train_student
from rebase_hf.students.vector_cache import cache_file, encode_once
from rebase_hf.task import Task


class HeadStudent(Protocol):
    """Trains students of one task.

    Attributes:
        held_out: The rows that they are asked about.
    """

    task: Task
    held_out: list[dict[str, str]]

    def readable(self, rows: Rows) -> list[dict[str, str]]:
        """Return the rows that such a student can learn from."""

    def predictions(self, rows: Rows, seed: int) -> Array:
        """Return the places, in the task's labels, of what a student that learnt from rows says."""


class TextStudent:
    """`train_student(kind="linear")`, whose vectors come from the benchmark's memory: they are the same encoder's."""

    def __init__(self, task: Task, encoder: RememberingEncoder) -> None:
        self.task, self._encoder = task, encoder
        self.held_out = task.evaluation_rows()
        self._file = cache_file(model_fingerprint(find_embedding_model(None)))

    def readable(self, rows: Rows) -> list[dict[str, str]]:
        """Return all rows."""
        return [dict(row) for row in rows]

    def predictions(self, rows: Rows, seed: int, *, phrases: bool = False) -> Array:
        """Train on the rows and the task's examples, and where asked for on the labels' phrases."""
        texts = [*map(self.task.input_text, (*self.task.examples, *rows)), *self.task.labels.values()]
        encode_once(self._file, texts, self._encoder.encode, self._encoder.dimension)
        with quiet("rebase_hf.students"):  # the rows that it leaves out as leaks are counted by the benchmark
            student = train_student(self.task, rows, kind="linear", seed=seed, include_phrases=phrases)
        if not isinstance(student, LinearStudent):
            raise TypeError(f"a linear student was asked for, and {type(student).__name__} came")
        vectors = self._encoder.encode([self.task.input_text(row) for row in self.held_out])
        return np.asarray(student.head.probabilities(vectors, list(self.task.labels)).argmax(axis=1))


class OptionStudent:
    """A linear head on what one option of a question says less what the other says."""

    def __init__(self, task: Task, encoder: RememberingEncoder) -> None:
        self.task, self._features = task, option_vectors(encoder)
        self.held_out = self.readable(task.evaluation_rows())

    def readable(self, rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
        """Return the rows that have two options."""
        return [dict(row) for row in with_options(self.task, rows)]

    def predictions(self, rows: Rows, seed: int) -> Array:
        """Train on the task's examples and the rows that give no held-out row away, and on all the other way round."""
        with quiet("rebase_hf.students"):
            kept, _ = without_leaks(self.task, training_rows(self.task, rows), self.held_out)
        known = [row.fields for row in kept]
        return fit_and_predict(self.task, self._features, mirrored(self.task, known), self.held_out)
