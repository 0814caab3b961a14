"""The files of a run folder, read for those who publish it: one that is damaged is named, with what mends it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from rebase_hf.errors import PublishError, TaskError
from rebase_hf.task import Task

FILES = ("report.json", "task.yaml", "data/train.parquet")
# What cards and pages are made of, by the kind that it is; the first of them a report of every version has.
_NEEDED: Mapping[str, type] = {"examples": int, "method": str, "teacher": dict}
_KINDS: Mapping[str, type] = {
    **dict.fromkeys(("dropped", "dropped_before", "quarantined_reasons", "sources", "labels", "splits"), dict),
    **dict.fromkeys(("tokens", "seconds", "versions", "student", "baselines", "comparison", "evaluation"), dict),
    **dict.fromkeys(("index", "diversity", "scores", "method_options", "checks", "reading", "adaptive"), dict),
    **dict.fromkeys(("asked_for", "retrieved", "asked", "outputs", "quarantined"), int),
}
# What says of each row where it is from: without it no licence is known.
_COLUMNS = frozenset({"provenance", "sources"})


def read_run(path: Path) -> tuple[Mapping[str, Any], Task]:
    """Return the report and the task of a run folder whose dataset can be read.

    Raises:
        PublishError: It is no finished run, or one of its files is damaged.
    """
    missing = [name for name in FILES if not (path / name).is_file()]
    if missing:
        raise PublishError(
            f"{path} is not a finished run: it has no {', '.join(missing)}. "
            "Give the folder that `rebase-hf run` or `rebase-hf generate --output` wrote."
        )
    report = read_object(path / "report.json")
    _check_report(path / "report.json", report)
    with intact(path / "task.yaml"):
        task = Task.load(_without_files((path / "task.yaml").read_text(encoding="utf-8")))
    _check_columns(path / "data" / "train.parquet", task)
    return report, task


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object that a file of a run holds.

    Raises:
        PublishError: It holds none.
    """
    with intact(path):
        held = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(held, dict):
            raise ValueError(f"it holds no JSON object, but {json.dumps(held)[:40]}")
        return held


@contextmanager
def intact(path: Path) -> Iterator[None]:
    """Turn what is raised while a run's file is read into a line that names the file and what mends it."""
    try:
        yield
    except (OSError, ValueError, TypeError, LookupError, yaml.YAMLError, TaskError) as error:  # Arrow's: ValueErrors
        said = " ".join(str(error).split())[:200].rstrip(".")
        student = next((parent for parent in path.parents if parent.name == "student"), None)
        mend = "Run the command that made the folder again: what was answered is in the journal, and free."
        if student is not None:
            mend = f"Train the student again: rebase-hf train {student.parent}"
        raise PublishError(f"{path} can't be read: {said}. {mend}") from error


def _check_report(path: Path, report: Mapping[str, Any]) -> None:
    with intact(path):
        for name, kind in _NEEDED.items():
            if not isinstance(report.get(name), kind):
                raise ValueError(f"its `{name}` is {json.dumps(report.get(name))[:40]}; expected {_said(kind)}")
        for name, kind in _KINDS.items():
            if report.get(name) is not None and not isinstance(report[name], kind):
                raise ValueError(f"its `{name}` is {json.dumps(report[name])[:40]}; expected {_said(kind)}")


def _said(kind: type) -> str:
    return {int: "a number", str: "a text", dict: "an object"}[kind]


def _check_columns(path: Path, task: Task) -> None:
    import pyarrow.parquet as pq

    with intact(path):
        held = pq.read_schema(path).names
        if lacking := sorted({*task.inputs, task.output, *_COLUMNS} - set(held)):
            raise ValueError(f"it lacks the column `{lacking[0]}`; it has {', '.join(held)}")


def _without_files(text: str) -> dict[str, Any]:
    """Return a task file's content without the files of rows that it names: they may be gone by now."""
    content = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - as Task.load reads it
    if not isinstance(content, dict):
        raise TypeError("it holds no fields with values")
    for key in ("evaluation", "train"):
        if isinstance(content.get(key), str) or "path" in (content.get(key) or {}):
            del content[key]
    return content
