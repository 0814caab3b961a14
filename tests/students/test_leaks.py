import json

import pytest

from rebase_hf.errors import StudentError
from rebase_hf.students import train_student
from rebase_hf.students.leaks import without_leaks
from rebase_hf.students.student import training_rows
from rebase_hf.task import Task
from tests.doubles.tiny_models import ROWS

LONG = "the courier came on monday with a box that was open and wet and left it at the door of a neighbour"


@pytest.fixture
def task(tmp_path):
    held_out = [{"message": LONG, "team": "shipping"}, {"message": "my card", "team": "billing"}]
    (tmp_path / "eval.jsonl").write_text("\n".join(map(json.dumps, held_out)), encoding="utf-8")
    return Task.load(
        {
            "name": "triage",
            "instruction": "Decide.",
            "inputs": ["message"],
            "output": "team",
            "labels": ["billing", "shipping", "account"],
            "examples": [{"message": "the parcel is late", "team": "shipping"}],
            "evaluation": {"path": str(tmp_path / "eval.jsonl")},
        }
    )


@pytest.mark.parametrize(
    "message",
    [
        LONG.upper() + ".",
        "My card!",
        f"Hello, {LONG}, please help",
        LONG.replace("monday", "friday"),
    ],
)
def test_a_row_that_says_what_a_held_out_row_says_is_left_out(task, message, caplog):
    rows = training_rows(task, [{"message": message, "team": "shipping"}])
    kept, leaks = without_leaks(task, rows, task.evaluation_rows())
    assert leaks == 1 and [row.is_example for row in kept] == [True]
    assert "1 of 2 training rows overlap the evaluation set" in caplog.text


def test_other_rows_stay(task, caplog):
    rows = training_rows(task, ROWS)
    assert without_leaks(task, rows, task.evaluation_rows()) == (rows, 0)
    assert without_leaks(task, rows, []) == (rows, 0)
    assert not caplog.records


def test_a_student_is_not_trained_on_what_its_task_is_scored_by(task, tiny_encoder):
    rows = [*ROWS, {"message": LONG, "team": "shipping"}]
    facts = train_student(task, rows, kind="linear", base_model=tiny_encoder).facts
    assert facts["train_rows"] == len(ROWS) + 1


def test_a_dataset_of_nothing_but_held_out_rows_is_refused(task):
    rows = training_rows(task, task.evaluation_rows(), include_examples=False)
    with pytest.raises(StudentError, match="every one of the 2 training rows stands in the evaluation set"):
        without_leaks(task, rows, task.evaluation_rows())
