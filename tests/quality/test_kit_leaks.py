"""Every overlap that the kit's README counts is found; needs the kit, a folder that REBASE_KIT names."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rebase_hf.quality.contamination import EvaluationGuard
from rebase_hf.quality.evaluation_sets import read_evaluation_sets
from rebase_hf.task import Task

KIT = Path(os.environ.get("REBASE_KIT", ""))
pytestmark = pytest.mark.skipif("REBASE_KIT" not in os.environ, reason="REBASE_KIT does not name the kit's folder")
COUNTED = re.compile(r"`(\w+)` in `(\w+)` (\d+)")


def leaks() -> list[tuple[str, str, int]]:
    """Return what the README counts: task, bank folder, evaluation rows."""
    (line,) = (line for line in (KIT / "README.md").read_text().split("\n") if line.startswith("- Leaks:"))
    return [(task, folder, int(count)) for task, folder, count in COUNTED.findall(line)]


def plain(text: str) -> str:
    """Return a text without case, punctuation and blanks, by other means than the guard's."""
    return " ".join("".join(sign if sign.isalnum() else " " for sign in text.casefold()).split())


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts(part)


def units(folder: str) -> dict[str, str]:
    """Return the fields and sentences of a bank folder's rows, normalised, each with the field that it stands in."""
    from pyarrow import parquet

    found: dict[str, str] = {}
    for path in sorted((KIT / "bank" / folder).rglob("*.parquet")):
        for row in parquet.read_table(path).to_pylist():
            for text in texts(row):
                for part in (text, *re.split(r"(?<=[.!?])\s+|[\n\"]+", text)):
                    if len(unit := plain(part)) >= 20:
                        found.setdefault(unit, text)
    return found


def test_every_overlap_that_the_kit_counts_is_found():
    guards: dict[str, EvaluationGuard] = {}
    missed = []
    counted = leaks()
    assert len(counted) >= 11 and ("xquad_en", "xquad_r", 150) in counted
    for name, folder, count in counted:
        task = Task.load(KIT / "tasks" / name)
        rows = task.evaluation_rows()
        guard = guards.setdefault(name, EvaluationGuard(task, rows))
        held = units(folder)
        overlapping = [
            (row, field) for row in rows if (field := next((held[u] for u in asked(task, row) if u in held), None))
        ]
        assert len(overlapping) >= count, f"{name} in {folder}: this test's own count is {len(overlapping)} of {count}"
        for row, field in overlapping:
            if guard.overlap(field) is None or EvaluationGuard(task, [row]).overlap(field) is None:
                missed.append((name, folder, task.input_text(row)[:80]))
    assert missed == []


def asked(task: Task, row: dict[str, str]) -> list[str]:
    return [unit for name in task.inputs if len(unit := plain(row[name])) >= 20]


def test_a_set_named_by_its_path_guards_as_the_task_s_own_does():
    """Another task's evaluation rows are named as a set; what the bank holds of them is found without that task."""
    other, name, folder = Task.load(KIT / "tasks" / "gsm8k"), "xquad_en", "xquad_r"
    (path,) = (KIT / "tasks" / name).glob("eval.*")
    guard = EvaluationGuard(other, [], read_evaluation_sets([str(path)]))
    held = units(folder)
    rows = Task.load(KIT / "tasks" / name).evaluation_rows()
    found = [held[unit] for row in rows if (unit := plain(row["question"])) in held and len(unit) >= 20]
    assert len(found) >= 100
    assert [field for field in found if guard.overlap(field) is None] == []


def test_every_recorded_row_that_equals_an_evaluation_row_is_found():
    """All but formulas whose brackets or operators differ, which the kit counts as equal and which are other texts."""
    from pyarrow import parquet

    told_apart, flagged = [], 0
    guards: dict[str, EvaluationGuard] = {}
    for path in sorted((KIT / "recorded").glob("*.parquet")):
        for row in parquet.read_table(path).to_pylist():
            if not row["in_eval"]:
                continue
            name = row["task"]
            if name not in guards:
                task = Task.load(KIT / "tasks" / name)
                guards[name] = EvaluationGuard(task, task.evaluation_rows())
            given = [text for field in ("question", "input", "text") if isinstance(text := row.get(field), str)]
            if any(guards[name].equals(text) or guards[name].overlap(text) for text in given):
                flagged += 1
            else:
                told_apart.append((name, *given))
    assert flagged > 15_000
    assert {name for name, *_ in told_apart} <= {"bbh_boolean_expressions"}
    assert len(told_apart) <= 50 and all("(" in text for _, text in told_apart)


def test_evaluation_texts_that_two_tasks_share_are_found():
    one, other = (Task.load(KIT / "tasks" / name) for name in ("clinc150", "clinc20_oos"))
    guard = EvaluationGuard(other, other.evaluation_rows())
    assert sum(guard.equals(row["text"]) for row in one.evaluation_rows()) >= 246
