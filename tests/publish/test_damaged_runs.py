"""A run folder that is damaged: the file is named, and what mends it, whoever reads it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from rebase_hf.errors import PublishError
from rebase_hf.publish.cards import render_dataset_card, render_student_card
from rebase_hf.publish.hub import push_dataset, push_student
from rebase_hf.publish.report import write_report

Damage = Callable[[Path], object]
AGAIN, TRAIN = "Run the command that made the folder again", "Train the student again: rebase-hf train"


def report_with(**changes: object) -> Damage:
    def damage(run: Path) -> None:
        held = json.loads((run / "report.json").read_text())
        (run / "report.json").write_text(json.dumps(held | changes))

    return damage


def cut(name: str, bytes_left: int) -> Damage:
    return lambda run: (run / name).write_bytes((run / name).read_bytes()[:bytes_left])


def written(name: str, content: bytes) -> Damage:
    return lambda run: (run / name).write_bytes(content)


def without_column(run: Path) -> None:
    path = run / "data" / "train.parquet"
    pq.write_table(pq.read_table(path).drop(["provenance"]), path)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (shutil.rmtree, "is not a finished run: it has no report.json, task.yaml, data/train.parquet"),
        (lambda run: (run / "report.json").unlink(), "it has no report.json"),
        (written("report.json", b"[]"), rf"report\.json can't be read: it holds no JSON object, but \[\]\. {AGAIN}"),
        (written("report.json", b"{}"), "report.json can't be read: its `examples` is null; expected a number"),
        (written("report.json", b"\xff\xfe"), "report.json can't be read: 'utf-8' codec"),
        (cut("report.json", 300), "report.json can't be read: Expecting value"),
        (report_with(teacher="x"), 'its `teacher` is "x"; expected an object'),
        (report_with(dropped=[1]), r"its `dropped` is \[1\]; expected an object"),
        (written("task.yaml", b"- a\n"), f"task.yaml can't be read: it holds no fields with values. {AGAIN}"),
        (written("task.yaml", b""), "task.yaml can't be read: it holds no fields"),
        (written("task.yaml", b"a: [b\n"), "task.yaml can't be read: while parsing a flow sequence"),
        (written("task.yaml", b"\xff\xfe"), "task.yaml can't be read: 'utf-8' codec"),
        (written("task.yaml", b"name: x\n"), "task.yaml can't be read: task: `instruction` is missing"),
        (written("data/train.parquet", b"no"), f"train.parquet can't be read: Parquet file size is 2 bytes.* {AGAIN}"),
        (cut("data/train.parquet", 900), "train.parquet can't be read: Parquet magic bytes"),
        (written("data/validation.parquet", b"no"), "validation.parquet can't be read"),
        (without_column, "train.parquet can't be read: it lacks the column `provenance`; it has message, team"),
        (cut("rows.jsonl", 400), f"rows.jsonl can't be read: Expecting .* {AGAIN}"),
    ],
)
def test_a_damaged_file_is_named_with_what_mends_it(run: Path, damage: Damage, said: str) -> None:
    damage(run)
    with pytest.raises(PublishError, match=said):
        render_dataset_card(run)
    with pytest.raises(PublishError, match=said):
        write_report(run, png=False)


@pytest.mark.parametrize("name", ["student.json", "training.json"])
def test_a_damaged_student_is_named_with_what_mends_it(run: Path, name: str) -> None:
    (run / "student" / name).write_text("{")
    with pytest.raises(PublishError, match=rf"student/{name} can't be read: Expecting .* {TRAIN} {run}"):
        render_student_card(run)


def test_a_push_reads_no_further_than_the_damage(run: Path) -> None:
    without_column(run)
    for push in (push_dataset, push_student):
        with pytest.raises(PublishError, match="lacks the column `provenance`"):
            push(run, "org/triage")
