"""What a trained classifier finds hard in its rows: written by `train`, told in the report."""

import json
from pathlib import Path
from typing import Any

import pytest

from rebase_hf.cli.training import Training, train_and_compare
from rebase_hf.publish.cards import render_student_card
from rebase_hf.publish.report import write_report
from rebase_hf.students import load_student, train_student
from rebase_hf.students.learning_map import LEARNER, MAX_ROWS, Mapped, map_rows
from rebase_hf.students.student import TrainingRow
from rebase_hf.task import Task
from tests.doubles.tiny_models import make_bert, make_sentence_encoder, make_static_encoder, make_t5
from tests.publish.example_run import make_rows, write_run

TASK = Task.load(
    {
        "name": "sides",
        "instruction": "Which side?",
        "labels": ["left", "right"],
        "examples": [{"input": "left hand", "output": "left"}, {"input": "right foot", "output": "right"}],
    }
)


def rows_of(count: int, *, wrong: int = 0) -> list[TrainingRow]:
    """Rows that say their side, but for the first few, which are labelled with the other, all from one source."""
    made = []
    for i in range(count):
        side = ("left", "right")[i % 2]
        told = ("right", "left")[i % 2] if i < wrong else side
        fields = {"input": f"on the {side} hand, number {i}", "output": told}
        made.append(TrainingRow(fields, source="bad" if i < wrong else f"good-{i % 2}"))
    return made


def trained(folder: Path, kind: str, **options: Any) -> Any:
    base = {"encoder": make_bert, "setfit": make_sentence_encoder, "linear": make_static_encoder, "seq2seq": make_t5}
    rows = [dict(row.fields) for row in rows_of(20)]
    return train_student(TASK, rows, kind=kind, base_model=base[kind](folder / "base"), max_pairs=8, **options)


def test_rows_with_another_label_and_their_source_are_the_hardest(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    rows = rows_of(120, wrong=12)
    mapped = map_rows(trained(tmp_path, "linear"), rows)
    assert isinstance(mapped, Mapped) and mapped.cartography["learner"] == LEARNER
    points = mapped.cartography["rows"]
    assert len(points) == 120 and mapped.cartography["epochs"] == 6
    hardest = sorted(range(120), key=lambda place: points[place]["confidence"])[:12]
    assert set(hardest) == set(range(12))
    assert not any(points[place]["kept"] for place in hardest)
    assert {point["label"] for point in points} == {0, 1}
    last = mapped.provenance["epochs"][-1]["sources"]
    assert {name: told["rows"] for name, told in last.items()} == {"bad": 12, "good-0": 54, "good-1": 54}
    assert last["bad"]["accuracy"] < 0.2 and last["bad"]["loss"] > 1 > last["good-0"]["loss"]
    assert map_rows(load_student(trained(tmp_path, "linear").save(tmp_path / "kept")), rows) == mapped


def test_few_rows_or_other_kinds_of_student_are_said_not_to_be_mapped(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    student = trained(tmp_path, "linear")
    assert "49 rows of 2 labels are too few" in map_rows(student, rows_of(49))
    one = [row for row in rows_of(200) if row.fields["output"] == "left"]
    assert "100 rows of one label" in map_rows(student, one)
    assert "of kind `seq2seq` writes" in map_rows(trained(tmp_path / "t5", "seq2seq"), rows_of(60))


def test_many_rows_are_looked_at_in_part_every_source_among_them(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    mapped = map_rows(trained(tmp_path, "linear"), rows_of(MAX_ROWS + 500, wrong=10))
    assert isinstance(mapped, Mapped)
    assert (mapped.provenance["rows"], mapped.provenance["looked_at"]) == (MAX_ROWS + 500, MAX_ROWS)
    assert mapped.provenance["epochs"][0]["sources"]["bad"]["rows"] == 10


@pytest.mark.parametrize("kind", ["encoder", "setfit"])
def test_every_classifier_says_what_its_last_layer_reads_in_the_order_asked(tmp_path: Path, kind: str) -> None:
    student = trained(tmp_path, kind)
    texts = ["left", "on the right hand, number 7 of many more than that", "right foot"]
    vectors = student.vectors(texts)
    assert vectors.shape == (3, 32)
    assert abs(vectors[2] - student.vectors([texts[2]])[0]).max() < 1e-5 < abs(vectors[0] - vectors[2]).max()
    assert isinstance(map_rows(student, rows_of(60)), Mapped)


def test_train_writes_the_map_and_report_and_card_tell_it(tmp_path: Path) -> None:
    rows = make_rows("t")
    for number, row in enumerate(rows):
        row["message"] += f" My number is {number}."  # rows of one input count once
    run = write_run(tmp_path / "run", rows)
    (run / "task.yaml").write_text("\n".join((run / "task.yaml").read_text().splitlines()[:-1]))
    (tmp_path / "base").mkdir()
    linear = Training(make_static_encoder(tmp_path / "base"), "linear", {}, 1, 16, 0, pickle=True)
    report = train_and_compare(run, linear)
    assert report["learning"] == {"rows": 54, "looked_at": 54} and report["seconds"]["map"] >= 0
    text = write_report(run).read_text(encoding="utf-8")
    assert "What the student found hard" in text and LEARNER.split("'")[0] in text
    assert {"learning.svg", "cartography.svg"} <= {path.name for path in (run / "figures").iterdir()}
    assert "| acme/helpdesk-mail | 28 |" in render_student_card(run)
    held = json.loads((run / "report.json").read_text()) | {"learning": {"left_out": "Too few to say."}}
    (run / "report.json").write_text(json.dumps(held))
    for name in ("cartography.json", "provenance.json"):
        (run / "student" / name).unlink()
    text = write_report(run).read_text(encoding="utf-8")
    assert "Too few to say." in text and "What was watched" not in text


def test_a_map_of_an_earlier_training_does_not_stay(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    content = (run / "task.yaml").read_text().splitlines()[:-1]
    (run / "task.yaml").write_text("\n".join(content))
    (run / "student" / "cartography.json").write_text("{}")
    base = make_t5(tmp_path / "t5")
    report = train_and_compare(run, Training(base, "seq2seq", {}, 1, 2, 0, pickle=True))
    assert "seq2seq" in report["learning"]["left_out"] and not (run / "student/cartography.json").exists()
    assert "a student of kind seq2seq writes or marks its answers." in write_report(run).read_text(encoding="utf-8")
