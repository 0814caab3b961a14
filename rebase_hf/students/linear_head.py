"""A linear classifier on vectors: fitted by scikit-learn, kept as safetensors, run by NumPy."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.errors import StudentError, require
from rebase_hf.students.saving import HEAD
from rebase_hf.training_run import quiet_loading


@dataclass(frozen=True, slots=True)
class LinearHead:
    """A logistic regression.

    Attributes:
        classes: The labels that it knows, one a row of `coef`; of two labels, the second is what one row is about.
        coef: Shape (classes, width), or (1, width) for two classes.
        intercept: Shape (classes,), or (1,).
    """

    classes: tuple[str, ...]
    coef: np.ndarray
    intercept: np.ndarray

    @classmethod
    def of(cls, fitted: Any, labels: Sequence[str]) -> "LinearHead":
        """Return what a fitted `LogisticRegression` over the labels' numbers has learnt."""
        classes = tuple(labels[int(place)] for place in fitted.classes_)
        return cls(classes, np.ascontiguousarray(fitted.coef_), np.ascontiguousarray(fitted.intercept_))

    def fitted(self, labels: Sequence[str]) -> Any:
        """Return the `LogisticRegression` that plain SetFit runs, over the labels' numbers."""
        from rebase_hf.setfit_training import new_head

        head = new_head()
        head.classes_ = np.asarray([labels.index(name) for name in self.classes])
        head.coef_, head.intercept_, head.n_features_in_ = self.coef, self.intercept, self.coef.shape[1]
        return head

    def probabilities(self, vectors: np.ndarray, labels: Sequence[str]) -> np.ndarray:
        """Return the probability of each label for each vector, in the order of `labels`; 0 for one not known."""
        scores = vectors @ self.coef.T + self.intercept
        if len(self.classes) == 2:
            scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        probabilities = np.zeros((len(vectors), len(labels)))
        probabilities[:, [labels.index(name) for name in self.classes]] = shares / shares.sum(axis=1, keepdims=True)
        return probabilities


def write_head(folder: Path, head: LinearHead) -> None:
    """Write a head into a student's folder."""
    from safetensors.numpy import save_file

    arrays = {"coef": head.coef, "intercept": head.intercept}
    save_file(arrays, folder / HEAD, metadata={"classes": json.dumps(list(head.classes))})


def read_head(folder: Path, labels: Sequence[str]) -> LinearHead:
    """Read a head from a student's folder.

    Raises:
        StudentError: It is missing or damaged, or knows a label that the task does not.
    """
    require("safetensors", what="A saved classifier", extra="setfit")
    from safetensors import SafetensorError, safe_open

    file = folder / HEAD
    if not file.is_file():
        raise StudentError(f"{file} is missing, so the student has no classifier. Save or download it again.")
    try:
        with safe_open(file, framework="numpy") as stored:
            classes = tuple(json.loads((stored.metadata() or {}).get("classes", "[]")))
            coef, intercept = stored.get_tensor("coef"), stored.get_tensor("intercept")
    except (SafetensorError, ValueError) as error:
        raise StudentError(f"{file} can't be read: {error}. Save or download the student again.") from error
    if unknown := [name for name in classes if name not in labels]:
        raise StudentError(f"{file} knows the label `{unknown[0]}`, which is not in the task's: {', '.join(labels)}.")
    if len(coef) != len(intercept) or len(coef) != (1 if len(classes) == 2 else len(classes)):
        raise StudentError(f"{file} has {len(classes)} classes and {len(coef)} rows of coefficients; it is damaged.")
    return LinearHead(classes, coef, intercept)


def load_saved_body(folder: Path) -> Any:
    """Return the sentence-transformers model of a saved student, without unpickling anything or running its code.

    Raises:
        StudentError: Its files are missing or damaged, or ask for code of their own.
    """
    from safetensors import SafetensorError
    from sentence_transformers import SentenceTransformer

    refuse_foreign_modules(folder)
    try:
        with quiet_loading():
            return SentenceTransformer(str(folder), model_kwargs={"use_safetensors": True})
    except (OSError, ValueError, SafetensorError) as error:
        raise StudentError(
            f"{folder} holds no model that can be loaded: {' '.join(str(error).split())} The student is damaged; save "
            "or download it again."
        ) from error


def refuse_foreign_modules(folder: Path) -> None:
    """Refuse a body whose modules are not sentence-transformers' own: older versions import them from the folder.

    Raises:
        StudentError: It names another, or none.
    """
    try:
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudentError(
            f"{folder / 'modules.json'} can't be read: {error}. Save or download the student again."
        ) from error
    for module in modules if isinstance(modules, list) else [modules]:
        asked = module.get("type") if isinstance(module, dict) else module
        if not str(asked).startswith("sentence_transformers."):
            raise StudentError(
                f"{folder / 'modules.json'} asks for the module `{asked}`, which is not one of "
                "sentence-transformers' own; code that comes with a student is not run."
            )
