"""A run folder: the dataset, its ledger and its report as files that `load_dataset(RUN)`, a person and `push` read."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rebase_hf.decisions import Decisions
from rebase_hf.errors import RebaseError
from rebase_hf.finished_set import FinishedSet, finish_set
from rebase_hf.outcomes import read_example
from rebase_hf.pipeline import Run, held_out
from rebase_hf.plan import dataset_features
from rebase_hf.task import Task
from rebase_hf.task_file import read_task_file


def prepare_run_folder(folder: Path, task: Task) -> None:
    """Make the folder and write the task; before anything is paid, so that an unwritable disk shows now.

    Raises:
        RebaseError: The folder can't be written, or holds another task's run.
    """
    try:
        (folder / "data").mkdir(parents=True, exist_ok=True)
        known = folder / "task.yaml"
        if known.is_file() and (held := read_task(folder).name) != task.name:
            raise RebaseError(f"{folder} holds a run of task `{held}`, not `{task.name}`. Give another --output.")
        write_atomically(known, _beside(task, folder).to_yaml())
    except OSError as error:
        raise RebaseError(f"Can't write to {folder}: {error}. Give another --output, or make room.") from error


def read_task(folder: Path) -> Task:
    """Return a run folder's task, for what needs no other rows than the folder's own.

    A file of rows that the task names and that is gone by now, as where a project was moved in part, is left out; who
    needs its rows loads the task with `Task.load(folder)`, which says what is missing.

    Raises:
        TaskError: The task file is missing or damaged.
    """
    content, _, find = read_task_file(folder / "task.yaml")
    for name in ("evaluation", "train"):
        if path := _path_of(content.get(name)):
            found = find(path).resolve()
            content[name] = {**content[name], "path": str(found)} if found.exists() else None
    return Task.load(content)


def _path_of(reference: Any) -> str | None:
    return reference.get("path") if isinstance(reference, Mapping) else None


def _beside(task: Task, folder: Path) -> Task:
    """Return a task whose files of rows are named as a run folder finds them: a project moves with all it holds."""
    moved = {
        name: replace(reference, path=os.path.relpath(reference.path, folder.resolve()))
        for name in ("evaluation", "train")
        if (reference := getattr(task, name)) is not None and reference.path is not None
    }
    return replace(task, **moved)


def whole_set(run: Run) -> FinishedSet:
    """Return a run's examples, checked as a whole."""
    return finish_set(run.plan, list(decided_records(run)))


def write_dataset(
    run: Run, folder: Path, *, num_validation: int = 0, whole: FinishedSet | None = None
) -> dict[str, int]:
    """Write the run's examples, its ledger and the rows they came from; return the number of rows by split."""
    from datasets import Dataset

    plan = run.plan
    features = dataset_features(plan)
    splits: dict[str, list[dict[str, Any]]] = {"train": []}
    if num_validation:
        splits["validation"] = []
    decided = list(decided_records(run))
    whole = whole or finish_set(plan, decided)
    with _replacing(folder / "rows.jsonl") as rows:
        kept = ((position, record) for position, record in decided if position in whole.kept)
        for place, (position, record) in enumerate(kept):
            split = "validation" if held_out(position, num_validation, plan.num_examples) else "train"
            splits[split].append(read_example(record).to_record())
            content = json.loads(record)
            line = {
                "position": place,
                "split": split,
                "source": content["sources"][0] if content["sources"] else None,
            }
            if "asked" in content:
                line["asked"] = content["asked"]
            rows.write(json.dumps(line | content.get("row", {}), ensure_ascii=False) + "\n")
    for stale in set((folder / "data").glob("*.parquet")) - {folder / "data" / f"{split}.parquet" for split in splits}:
        stale.unlink()
    _forget_other_run(folder, run.id)
    for split, records in splits.items():
        target = folder / "data" / f"{split}.parquet"
        columns = {name: [record[name] for record in records] for name in features}
        Dataset.from_dict(columns, features=features).to_parquet(str(target.with_suffix(".tmp")))
        os.replace(target.with_suffix(".tmp"), target)
    with _replacing(folder / "ledger.jsonl") as ledger:
        for entry in (*run.ledger(), *_left_out(whole)):
            ledger.write(json.dumps(entry, ensure_ascii=False) + "\n")
    return {split: len(records) for split, records in splits.items()}


def _left_out(whole: FinishedSet) -> Iterator[dict[str, Any]]:
    """Yield what the ledger says of examples that the whole-set checks took out."""
    for place, dropped in whole.checked.dropped.items():
        example = whole.examples[place]
        source = {"source": example.sources[0]} if example.sources else {}
        yield {"outcome": "dropped", **dropped.to_record(), **source, "fields": dict(example.fields)}


def _forget_other_run(folder: Path, run_id: str) -> None:
    """Take away the student and the pages of another run that the folder held: they would pass for this one's."""
    report = folder / "report.json"
    if not report.is_file() or read_report(folder).get("run_id") == run_id:
        return
    for name in ("student", "figures"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("README.md", "report.html", "report.json"):
        (folder / name).unlink(missing_ok=True)


def read_report(folder: Path) -> dict[str, Any]:
    """Return a run folder's `report.json`.

    Raises:
        RebaseError: There is none, or it can't be read.
    """
    path = folder / "report.json"
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RebaseError(
            f"{folder} is not a finished run folder ({error}). Make one with: rebase-hf generate TASK --output "
            f"{folder}"
        ) from error
    return report


def write_report_json(folder: Path, report: Mapping[str, Any]) -> None:
    """Write `report.json`, whole or not at all."""
    write_atomically(folder / "report.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(temporary, path)


class _replacing:  # noqa: N801 - used as a function
    """Open a text file for writing that takes its name only when it is whole."""

    def __init__(self, path: Path) -> None:
        self._path, self._temporary = path, path.with_name(f".{path.name}.tmp")

    def __enter__(self) -> Any:
        self._file = self._temporary.open("w", encoding="utf-8")
        return self._file

    def __exit__(self, kind: object, *_: object) -> None:
        self._file.close()
        if kind is None:
            os.replace(self._temporary, self._path)


def decided_records(run: Run) -> Iterator[tuple[int, str]]:
    """Yield the records that are decided, without asking for more."""
    decisions = Decisions.open(run.id)
    try:
        position = 0
        while found := decisions.examples(position):
            yield from found
            position = found[-1][0] + 1
    finally:
        decisions.close()
