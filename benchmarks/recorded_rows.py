"""What language models once wrote for tasks of the kit, as rows of the task: what a run without checks would hold."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyarrow import parquet

from benchmarks.kit_data import kit_folder
from rebase_hf.quality.checks import settle_label
from rebase_hf.task import Task

# Where a question is recorded without the words that its task puts around it.
_FORMS = {"sports_faithful_cot": 'Is the following sentence plausible? "{}."'}
_LABELS = {"sports_faithful_cot": {"True": "yes", "False": "no"}}


@dataclass(frozen=True, slots=True)
class Recorded:
    """Which recorded rows are a task's.

    Attributes:
        table: The table of the kit.
        wanted: What its columns must say; nothing takes all teachers.
    """

    table: str
    wanted: tuple[tuple[str, str], ...] = ()

    @property
    def told(self) -> str:
        """What they are, in words."""
        return ", ".join([f"`{self.table}`", *(value for _, value in self.wanted)])


def recorded_rows(task: Task, source: Recorded) -> tuple[list[dict[str, str]], int]:
    """Return the rows that have a text and a label of the task, and how many more are test rows (`in_eval`)."""
    rows, leaking = [], 0
    for row in _rows(source):
        fields = said_fields(task, source.table, row)
        if fields is None or fields[task.output] not in task.labels:
            continue
        leaking += bool(row["in_eval"])
        if not row["in_eval"]:
            rows.append(fields)
    return rows, leaking


def drawn_rows(rows: list[dict[str, str]], count: int, seed: int) -> list[dict[str, str]]:
    """Return so many rows, drawn at random, in the order drawn."""
    return [rows[place] for place in np.random.default_rng([seed, len(rows)]).permutation(len(rows))[:count].tolist()]


def _rows(source: Recorded) -> Iterator[dict[str, Any]]:
    for row in parquet.read_table(kit_folder() / "recorded" / f"{source.table}.parquet").to_pylist():
        if all(row[name] == value for name, value in source.wanted):
            yield row


def said_fields(task: Task, table: str, row: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the task's fields as a recorded row gives them, or None where it has no text or no output."""
    (name,) = task.inputs
    text = str(row.get("text") or row.get("question") or row.get("input") or "").strip()
    output = "" if row["output"] is None else str(row["output"]).strip()
    if not text or not output:
        return None
    return {
        name: _FORMS.get(table, "{}").format(text),
        task.output: settle_label(task, _LABELS.get(table, {}).get(output, output)),
    }
