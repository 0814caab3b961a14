"""A trained student as the model that a run consults (SuperContext; `methods/consulting.py`)."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from rebase_hf.embedding_model import model_fingerprint
from rebase_hf.errors import StudentError
from rebase_hf.students.replacing import MANIFEST
from rebase_hf.students.saving import read_saved
from rebase_hf.students.training import load_student
from rebase_hf.task import Task


@dataclass(frozen=True, slots=True)
class ConsultedStudent:
    """A student that says which label an input has and how sure it is; loaded when it is first asked, in any process.

    Attributes:
        name: Its task and a digest of how it was trained and of its weights; no path.
        task: What it was trained for.
    """

    folder: str
    name: str
    task: Task

    def __call__(self, inputs: Sequence[Mapping[str, str]]) -> list[tuple[str, float]]:
        """Return the likeliest label of each input, and its probability."""
        student = _loaded(self.folder)
        labels = list(student.task.labels)
        return [(labels[int(row.argmax())], float(row.max())) for row in student.predict_proba(inputs)]


def consult_student(run_or_folder: str | Path, revision: str | None = None) -> ConsultedStudent:
    """Return the student of a run folder, a student's folder or a Hub id, to be consulted.

    Raises:
        StudentError: There is no student, or it gives no labels.
    """
    path = Path(run_or_folder)
    saved = read_saved(path / "student" if (path / "student" / MANIFEST).is_file() else run_or_folder, revision)
    if not saved.task.labels:
        raise StudentError(
            f"Student {run_or_folder} is for task `{saved.task.name}`, which has no labels; only a student that gives "
            "labels can be consulted."
        )
    digest = hashlib.sha256(json.dumps(saved.facts, sort_keys=True).encode())
    digest.update(model_fingerprint(str(saved.folder.resolve())).encode())
    return ConsultedStudent(str(saved.folder.resolve()), f"{saved.task.name}@{digest.hexdigest()[:16]}", saved.task)


@lru_cache(maxsize=2)
def _loaded(folder: str) -> Any:
    student = load_student(folder)
    if not hasattr(student, "predict_proba"):
        raise StudentError(
            f"Student {folder} is of kind `{student.kind}`, which does not say how sure it is. Consult another."
        )
    return student
