import json
import sqlite3

import numpy as np
import pytest

from rebase_hf.home import rebase_home
from rebase_hf.students import load_student, train_student
from rebase_hf.task import Task
from tests.doubles.tiny_models import ROWS, make_static_encoder

QUESTIONS = ["please refund my card", "the box is broken", "reset my account", "hello"]


@pytest.fixture(scope="module")
def task():
    return Task.load(
        {
            "name": "triage",
            "instruction": "Decide.",
            "inputs": ["message"],
            "output": "team",
            "labels": ["shipping", "billing", "account"],
            "examples": [{"message": "the parcel is late", "team": "shipping"}],
        }
    )


@pytest.fixture(scope="module")
def saved(task, tiny_encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("linear")
    return train_student(task, ROWS, kind="linear", base_model=tiny_encoder, output_dir=folder), folder


@pytest.fixture(scope="module")
def static_encoder(tmp_path_factory):
    return make_static_encoder(tmp_path_factory.mktemp("static"))


def test_student_learns_its_training_rows(task, static_encoder):
    student = train_student(task, ROWS, kind="linear", base_model=static_encoder, C=30)
    assert student.predict([row["message"] for row in ROWS]) == [row["team"] for row in ROWS]


def test_phrases_are_learnt_too_unless_told_otherwise(task, static_encoder):
    phrases = {"shipping": "parcels", "billing": "invoices", "account": "access"}
    phrased = Task.load({**task.to_dict(), "labels": phrases})
    rows = [{"message": "see invoices", "team": "account"}, {"message": "see parcels", "team": "billing"}]
    without = train_student(phrased, rows, kind="linear", base_model=static_encoder, C=30, include_phrases=False)
    taught = train_student(phrased, rows, kind="linear", base_model=static_encoder, C=30)
    assert (taught.facts["phrases"], without.facts["phrases"]) == (3, 0)
    assert taught.facts["train_rows"] == without.facts["train_rows"] + 3
    assert taught.predict(["invoices"]) == ["billing"] and without.predict(["invoices"]) == ["account"]


def test_loaded_student_predicts_the_same_bytes(saved):
    student, folder = saved
    loaded = load_student(folder)
    assert loaded.kind == "linear" and loaded.facts == student.facts
    assert np.array_equal(loaded.predict_proba(QUESTIONS), student.predict_proba(QUESTIONS))


def test_static_embeddings_are_saved_and_loaded_too(task, static_encoder, tmp_path):
    student = train_student(
        task, ROWS, kind="linear", base_model=f"static:{static_encoder}", output_dir=tmp_path / "s"
    )
    assert student.facts["base_model"] == "static-encoder"
    loaded = load_student(tmp_path / "s")
    assert np.array_equal(loaded.predict_proba(QUESTIONS), student.predict_proba(QUESTIONS))


def test_plain_setfit_gives_the_same_labels_and_probabilities(saved):
    from setfit import SetFitModel

    student, folder = saved
    plain = SetFitModel.from_pretrained(str(folder))
    assert list(plain.predict(QUESTIONS)) == student.predict(QUESTIONS)
    assert np.allclose(plain.predict_proba(QUESTIONS, as_numpy=True), student.predict_proba(QUESTIONS), atol=1e-5)


@pytest.mark.parametrize("kind", ["linear", "setfit"])
def test_without_pickle_nothing_is_pickled_and_the_student_is_the_same(task, tiny_encoder, tmp_path, kind):
    student = train_student(task, ROWS, kind=kind, base_model=tiny_encoder, max_pairs=16)
    student.save(tmp_path / "with")
    assert (tmp_path / "with" / "model_head.pkl").is_file()
    student.save(tmp_path / "with", pickle=False)
    assert not list((tmp_path / "with").rglob("*.pkl"))
    assert np.array_equal(load_student(tmp_path / "with").predict_proba(QUESTIONS), student.predict_proba(QUESTIONS))


def test_two_labels_are_told_apart_by_name(tiny_encoder, tmp_path):
    task = Task.load(
        {
            "name": "tone",
            "instruction": "Name the tone.",
            "labels": ["rude", "kind"],
            "examples": [{"input": "thanks", "output": "kind"}, {"input": "go away", "output": "rude"}],
        }
    )
    student = train_student(task, [], kind="linear", base_model=tiny_encoder, output_dir=tmp_path / "s", C=1000)
    assert student.predict(["go away", "thanks"]) == ["rude", "kind"]
    assert np.array_equal(load_student(tmp_path / "s").predict_proba(["hm"]), student.predict_proba(["hm"]))


def test_texts_are_encoded_once_and_kept_by_content(task, tiny_encoder, home):
    first = train_student(task, ROWS, kind="linear", base_model=tiny_encoder, seed=1)
    [file] = (rebase_home() / "vectors").glob("*.sqlite")
    with sqlite3.connect(file) as kept:
        assert kept.execute("SELECT count(*) FROM vectors").fetchone() == (len(ROWS) + 1,)
        # Whoever reads these gets another student: the next training does not encode.
        kept.execute("UPDATE vectors SET vector = zeroblob(length(vector))")
    second = train_student(task, ROWS, kind="linear", base_model=tiny_encoder, seed=1)
    assert np.allclose(second.head.coef, 0, atol=1e-6) and not np.allclose(first.head.coef, 0, atol=1e-6)


def test_a_student_of_kept_vectors_is_the_same_to_the_bit(task, tiny_encoder, home):
    train_student(task, ROWS[:5], kind="linear", base_model=tiny_encoder)
    half_kept = train_student(task, ROWS, kind="linear", base_model=tiny_encoder)
    (rebase_home() / "vectors").rename(home / "gone")
    assert np.array_equal(
        half_kept.head.coef, train_student(task, ROWS, kind="linear", base_model=tiny_encoder).head.coef
    )


def test_facts_say_that_every_row_was_seen(saved):
    student, folder = saved
    facts = json.loads((folder / "training.json").read_text())
    assert facts["max_pairs"] is None and facts["C"] == 3.0 and facts["train_rows"] == 13
