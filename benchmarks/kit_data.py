"""What the methods' benchmarks read of the public kit (`REBASE_KIT`): tasks, gold rows, recorded answers, the bank."""

import json
import os
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from benchmarks.asking import quiet
from rebase_hf.index.encoders import Encoder
from rebase_hf.index.row_index import RowIndex
from rebase_hf.labelled_rows import RowsReference
from rebase_hf.task import Task

# Rows of each of the bank's folders, spread evenly over it: all 47,163 would take most of the benchmark's time.
BANK_ROWS_PER_FOLDER = 200


def kit_folder() -> Path:
    """Return the kit's folder; leave where there is none, since nothing can be measured without recorded answers."""
    named = os.environ.get("REBASE_KIT")
    if not named or not Path(named, "recorded").is_dir():
        sys.exit(
            "REBASE_KIT names no folder with `recorded`, `tasks` and `bank` in it: the teachers' recorded answers."
        )
    return Path(named)


def kit_task(name: str, *, train: bool = False) -> Task:
    """Return a task of the kit.

    Args:
        train: Give it the kit's gold rows as its `train` rows.
    """
    folder = kit_folder() / "tasks" / name
    task = Task.load(folder)
    return replace(task, train=RowsReference(path=str(folder / "gold.parquet"))) if train else task


def all_tasks() -> list[str]:
    """Return the names of all tasks, in order."""
    return [path.parent.name for path in sorted((kit_folder() / "tasks").glob("*/task.yaml"))]


def classification_tasks() -> list[str]:
    """Return the names of the tasks that have labels, in order."""
    return [name for name in all_tasks() if kit_task(name).kind == "classification"]


def recorded(table: str, **wanted: str) -> Iterator[dict[str, Any]]:
    """Yield what was recorded, in the table's order, without rows that are also rows of an evaluation set.

    Args:
        wanted: What columns must say.
    """
    for row in parquet.read_table(kit_folder() / "recorded" / f"{table}.parquet").to_pylist():
        if not row["in_eval"] and all(row[name] == value for name, value in wanted.items()):
            yield row


def write_source(folder: Path, rows: Sequence[Mapping[str, str]], about: str, *, language: str) -> str:
    """Write rows as a folder that `load_dataset` reads, with its card; return its path."""
    folder.mkdir(parents=True)
    card = f"---\nlicense: mit\nlanguage: {language}\n---\n# {folder.name}\n\n{about}\n"
    (folder / "README.md").write_text(card)
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder)


def bank_index(folder: Path, encoder: Encoder, most: int = BANK_ROWS_PER_FOLDER) -> RowIndex:
    """Return the index of the kit's bank, with words; an unfinished or earlier one in `folder` is gone on with.

    Args:
        most: Rows taken of each of the bank's folders.
    """
    sources = sorted(str(path) for path in (kit_folder() / "bank").iterdir() if path.is_dir())
    path = folder / f"bank-index-{most}"
    with quiet("rebase_hf.index"):  # the encoder knows English; most of the bank's sources are
        # All that the kit holds may be used here; its own LICENSES.md says under which terms.
        return RowIndex.build(path, sources, encoder=encoder, licenses="any", max_rows_per_source=most)


def shortened(task: Task, folder: Path, rows: int) -> Task:
    """Return a task whose test rows are at most so many of its own, drawn at random, written to `folder`."""
    held = task.evaluation_rows()
    if len(held) <= rows:
        return task
    path = folder / f"{task.name}.jsonl"
    drawn = random.Random(0).sample(held, rows)
    path.write_text("".join(json.dumps(row) + "\n" for row in drawn))
    return replace(task, evaluation=RowsReference(path=str(path)))


def has_gold(name: str) -> bool:
    """Return whether the kit has labelled rows of a task beside its test rows."""
    return (kit_folder() / "tasks" / name / "gold.parquet").is_file()
