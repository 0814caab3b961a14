"""A trained student is consulted: by its folder, its run folder, on the command line and by `load_dataset`."""

import json
import pickle
import shutil
import sys

import pytest

from rebase_hf import load_dataset
from rebase_hf.cli import main
from rebase_hf.errors import StudentError
from rebase_hf.students import train_student
from rebase_hf.students.consulting import consult_student
from rebase_hf.students.saving import saving
from rebase_hf.task import Task
from tests.doubles.task_answers import desk_answer
from tests.doubles.tgi_server import TGIServer

DESK = {
    "name": "desk",
    "instruction": "Decide which desk handles a customer's message.",
    "inputs": ["message"],
    "output": "desk",
    "labels": {"money": "payments and refunds", "parcels": "deliveries", "other": "anything else"},
    "examples": [
        {"message": "I was charged twice for one order.", "desk": "money"},
        {"message": "My parcel has not arrived.", "desk": "parcels"},
    ],
}


@pytest.fixture(scope="module")
def saved(tiny_encoder, tmp_path_factory):
    """A student, in the folder of a run."""
    run = tmp_path_factory.mktemp("run")
    rows = [{"message": "where is my refund", "desk": "money"}, {"message": "hello there", "desk": "other"}]
    return train_student(Task.load(DESK), rows, base_model=tiny_encoder, output_dir=run / "student", max_pairs=32), run


def test_it_says_what_the_student_says_and_how_sure_it_is(saved):
    student, run = saved
    inputs = [{"message": "my refund"}, {"message": "a lost parcel"}]
    consulted = consult_student(run)
    assert [label for label, _ in consulted(inputs)] == student.predict(inputs)
    assert [sure for _, sure in consulted(inputs)] == pytest.approx(student.predict_proba(inputs).max(axis=1))
    assert pickle.loads(pickle.dumps(consulted))(inputs) == consulted(inputs)  # noqa: S301 - our own


def test_it_is_known_by_what_it_is_and_not_by_where_it_lies(saved, tmp_path):
    _, run = saved
    name = consult_student(run).name
    assert name == consult_student(str(run / "student")).name and str(run) not in name
    moved = shutil.copytree(run / "student", tmp_path / "elsewhere")
    assert consult_student(moved).name == name
    facts = json.loads((moved / "training.json").read_text())
    (moved / "training.json").write_text(json.dumps(facts | {"seed": 7}))
    assert consult_student(moved).name != name


def test_what_gives_no_labels_or_is_no_student_is_refused(tmp_path):
    with pytest.raises(StudentError, match=r"student\.json"):
        consult_student(tmp_path)
    task = Task.load({"name": "sums", "instruction": "Add.", "examples": [{"input": "1+1", "output": "2"}]})
    with saving(tmp_path, kind="seq2seq", task=task, facts={}):
        pass
    with pytest.raises(StudentError, match="has no labels"):
        consult_student(tmp_path)


def test_a_student_that_does_not_say_how_sure_it_is_is_refused(tiny_t5, tmp_path):
    task = Task.load({"name": "sums", "instruction": "Add.", "examples": [{"input": "1+1", "output": "2"}]})
    train_student(task, [{"input": "1+2", "output": "3"}], base_model=tiny_t5, output_dir=tmp_path, max_pairs=1)
    (tmp_path / "task.yaml").write_text(Task.load(DESK).to_yaml())
    with pytest.raises(StudentError, match="how sure"):
        consult_student(tmp_path)([{"message": "x"}])


def test_the_command_line_and_load_dataset_consult_it(saved, home, model_index, tmp_path, monkeypatch):
    _, run = saved
    (tmp_path / "desk.json").write_text(json.dumps(DESK))
    with TGIServer(answer=desk_answer) as server:
        options = ["--num-examples", "6", "--output", str(tmp_path / "out"), "--consult-student", str(run)]
        arguments = ["generate", str(tmp_path / "desk.json"), "--index", str(model_index), "--teacher", server.url]
        monkeypatch.setattr(sys, "argv", ["rebase-hf", *arguments, *options])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        asked = server.chat_requests
        rows = load_dataset(
            "rebase", task=DESK, index=model_index, teacher=server.url, num_examples=6, split="train", consult=str(run)
        )
        assert len(rows) == 6 and len(server.chat_requests) == len(asked)  # it is the same run
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["consulted"] == consult_student(run).name
    for request in asked:
        assert "% sure. It may be wrong" in request["messages"][0]["content"]
