"""What a student's training showed of its rows: what `rebase-hf train` wrote, or callbacks of a user's own Trainer.

`ProvenanceCallback` and `CartographyCallback` write into their Trainer's output folder; a run has what they found
where that was `RUN/student`, or the run itself.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rebase_hf.errors import PublishError
from rebase_hf.public_text import public_name
from rebase_hf.students.learning_map import CARTOGRAPHY as CARTOGRAPHY
from rebase_hf.students.learning_map import PROVENANCE as PROVENANCE

if TYPE_CHECKING:
    from rebase_hf.quality.cartography import Map


@dataclass(frozen=True, slots=True)
class SourceLearning:
    """How a student did on the rows of one source dataset, after the first epoch and after the last."""

    name: str
    rows: int
    first_loss: float
    loss: float
    first_accuracy: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Learning:
    """How a student did by source, epoch by epoch.

    Attributes:
        sources: The hardest first: the highest loss after the last epoch.
        looked_at: How many rows were looked at, of `rows`.
        learner: What was watched, where it was not the student itself.
    """

    sources: tuple[SourceLearning, ...]
    epochs: int
    rows: int
    looked_at: int
    learner: str | None = None


@dataclass(frozen=True, slots=True)
class LearningMap:
    """A map of the training rows (dataset cartography).

    Attributes:
        points: Confidence, variability and correctness of each row.
        kept: Whether the callback would keep each.
        learner: What was watched, where it was not the student itself.
    """

    points: "Map"
    kept: tuple[bool, ...]
    learner: str | None = None

    @property
    def rows(self) -> int:
        """How many rows are on it."""
        return len(self.kept)

    @property
    def never(self) -> int:
        """How many rows the student got right in no epoch."""
        return int((self.points.correctness == 0).sum())

    @property
    def always(self) -> int:
        """How many rows the student got right in every epoch."""
        return int((self.points.correctness == 1).sum())


def learning_by_source(run: Path) -> Learning | None:
    """Return how a run's student did by source, or None where nobody watched.

    Raises:
        PublishError: What was written is damaged.
    """
    file, content = _written(run, PROVENANCE)
    if content is None:
        return None
    try:
        first, last = content["epochs"][0]["sources"], content["epochs"][-1]["sources"]
        sources = [
            SourceLearning(
                public_name(name),
                int(told["rows"]),
                float(first[name]["loss"]),
                float(told["loss"]),
                float(first[name]["accuracy"]),
                float(told["accuracy"]),
            )
            for name, told in last.items()
        ]
        rows, looked_at, epochs = int(content["rows"]), int(content["looked_at"]), len(content["epochs"])
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(file, error) from error
    ordered = sorted(sources, key=lambda source: (-source.loss, source.name))
    return Learning(tuple(ordered), epochs, rows, looked_at, _learner(content))


def learning_map(run: Path) -> LearningMap | None:
    """Return the map of a run's training rows, or None where nobody drew it.

    Raises:
        PublishError: What was written is damaged.
    """
    file, content = _written(run, CARTOGRAPHY)
    if content is None:
        return None
    import numpy as np

    from rebase_hf.quality.cartography import Map

    try:
        rows = content["rows"]
        sure, varied, right = (
            np.asarray([row[name] for row in rows], dtype=np.float64)
            for name in ("confidence", "variability", "correctness")
        )
        points = Map(sure, varied, right, int(content["epochs"]))
        return LearningMap(points, tuple(bool(row["kept"]) for row in rows), _learner(content))
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(file, error) from error


def _learner(content: Mapping[str, Any]) -> str | None:
    return str(content["learner"]) if content.get("learner") else None


def _written(run: Path, name: str) -> tuple[Path, Mapping[str, Any] | None]:
    file = next((path for path in (run / "student" / name, run / name) if path.is_file()), run / name)
    if not file.is_file():
        return file, None
    try:
        return file, json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> PublishError:
    said = " ".join(str(error).split()) or type(error).__name__
    return PublishError(
        f"{file} is not as its callback writes it ({said}). Train again with it, or take the file away."
    )
