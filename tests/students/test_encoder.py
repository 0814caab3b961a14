import json

import numpy as np
import pytest

from rebase_hf.errors import StudentError
from rebase_hf.students import load_student, train_student
from rebase_hf.students.encoder import _features, segments
from rebase_hf.task import Task
from tests.doubles.no_doubles import NoDoublesOnDevice
from tests.doubles.tiny_models import ROWS

QUESTIONS = ["please refund my card", "the box is broken", "reset my account", "hello"]
# What is said of the second text follows from the first: no student can tell from one of them alone.
WORDS = ["card", "parcel", "password", "refund", "box", "account"]
PAIRS = [{"a": f"my {x}", "b": f"the {y}", "same": "yes" if x == y else "no"} for x in WORDS for y in WORDS]


@pytest.fixture(scope="module")
def task():
    return Task.load(
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


@pytest.fixture(scope="module")
def pair_task():
    return Task.load(
        {
            "name": "same-thing",
            "instruction": "Say whether both are about one thing.",
            "inputs": ["a", "b"],
            "output": "same",
            "labels": ["yes", "no"],
            "examples": [{"a": "my tracking", "b": "the tracking", "same": "yes"}],
        }
    )


@pytest.fixture(scope="module")
def saved(task, tiny_bert, tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder-student")
    options = {"max_pairs": 2000, "learning_rate": 3e-3}
    return train_student(task, ROWS, kind="encoder", base_model=tiny_bert, output_dir=folder, **options), folder


@pytest.fixture(scope="module")
def saved_pairs(pair_task, tiny_bert, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair-student")
    return train_student(
        pair_task, PAIRS, kind="encoder", base_model=tiny_bert, output_dir=folder, max_pairs=96, learning_rate=3e-3
    ), folder


def test_student_learns_its_training_rows(saved):
    student, _ = saved
    predictions = student.predict([row["message"] for row in ROWS])
    assert np.mean([a == row["team"] for a, row in zip(predictions, ROWS, strict=True)]) >= 0.75


def test_predictions_stand_in_order_whatever_the_lengths(saved):
    student, _ = saved
    texts = [" ".join(["parcel"] * n) for n in (40, 1, 12, 3)] + QUESTIONS
    probabilities = student.predict_proba(texts)
    assert probabilities.shape == (8, 3) and np.allclose(probabilities.sum(axis=1), 1)
    assert np.allclose(probabilities, [student.predict_proba([text])[0] for text in texts], atol=1e-5)
    assert student.predict([]) == []


def test_a_device_without_double_precision_will_do(saved):
    student, _ = saved
    expected = student.predict_proba(QUESTIONS)
    with NoDoublesOnDevice():
        assert np.array_equal(student.predict_proba(QUESTIONS), expected)


def test_loaded_student_predicts_the_same_bytes(saved):
    student, folder = saved
    loaded = load_student(folder)
    assert loaded.kind == "encoder" and loaded.facts == student.facts
    assert np.array_equal(loaded.predict_proba(QUESTIONS), student.predict_proba(QUESTIONS))


def test_a_plain_pipeline_gives_the_same_labels(saved):
    from transformers import pipeline

    student, folder = saved
    classify = pipeline("text-classification", str(folder), device="cpu")
    assert [found["label"] for found in classify(QUESTIONS)] == student.predict(QUESTIONS)


def test_a_plain_pipeline_cuts_long_texts_where_the_student_does(task, tiny_bert, tmp_path):
    from transformers import AutoTokenizer, pipeline

    options = {"max_pairs": 60, "learning_rate": 3e-3, "max_length": 12, "output_dir": tmp_path / "s"}
    student = train_student(task, ROWS, kind="encoder", base_model=tiny_bert, **options)
    assert AutoTokenizer.from_pretrained(tmp_path / "s").model_max_length == 12
    classify = pipeline("text-classification", str(tmp_path / "s"), device="cpu", truncation=True)
    long = "my parcel has not arrived yet " + "please refund the payment on my card " * 60
    [found] = classify([long])
    assert found["label"] == student.predict([long])[0]
    assert found["score"] == pytest.approx(student.predict_proba([long]).max(), abs=1e-4)


def test_a_plain_pipeline_takes_pairs(saved_pairs):
    from transformers import pipeline

    student, folder = saved_pairs
    classify = pipeline("text-classification", str(folder), device="cpu", truncation=True)
    asked = [{"text": row["a"], "text_pair": row["b"]} for row in PAIRS[:6]]
    assert [found["label"] for found in classify(asked)] == student.predict(PAIRS[:6])


def test_two_inputs_are_two_segments_and_a_phrase_is_one(pair_task, saved_pairs):
    student, _ = saved_pairs
    texts = [segments(pair_task, PAIRS[1]), ("a phrase", None)]
    assert texts[0] == ("my card", "the parcel")
    pair, phrase = _features(student.tokenizer, texts, 96)
    assert pair["token_type_ids"] == [0, 0, 0, 0, 1, 1, 1]
    assert set(phrase["token_type_ids"]) == {0}


@pytest.mark.slow
def test_an_encoder_compares_two_texts(pair_task, tiny_bert):
    student = train_student(
        pair_task, PAIRS, kind="encoder", base_model=tiny_bert, max_pairs=12000, learning_rate=1e-3
    )
    assert student.evaluate(PAIRS)["macro_f1"] >= 0.9


def test_configuration_names_the_labels_in_the_tasks_order(saved):
    _, folder = saved
    config = json.loads((folder / "config.json").read_text())
    assert config["id2label"] == {"0": "shipping", "1": "billing", "2": "account"}


def test_nothing_in_the_folder_has_to_be_unpickled(saved):
    _, folder = saved
    assert {file.suffix for file in folder.iterdir()} <= {".json", ".safetensors", ".yaml", ".txt"}


def test_a_model_of_other_labels_is_refused(saved, tmp_path):
    import shutil

    _, folder = saved
    shutil.copytree(folder, tmp_path / "s")
    config = json.loads((tmp_path / "s" / "config.json").read_text())
    config["id2label"]["2"] = "konto"
    config["label2id"] = {name: int(place) for place, name in config["id2label"].items()}
    (tmp_path / "s" / "config.json").write_text(json.dumps(config))
    with pytest.raises(StudentError, match="labels and the task's differ in `account`"):
        load_student(tmp_path / "s")


def test_a_label_without_rows_is_learnt_from_its_phrase(task, tiny_bert):
    student = train_student(task, [], kind="encoder", base_model=tiny_bert, max_pairs=9)
    assert student.facts["labels"] == {"shipping": 1, "billing": 0, "account": 0}
    assert student.predict_proba(["hello"]).min() > 0


def test_the_same_seed_gives_the_same_student(task, tiny_bert):
    first, second, other = (
        train_student(task, ROWS, kind="encoder", base_model=tiny_bert, max_pairs=32, seed=seed).predict_proba(
            QUESTIONS
        )
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
