"""What a trained classifier finds hard in the rows that it was trained on: by row (cartography), and by source.

A student is trained for one epoch or a few, and a map of its training would need as many passes over all rows again.
So its encoder says once what it makes of each row, and a linear head on that is trained and watched instead
(`quality/learning.py`): six epochs in numpy, each row judged by a head that never saw it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from rebase_hf.quality.cartography import SHARE, Dynamics, Kept, Map, draw_map, keep_confident
from rebase_hf.quality.learning import training_dynamics
from rebase_hf.quality.mapped import FEWEST_MAPPED
from rebase_hf.students.json_files import write_json
from rebase_hf.students.row_columns import spread_rows
from rebase_hf.students.student import Input, Student, TrainingRow, training_rows

# One forward pass over as many rows is all that a map costs.
MAX_ROWS = 1000
NO_SOURCE = "(none)"
CARTOGRAPHY, PROVENANCE = "cartography.json", "provenance.json"
LEARNER = "a linear head on what the student's encoder says of the rows, each judged by a head that never saw it"


@runtime_checkable
class Encodes(Protocol):
    """A student that says of an input, as a vector, what its last layer reads."""

    def vectors(self, inputs: Sequence[Input]) -> np.ndarray:
        """Return a vector for each input, shape (inputs, width)."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """A map, as the files that `CartographyCallback` and `ProvenanceCallback` write.

    Attributes:
        cartography: What is said of each row.
        provenance: What is said of each source, epoch by epoch.
    """

    cartography: Mapping[str, Any]
    provenance: Mapping[str, Any]


def map_rows(student: Student, rows: Sequence[TrainingRow], *, seed: int = 0) -> Mapped | str:
    """Return the map of a student's rows; where there can be none, why, in one sentence."""
    task = student.task
    if not isinstance(student, Encodes) or not task.labels:
        return f"Rows are mapped for classifiers; a student of kind `{student.kind}` writes or marks its answers."
    sources = [row.source or NO_SOURCE for row in rows]
    chosen = spread_rows(sources, max(MAX_ROWS, len(set(sources))))
    labels = [rows[place].fields[task.output] for place in chosen]
    if len(chosen) < FEWEST_MAPPED or len(set(labels)) < 2:
        held = "one label" if len(set(labels)) == 1 else f"{len(set(labels))} labels"
        return (
            f"{len(chosen):,} rows of {held} are too few for a map: it takes {FEWEST_MAPPED}, of two labels or more."
        )
    vectors = student.vectors([{name: rows[place].fields[name] for name in task.inputs} for place in chosen])
    if vectors.ndim != 2:
        return "The student's last layer reads no vector of a row, so its rows are not mapped."
    dynamics = training_dynamics(vectors, labels, seed=seed)
    found = draw_map(dynamics)
    own = [[*task.labels].index(label) for label in labels]
    content = map_record(found, keep_confident(found, labels), own) | {"learner": LEARNER}
    told = {
        "column": "provenance.dataset",
        "rows": len(rows),
        "looked_at": len(chosen),
        "epochs": _by_source(dynamics, [sources[place] for place in chosen]),
        "learner": LEARNER,
    }
    return Mapped(content, told)


def write_map(student: Student, dataset: Any, folder: Path, *, seed: int = 0) -> dict[str, Any]:
    """Map the rows of a dataset beside the student that was trained on them, and return what the report says of it.

    Where there can be no map, one of another training that lies there is taken away.
    """
    rows = training_rows(student.task, dataset, include_examples=False)
    mapped = map_rows(student, rows, seed=seed)
    for name in (CARTOGRAPHY, PROVENANCE):
        (folder / name).unlink(missing_ok=True)
    if isinstance(mapped, str):
        return {"left_out": mapped}
    write_json(folder / CARTOGRAPHY, mapped.cartography)
    write_json(folder / PROVENANCE, mapped.provenance)
    return {"rows": len(rows), "looked_at": len(mapped.cartography["rows"])}


def map_record(found: Map, kept: Kept, labels: Sequence[int], share: float = SHARE) -> dict[str, Any]:
    """Return what `cartography.json` says of a map.

    Args:
        labels: The number of each row's label.
        share: Which share of each label's rows stays.
    """
    columns = ("confidence", "variability", "correctness")
    return {
        "epochs": found.epochs,
        "share": share,
        "kept": int(kept.mask.sum()),
        "rows": [
            {name: round(float(getattr(found, name)[row]), 6) for name in columns}
            | {"label": label, "kept": bool(kept.mask[row])}
            for row, label in enumerate(labels)
        ],
    }


def _by_source(dynamics: Dynamics, sources: Sequence[str]) -> list[dict[str, Any]]:
    """Return rows, mean loss and accuracy of each source, epoch by epoch."""
    of_row = np.asarray(sources)
    loss = -np.log(np.maximum(dynamics.gold, np.finfo(np.float64).tiny))
    return [
        {
            "epoch": epoch + 1,
            "sources": {
                source: {
                    "rows": count,
                    "loss": float(loss[epoch, of_row == source].mean()),
                    "accuracy": float(dynamics.correct[epoch, of_row == source].mean()),
                }
                for source, count in sorted(Counter(sources).items())
            },
        }
        for epoch in range(len(dynamics.gold))
    ]
