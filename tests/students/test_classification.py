import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from datasets import ClassLabel, Dataset

from rebase_hf.errors import StudentError, TaskError
from rebase_hf.students import load_student, train_student
from rebase_hf.students.classification import SetFitStudent
from rebase_hf.task import Task
from tests.doubles.tiny_models import ROWS

QUESTIONS = ["please refund my card", "the box is broken", "reset my account", "hello"]


@pytest.fixture(scope="module")
def saved(tiny_encoder: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[SetFitStudent, Path]:
    """A student trained once for this file, and its folder."""
    task = Task.load(
        {
            "name": "triage",
            "instruction": "Decide.",
            "inputs": ["message"],
            "output": "team",
            # Not in alphabetical order: sorting the labels anywhere would show.
            "labels": ["shipping", "billing", "account"],
            "examples": [{"message": "the parcel is late", "team": "shipping"}],
        }
    )
    folder = tmp_path_factory.mktemp("student")
    return train_student(task, ROWS, base_model=tiny_encoder, output_dir=folder, max_pairs=480), folder


def test_student_learns_its_training_rows(saved):
    student, _ = saved
    predictions = student.predict([row["message"] for row in ROWS])
    assert np.mean([a == row["team"] for a, row in zip(predictions, ROWS, strict=True)]) >= 0.75


def test_probabilities_stand_in_the_tasks_label_order(saved):
    student, _ = saved
    probabilities = student.predict_proba(QUESTIONS)
    assert probabilities.shape == (4, 3)
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert student.predict(QUESTIONS) == [list(student.task.labels)[place] for place in probabilities.argmax(axis=1)]


def test_loaded_student_predicts_the_same_bytes(saved):
    student, folder = saved
    loaded = load_student(folder)
    assert loaded.kind == "setfit"
    assert loaded.task == student.task
    assert loaded.facts == student.facts
    assert np.array_equal(loaded.predict_proba(QUESTIONS), student.predict_proba(QUESTIONS))


def test_two_label_student_survives_saving(tiny_encoder, tmp_path):
    task = Task.load(
        {
            "name": "tone",
            "instruction": "Name the tone.",
            "labels": ["rude", "kind"],
            "examples": [{"input": "thanks", "output": "kind"}, {"input": "go away", "output": "rude"}],
        }
    )
    student = train_student(task, [], base_model=tiny_encoder, output_dir=tmp_path / "s", max_pairs=32)
    assert np.array_equal(load_student(tmp_path / "s").predict_proba(["hm"]), student.predict_proba(["hm"]))


def test_plain_setfit_loads_the_folder_and_names_labels_alike(saved):
    from setfit import SetFitModel

    student, folder = saved
    plain = SetFitModel.from_pretrained(str(folder))
    assert list(plain.predict(QUESTIONS)) == student.predict(QUESTIONS)


class _Canary:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def test_load_student_never_opens_the_pickle(saved, tmp_path):
    import shutil

    student, folder = saved
    copy, canary = tmp_path / "student", tmp_path / "canary"
    shutil.copytree(folder, copy)
    (copy / "model_head.pkl").write_bytes(pickle.dumps(_Canary(canary)))
    assert load_student(copy).predict(QUESTIONS) == student.predict(QUESTIONS)
    assert not canary.exists()
    pickle.loads((copy / "model_head.pkl").read_bytes())  # noqa: S301 - shows that the canary does sing
    assert canary.exists()


def test_load_student_runs_no_module_of_the_folder(saved, tmp_path):
    import shutil

    _, folder = saved
    copy, canary = tmp_path / "student", tmp_path / "canary"
    shutil.copytree(folder, copy)
    (copy / "evil.py").write_text(f"import pathlib; pathlib.Path({str(canary)!r}).touch()")
    modules = json.loads((copy / "modules.json").read_text())
    modules[0]["type"] = "evil.Transformer"
    (copy / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(StudentError, match=r"evil\.Transformer"):
        load_student(copy)
    assert not canary.exists()


def test_class_labels_of_a_dataset_are_decoded_by_name_not_by_place(tiny_encoder, triage):
    dataset = Dataset.from_list(ROWS).cast_column("team", ClassLabel(names=["shipping", "account", "billing"]))
    student = train_student(triage, dataset, base_model=tiny_encoder, max_pairs=16)
    assert student.facts["labels"] == {"billing": 5, "shipping": 5, "account": 4}


def test_integer_labels_without_names_are_refused(tiny_encoder, triage):
    with pytest.raises(TaskError, match="label `1` in row 0"):
        train_student(triage, [{"message": "hello", "team": 1}], base_model=tiny_encoder)


def test_a_label_without_rows_is_learnt_from_its_phrase(tiny_encoder, triage):
    student = train_student(triage, [], base_model=tiny_encoder, max_pairs=32)
    assert student.facts["labels"]["account"] == 0
    assert student.predict_proba(["hello"]).min() > 0


def test_evaluate_scores_the_tasks_metric_first(tiny_encoder, triage):
    student = train_student(triage, ROWS, base_model=tiny_encoder, max_pairs=32)
    scores = student.evaluate()
    assert list(scores) == ["accuracy", "macro_f1", "ece"]
    assert scores["accuracy"] in (0, 0.25, 0.5, 0.75, 1)


def test_evaluate_without_rows_says_where_to_name_them(saved):
    student, _ = saved
    with pytest.raises(StudentError, match="has no evaluation rows"):
        student.evaluate()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("one text", "takes a list of inputs"),
        ([{"text": "hello"}], "Input 0 lacks `message`; it has `text`"),
        (["fine", 7], "Input 1 is int"),
    ],
)
def test_predict_names_the_shape_it_does_not_know(saved, inputs, message):
    student, _ = saved
    with pytest.raises(StudentError, match=message):
        student.predict(inputs)


def test_predict_takes_dicts_and_texts_and_nothing_at_all(saved):
    student, _ = saved
    assert student.predict([{"message": text, "id": 3} for text in QUESTIONS]) == student.predict(QUESTIONS)
    assert student.predict([]) == []


def test_training_leaves_nothing_but_the_folder(saved, tiny_encoder, triage, tmp_path, monkeypatch, capfd):
    import logging
    import warnings

    monkeypatch.chdir(tmp_path / "..")
    before = set(Path.cwd().iterdir())
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        train_student(triage, ROWS, base_model=tiny_encoder, max_pairs=32)
    assert set(Path.cwd().iterdir()) == before
    assert capfd.readouterr() == ("", "")
    assert [str(w.message) for w in warned if issubclass(w.category, UserWarning)] == []
    assert logging.getLogger("setfit").handlers == []
    assert logging.getLogger("setfit").level == logging.NOTSET
