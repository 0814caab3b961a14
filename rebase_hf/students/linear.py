"""The linear student: a frozen sentence encoder and a logistic regression on its vectors; the smallest choice.

With static embeddings (a table of word vectors) it trains and answers in milliseconds. The encoder is not trained, so
texts are encoded once and never again (`vector_cache.py`), whatever seeds, rows or settings change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.embedding_model import DEFAULT_MODEL, find_embedding_model, model_fingerprint
from rebase_hf.index.text_batches import Vectors, encode_distinct
from rebase_hf.index.torch_batches import encode_with
from rebase_hf.setfit_training import add_missing_labels, load_body, new_head
from rebase_hf.students.base_models import check_sentence_encoder
from rebase_hf.students.classifier import Classifier
from rebase_hf.students.facts import training_facts
from rebase_hf.students.json_files import write_json
from rebase_hf.students.kind import StudentKind, check_number
from rebase_hf.students.linear_head import LinearHead, load_saved_body, read_head, write_head
from rebase_hf.students.saving import PICKLE, SavedStudent, saving
from rebase_hf.students.student import Input, TrainingRow, check_inputs
from rebase_hf.students.vector_cache import cache_file, encode_once
from rebase_hf.task import Task
from rebase_hf.training_run import quiet_loading, training_run

STATIC_PREFIX = "static:"


@dataclass(frozen=True, slots=True)
class LinearOptions:
    """How a linear student is trained.

    Attributes:
        C: Inverse strength of the penalty on its weights, as scikit-learn has it, for vectors of unit length.
    """

    C: float = 3.0

    def __post_init__(self) -> None:
        check_number("C", self.C, 1e-6)


class LinearStudent(Classifier):
    """A frozen sentence encoder with a linear classifier."""

    kind = "linear"

    def __init__(self, task: Task, body: Any, head: LinearHead, facts: Mapping[str, Any]) -> None:
        self.task = task
        self.body = body
        self.head = head
        self.facts: Mapping[str, Any] = dict(facts)

    def predict_proba(self, inputs: Sequence[Input]) -> np.ndarray:
        """Return the probability of each label for each input, shape (inputs, labels), in the task's label order."""
        return self.head.probabilities(self.vectors(inputs), list(self.task.labels))

    def vectors(self, inputs: Sequence[Input]) -> np.ndarray:
        """Return what the frozen encoder says of each input, shape (inputs, width): what the classifier reads."""
        return _encode(self.body, [self.task.input_text(row) for row in check_inputs(self.task, inputs)])

    def save(self, folder: str | Path, *, pickle: bool = True) -> Path:
        """Write the student to a folder that `load_student` and plain `SetFitModel.from_pretrained` read.

        Args:
            pickle: Write the head as SetFit does too; plain SetFit reads no other, `load_student` never reads it.
        """
        labels = list(self.task.labels)
        with saving(folder, kind=self.kind, task=self.task, facts=self.facts) as path:
            with quiet_loading():
                self.body.save(str(path), create_model_card=False)
            write_head(path, self.head)
            write_json(path / "config_setfit.json", {"normalize_embeddings": True, "labels": labels})
            if pickle:
                import joblib

                joblib.dump(self.head.fitted(labels), path / PICKLE)
        return Path(folder)


def train_linear_student(
    task: Task,
    rows: Sequence[TrainingRow],
    *,
    base_model: str | None,
    seed: int,
    max_pairs: int,
    options: LinearOptions,
) -> LinearStudent:
    """Fit a linear classifier on every row; a label without one is learnt from its phrase.

    Nothing is drawn: `seed` and `max_pairs` change nothing.

    Args:
        base_model: A sentence-transformers model, one of static embeddings too (`static:` before it may stand or not).
    """
    name = (base_model or DEFAULT_MODEL).removeprefix(STATIC_PREFIX)
    texts, labels = add_missing_labels(
        [task.input_text(row.fields) for row in rows], [row.fields[task.output] for row in rows], task.labels
    )
    names = list(task.labels)
    with training_run(seed):
        body = load_body(name)
        vectors = _encode_once(body, name, texts)
        fitted = new_head()
        fitted.C = options.C
        fitted.fit(vectors, [names.index(label) for label in labels])
    settings = {"method": "linear classifier on a frozen encoder", "C": options.C, "max_pairs": None}
    facts = training_facts(task, rows, base_model=name, seed=seed, settings=settings)
    return LinearStudent(task, body, LinearHead.of(fitted, names), facts)


def load_linear_student(saved: SavedStudent) -> LinearStudent:
    """Load a saved linear student without unpickling anything or running code from its folder."""
    body = load_saved_body(saved.folder)
    return LinearStudent(saved.task, body, read_head(saved.folder, list(saved.task.labels)), saved.facts)


def _encode_once(body: Any, name: str, texts: Sequence[str]) -> Vectors:
    """Return the texts' vectors, kept for the next time where the encoder is here as files and so has a name."""
    folder = find_embedding_model(name)
    if not Path(folder).is_dir():
        return _encode(body, texts)
    file = cache_file(model_fingerprint(folder))
    return encode_once(file, texts, lambda some: _encode(body, some), _dimension(body))


def _encode(body: Any, texts: Sequence[str]) -> Vectors:
    width = _dimension(body)
    return encode_distinct(texts, lambda some: encode_with(body, some, width), width)


def _dimension(body: Any) -> int:
    # Named so from sentence-transformers 5.x on; the old name warns.
    measure = getattr(body, "get_embedding_dimension", None)
    return int((measure or body.get_sentence_embedding_dimension)())


KIND = StudentKind(
    name="linear",
    does=("classification",),
    needs={"sentence_transformers": "encoders"},
    default_model=DEFAULT_MODEL,
    options=LinearOptions,
    train=train_linear_student,
    load=load_linear_student,
    check=lambda base_model, options: check_sentence_encoder(base_model.removeprefix(STATIC_PREFIX), static=True),
)
