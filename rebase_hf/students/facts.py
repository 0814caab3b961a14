"""The facts of a training, for `training.json` and the student's card."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rebase_hf.embedding_model import find_embedding_model, model_fingerprint
from rebase_hf.students.saving import library_versions
from rebase_hf.students.student import TrainingRow
from rebase_hf.task import Task


def training_facts(
    task: Task, rows: Sequence[TrainingRow], *, base_model: str, seed: int, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what a reader needs to know about how a student came to be, and to make it again.

    Args:
        settings: What this kind of training was set to: `method`, `max_pairs`, `learning_rate`, ...
    """
    sources = Counter(row.source for row in rows if row.source is not None)
    licenses = {row.source: row.license for row in rows if row.source is not None}
    facts: dict[str, Any] = {
        "task": task.name,
        **model_facts(base_model),
        "seed": seed,
        **settings,
        "train_rows": len(rows),
        "examples": sum(row.is_example for row in rows),
        "phrases": sum(row.is_phrase for row in rows),
        "sources": dict(sorted(sources.items())),
        "licenses": dict(sorted(licenses.items())),
        "versions": library_versions(),
    }
    if task.labels:
        counts = Counter(row.fields[task.output] for row in rows if not row.is_phrase)
        facts["labels"] = {label: counts[label] for label in task.labels}
    return facts


def model_facts(base_model: str) -> dict[str, Any]:
    """Return what a model is: its name, of a folder the last part alone, and its digest where it is here."""
    folder = Path(find_embedding_model(base_model))
    return {
        "base_model": folder.name if Path(base_model).is_dir() else base_model,
        "base_model_sha256": model_fingerprint(str(folder)) if folder.is_dir() else None,
    }
