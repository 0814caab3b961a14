"""The classification student: SetFit on the task's labels."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rebase_hf.embedding_model import DEFAULT_MODEL
from rebase_hf.errors import StudentError, require
from rebase_hf.setfit_training import add_missing_labels, import_setfit, new_head, train_setfit
from rebase_hf.students.facts import training_facts
from rebase_hf.students.saving import HEAD, SavedStudent, begin_saving, finish_saving
from rebase_hf.students.student import Input, TrainingRow, check_inputs, evaluation_scores
from rebase_hf.task import Task
from rebase_hf.training_run import quiet_loading

if TYPE_CHECKING:
    from setfit import SetFitModel

BATCH_SIZE = 16
MAX_LENGTH = 128


class SetFitStudent:
    """A SetFit model that gives the task's labels.

    Attributes:
        model: The SetFitModel; its head's classes are numbers, places in the task's label order.
    """

    kind = "setfit"

    def __init__(self, task: Task, model: "SetFitModel", facts: Mapping[str, Any]) -> None:
        self.task = task
        self.model = model
        self.facts: Mapping[str, Any] = dict(facts)

    def predict(self, inputs: Sequence[Input]) -> list[str]:
        """Return the likeliest label of each input, in order."""
        names = list(self.task.labels)
        return [names[place] for place in self.predict_proba(inputs).argmax(axis=1)]

    def predict_proba(self, inputs: Sequence[Input]) -> np.ndarray:
        """Return the probability of each label for each input, shape (inputs, labels), in the task's label order."""
        texts = [self.task.input_text(row) for row in check_inputs(self.task, inputs)]
        probabilities = np.zeros((len(texts), len(self.task.labels)))
        if texts:
            # A head knows the labels it was trained on by their numbers: never by position.
            classes = np.asarray(self.model.model_head.classes_, dtype=int)
            probabilities[:, classes] = self.model.predict_proba(texts, as_numpy=True, show_progress_bar=False)
        return probabilities

    def evaluate(self, rows: Iterable[Any] | None = None) -> dict[str, float]:
        """Return the task's metrics on `rows`, by default on the task's evaluation rows."""
        return evaluation_scores(self, rows)

    def save(self, folder: str | Path) -> Path:
        """Write the student to a folder that `load_student` and plain `SetFitModel.from_pretrained` read."""
        path = begin_saving(folder)
        with quiet_loading():
            self.model.save_pretrained(path)
        # SetFit's card says nothing of where the data came from; `publish` writes the one that does.
        (path / "README.md").unlink(missing_ok=True)
        _write_head(path / HEAD, self.model.model_head, list(self.task.labels))
        return finish_saving(path, kind=self.kind, task=self.task, facts=self.facts)


def train_setfit_student(
    task: Task, rows: Sequence[TrainingRow], *, base_model: str | None, seed: int, max_pairs: int
) -> SetFitStudent:
    """Train a SetFit student on exactly `max_pairs` pairs of rows; a label without one is learnt from its phrase."""
    texts, labels = add_missing_labels(
        [task.input_text(row.fields) for row in rows], [row.fields[task.output] for row in rows], task.labels
    )
    model = train_setfit(
        texts,
        labels,
        label_names=list(task.labels),
        base_model=base_model,
        seed=seed,
        max_pairs=max_pairs,
        batch_size=BATCH_SIZE,
        max_length=MAX_LENGTH,
    )
    facts = training_facts(
        task,
        rows,
        base_model=base_model or DEFAULT_MODEL,
        seed=seed,
        settings={"method": "SetFit", "max_pairs": max_pairs, "batch_size": BATCH_SIZE, "max_length": MAX_LENGTH},
    )
    return SetFitStudent(task, model, facts)


def load_setfit_student(saved: SavedStudent) -> SetFitStudent:
    """Load a saved SetFit student without unpickling anything or running code from its folder."""
    setfit = import_setfit()
    from sentence_transformers import SentenceTransformer

    _refuse_foreign_modules(saved.folder)
    with quiet_loading():
        body = SentenceTransformer(str(saved.folder), model_kwargs={"use_safetensors": True})
    head = _read_head(saved.folder / HEAD, list(saved.task.labels))
    model = setfit.SetFitModel(model_body=body, model_head=head, labels=list(saved.task.labels))
    return SetFitStudent(saved.task, model, saved.facts)


def _write_head(file: Path, head: Any, labels: Sequence[str]) -> None:
    from safetensors.numpy import save_file

    classes = [labels[int(place)] for place in head.classes_]
    arrays = {"coef": np.ascontiguousarray(head.coef_), "intercept": np.ascontiguousarray(head.intercept_)}
    save_file(arrays, file, metadata={"classes": json.dumps(classes)})


def _read_head(file: Path, labels: Sequence[str]) -> Any:
    require("safetensors", what="A saved SetFit student", extra="setfit")
    from safetensors import SafetensorError, safe_open

    if not file.is_file():
        raise StudentError(f"{file} is missing, so the student has no classifier. Save or download it again.")
    try:
        with safe_open(file, framework="numpy") as stored:
            classes = json.loads((stored.metadata() or {}).get("classes", "[]"))
            coef, intercept = stored.get_tensor("coef"), stored.get_tensor("intercept")
    except (SafetensorError, ValueError) as error:
        raise StudentError(f"{file} can't be read: {error}. Save or download the student again.") from error
    if unknown := [name for name in classes if name not in labels]:
        raise StudentError(f"{file} knows the label `{unknown[0]}`, which is not in the task's: {', '.join(labels)}.")
    if len(coef) != len(intercept) or len(coef) != (1 if len(classes) == 2 else len(classes)):
        raise StudentError(f"{file} has {len(classes)} classes and {len(coef)} rows of coefficients; it is damaged.")
    head = new_head()
    head.classes_ = np.asarray([labels.index(name) for name in classes])
    head.coef_, head.intercept_, head.n_features_in_ = coef, intercept, coef.shape[1]
    return head


def _refuse_foreign_modules(folder: Path) -> None:
    """Refuse a body whose modules are not sentence-transformers' own: older versions import them from the folder."""
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    for module in modules:
        if not str(module.get("type", "")).startswith("sentence_transformers."):
            raise StudentError(
                f"{folder / 'modules.json'} asks for the module `{module.get('type')}`, which is not one of "
                "sentence-transformers' own; code that comes with a student is not run."
            )
