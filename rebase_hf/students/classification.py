"""The usual classification student: SetFit on the task's labels."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rebase_hf.embedding_model import DEFAULT_MODEL
from rebase_hf.setfit_training import add_missing_labels, import_setfit, train_setfit
from rebase_hf.students.base_models import check_sentence_encoder
from rebase_hf.students.classifier import Classifier
from rebase_hf.students.facts import training_facts
from rebase_hf.students.kind import StudentKind, check_number
from rebase_hf.students.linear_head import LinearHead, load_saved_body, read_head, write_head
from rebase_hf.students.saving import PICKLE, SavedStudent, saving
from rebase_hf.students.student import Input, TrainingRow, check_inputs
from rebase_hf.task import Task
from rebase_hf.training_run import quiet_loading

if TYPE_CHECKING:
    from setfit import SetFitModel


@dataclass(frozen=True, slots=True)
class SetFitOptions:
    """How a SetFit student is trained.

    Attributes:
        batch_size: Pairs of one step.
        max_length: Texts are cut after so many tokens.
    """

    batch_size: int = 16
    max_length: int = 128

    def __post_init__(self) -> None:
        check_number("batch_size", self.batch_size, 1, whole=True)
        check_number("max_length", self.max_length, 4, whole=True)


class SetFitStudent(Classifier):
    """A SetFit model that gives the task's labels.

    Attributes:
        model: The SetFitModel; its head's classes are numbers, places in the task's label order.
    """

    kind = "setfit"

    def __init__(self, task: Task, model: "SetFitModel", facts: Mapping[str, Any]) -> None:
        self.task = task
        self.model = model
        self.facts: Mapping[str, Any] = dict(facts)

    def predict_proba(self, inputs: Sequence[Input]) -> np.ndarray:
        """Return the probability of each label for each input, shape (inputs, labels), in the task's label order."""
        texts = [self.task.input_text(row) for row in check_inputs(self.task, inputs)]
        probabilities = np.zeros((len(texts), len(self.task.labels)))
        if texts:
            # A head knows the labels it was trained on by their numbers: never by position.
            classes = np.asarray(self.model.model_head.classes_, dtype=int)
            probabilities[:, classes] = self.model.predict_proba(texts, as_numpy=True, show_progress_bar=False)
        return probabilities

    def vectors(self, inputs: Sequence[Input]) -> np.ndarray:
        """Return what the body says of each input, shape (inputs, width): what the head reads."""
        texts = [self.task.input_text(row) for row in check_inputs(self.task, inputs)]
        return np.asarray(self.model.model_body.encode(texts, convert_to_numpy=True, show_progress_bar=False))

    def save(self, folder: str | Path, *, pickle: bool = True) -> Path:
        """Write the student to a folder that `load_student` and plain `SetFitModel.from_pretrained` read.

        Args:
            pickle: Write the head as SetFit does too; plain SetFit reads no other, `load_student` never reads it.
        """
        with saving(folder, kind=self.kind, task=self.task, facts=self.facts) as path:
            with quiet_loading():
                self.model.save_pretrained(path)
            # SetFit's card says nothing of where the data came from; `publish` writes the one that does.
            (path / "README.md").unlink(missing_ok=True)
            if not pickle:
                (path / PICKLE).unlink()
            write_head(path, LinearHead.of(self.model.model_head, list(self.task.labels)))
        return Path(folder)


def train_setfit_student(
    task: Task,
    rows: Sequence[TrainingRow],
    *,
    base_model: str | None,
    seed: int,
    max_pairs: int,
    options: SetFitOptions,
) -> SetFitStudent:
    """Train a SetFit student on exactly `max_pairs` pairs of rows; a label without one is learnt from its phrase."""
    texts, labels = add_missing_labels(
        [task.input_text(row.fields) for row in rows], [row.fields[task.output] for row in rows], task.labels
    )
    settings = {"max_pairs": max_pairs, **asdict(options)}
    model = train_setfit(texts, labels, label_names=list(task.labels), base_model=base_model, seed=seed, **settings)
    facts = training_facts(
        task, rows, base_model=base_model or DEFAULT_MODEL, seed=seed, settings={"method": "SetFit", **settings}
    )
    return SetFitStudent(task, model, facts)


def load_setfit_student(saved: SavedStudent) -> SetFitStudent:
    """Load a saved SetFit student without unpickling anything or running code from its folder."""
    setfit = import_setfit()
    labels = list(saved.task.labels)
    body = load_saved_body(saved.folder)
    head = read_head(saved.folder, labels).fitted(labels)
    model = setfit.SetFitModel(model_body=body, model_head=head, labels=labels)
    return SetFitStudent(saved.task, model, saved.facts)


KIND = StudentKind(
    name="setfit",
    does=("classification",),
    needs={"setfit": "setfit"},
    default_model=DEFAULT_MODEL,
    options=SetFitOptions,
    train=train_setfit_student,
    load=load_setfit_student,
    check=lambda base_model, options: check_sentence_encoder(base_model, static=False),
)
