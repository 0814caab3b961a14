"""What is given in place of rows, and a student's folder of which a file is missing, are named."""

import shutil

import pandas as pd
import pytest

from rebase_hf.errors import StudentError
from rebase_hf.students import load_student, train_student
from rebase_hf.students.linear_head import load_saved_body
from rebase_hf.task import METRICS, Task
from tests.doubles.tiny_models import ROWS, make_static_encoder


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    rows = [{"message": "where is my parcel", "team": "shipping"}]
    task = {
        "name": "triage",
        "instruction": "Decide.",
        "inputs": ["message"],
        "output": "team",
        "labels": ["billing", "shipping", "account"],
        "examples": rows,
    }
    base = make_static_encoder(folder)
    return train_student(task, ROWS, kind="linear", base_model=base, output_dir=folder / "s"), folder / "s"


@pytest.mark.parametrize(
    "name", ["modules.json", "model.safetensors", "training.json", "head.safetensors", "tokenizer.json"]
)
def test_a_file_that_is_missing_is_named(small, tmp_path, name):
    folder = shutil.copytree(small[1], tmp_path / "s")
    for file in folder.rglob(name):
        file.unlink()
    with pytest.raises(StudentError, match=f"lacks `{name}`. The student is damaged"):
        load_student(folder)


@pytest.mark.parametrize("content", ["nope", "{}", "[3]", '[{"type": "mine.Module"}]'])
def test_modules_that_can_not_be_read_are_named(tmp_path, content):
    (tmp_path / "modules.json").write_text(content)
    with pytest.raises(StudentError, match=r"modules\.json"):
        load_saved_body(tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "`predict` was given None; expected a list"),
        (5, "`predict` was given 5"),
        (pd.DataFrame(ROWS), r"was given a DataFrame, not rows; pass its rows: \.to_dict\(\"records\"\)"),
    ],
)
def test_what_has_no_rows_is_not_predicted(small, given, message):
    with pytest.raises(StudentError, match=message):
        small[0].predict(given)


def test_what_has_no_rows_is_not_trained_on(small):
    for given, message in ((None, "The dataset is None"), (pd.DataFrame(ROWS), "The dataset is a DataFrame")):
        with pytest.raises(StudentError, match=message):
            train_student(small[0].task, given)
        if given is not None:
            with pytest.raises(StudentError, match=message):
                small[0].evaluate(given)
    series = pd.Series(["my parcel", "my card"], index=[5, 6])
    assert len(small[0].predict(series)) == len(small[0].predict(pd.DataFrame(ROWS[:2]).to_dict("records"))) == 2


def test_how_many_rows_gave_away_the_evaluation_set_is_kept(small, tmp_path):
    (tmp_path / "eval.jsonl").write_text('{"message": "Please reset my password today!", "team": "account"}')
    task = Task.load({**small[0].task.to_dict(), "evaluation": {"path": str(tmp_path / "eval.jsonl")}})
    base = make_static_encoder(tmp_path / "base")
    student = train_student(task, ROWS, kind="linear", base_model=base, output_dir=tmp_path / "s")
    assert student.facts["leaks"] == load_student(tmp_path / "s").facts["leaks"] == 1
    assert "leaks" not in small[0].facts


def test_labels_are_never_compared_as_free_text():
    assert METRICS["classification"] == ("accuracy", "macro_f1")  # to SQuAD, `C`, `C++` and `C#` are one answer
