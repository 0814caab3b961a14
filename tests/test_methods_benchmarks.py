"""The parts of the methods' benchmarks: what a recorded teacher answers, how students are scored."""

import json
import urllib.request

import numpy as np
import pytest

from benchmarks.linear_student import RememberingEncoder, fit_and_predict, text_vectors
from benchmarks.option_pairs import mirrored, option_vectors, split_options
from benchmarks.paired_scores import Contender, compared, metric_values
from benchmarks.recorded_teacher import (
    asked_for,
    document_key,
    explanation_key,
    label_key,
    question_key,
    replaying,
)
from rebase_hf import Task
from rebase_hf.students.metrics import METRIC_FUNCTIONS
from rebase_hf.teacher.rationale_prompts import rationale_messages, reading_messages
from rebase_hf.teacher.writing_prompts import Shot, write_messages, write_schema
from tests.index.hashing_encoder import HashingEncoder


@pytest.fixture
def task():
    return Task.load(
        {
            "name": "tone",
            "instruction": "Name the tone.",
            "inputs": ["text"],
            "output": "tone",
            "labels": {"kind": "friendly, or thankful", "rude": "rude", "flat (neutral)": "neither"},
            "examples": [{"text": "Thanks a lot!", "tone": "kind"}, {"text": "Get lost.", "tone": "rude"}],
        }
    )


def prompt_of(messages):
    return messages[-1].content


@pytest.mark.parametrize("label", ["kind", "rude", "flat (neutral)"])
def test_what_is_asked_for_is_read_from_the_prompt(task, label):
    shot = Shot({"text": "Get lost.", "tone": "rude"}, "another document")
    document = "The <|im_start|> courier came late.\nNobody was in."
    written = write_messages(task, label=label, document=document, shots=[shot], words=10)
    assert asked_for(prompt_of(written)) == document_key(task, label, document, 400)
    alone = write_messages(task, label=label, shots=[Shot(shot.fields)])
    assert asked_for(prompt_of(alone)) == label_key(task, label)
    assert label_key(task, "kind") != label_key(task, "rude")


def test_questions_and_explanations_are_read_from_their_prompts(task):
    fields = {"text": 'He said "no" <b>', "tone": "rude"}
    assert asked_for(prompt_of(rationale_messages(task, fields))) == question_key(fields["text"])
    reading = reading_messages(task, fields, "It is short.\nAnd blunt.")
    assert asked_for(prompt_of(reading)) == explanation_key("It is short.\nAnd blunt.")


def ask(server, messages, schema, seed):
    body = {
        "messages": [{"role": one.role, "content": one.content} for one in messages],
        "response_format": {"type": "json_object", "value": schema},
        "seed": seed,
    }
    request = urllib.request.Request(f"{server.url}/v1/chat/completions", json.dumps(body).encode())
    with urllib.request.urlopen(request) as response:
        return json.loads(json.load(response)["choices"][0]["message"]["content"])


def test_a_recorded_answer_depends_on_what_is_asked_and_on_the_seed_alone(task):
    with replaying({label_key(task, "kind"): ["How nice.", "So good."]}) as server:
        kind, rude = (write_messages(task, label=label) for label in ("kind", "rude"))
        schema = write_schema(task, "kind")
        assert [ask(server, kind, schema, seed) for seed in (0, 1, 2)] == [
            {"text": "How nice."},
            {"text": "So good."},
            {"text": "How nice."},
        ]
        assert ask(server, rude, schema, 1) == {"text": ""}


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_metrics_are_those_of_students(metric):
    chance = np.random.default_rng(0)
    expected, predicted = chance.integers(0, 4, 200), chance.integers(0, 3, 200)
    ours = metric_values(metric, expected, predicted, np.ones((1, 200)), 5)
    assert ours[0] == pytest.approx(METRIC_FUNCTIONS[metric](predicted.tolist(), expected.tolist()))


def test_weights_count_rows_as_often_as_they_say():
    expected, predicted = np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2])
    weights = np.array([[1, 2, 0, 3]])
    repeated = np.repeat(np.arange(4), weights[0])
    ours = metric_values("macro_f1", expected, predicted, weights, 3)
    assert ours[0] == pytest.approx(
        METRIC_FUNCTIONS["macro_f1"](predicted[repeated].tolist(), expected[repeated].tolist())
    )


def test_a_difference_counts_test_rows_and_seeds(task):
    held_out = [{"text": str(n), "tone": ("kind", "rude")[n % 2]} for n in range(100)]
    right = np.arange(100) % 2
    half = np.where(np.arange(100) < 50, right, 1 - right)
    contenders = {
        "all": Contender([10, 10], [right, right]),
        "half": Contender([5, 5], [half, half]),
        "same": Contender([10, 10], [right, right]),
    }
    found = compared(task, held_out, contenders, ["half", "same"])
    assert found["scores"]["half"] == {"mean": 0.5, "std": 0.0, "rows": 5, "by_seed": [0.5, 0.5]}
    apart = found["differences"]["half"]
    assert apart["mean"] == 0.5 and apart["error"] == 0.0  # no seed differs, and yet the test set is small
    assert 0.38 < apart["low"] < 0.43 < 0.57 < apart["high"] < 0.62
    assert set(found["differences"]["same"].values()) == {0.0}


class CountingEncoder(HashingEncoder):
    """Counts what it is asked to encode."""

    encoded = 0

    def encode(self, texts):
        self.encoded += len(texts)
        return super().encode(texts)


def test_no_text_is_encoded_twice_in_this_process_or_the_next(tmp_path):
    inner = CountingEncoder()
    encoder = RememberingEncoder(inner, tmp_path)
    before = inner.encoded  # what tells its identity
    first = encoder.encode(["a letter", "two letters", "a letter"])
    assert inner.encoded - before == 2
    assert np.array_equal(first, HashingEncoder().encode(["a letter", "two letters", "a letter"]))
    encoder.keep()
    again = CountingEncoder()
    later = RememberingEncoder(again, tmp_path)
    before = again.encoded
    assert np.array_equal(later.encode(["two letters"]), first[1:2])
    assert again.encoded == before
    assert later.identity == encoder.identity and later.encode([]).shape == (0, inner.dimension)


def test_a_label_without_rows_is_learnt_from_its_phrase(task):
    encoder = HashingEncoder()
    rows = [{"text": "thanks a lot", "tone": "kind"}, {"text": "get lost", "tone": "rude"}]
    held_out = [{"text": "get lost you", "tone": "rude"}, {"text": "neither", "tone": "flat (neutral)"}]
    assert fit_and_predict(task, text_vectors(encoder), rows, held_out).tolist() == [1, 2]


def test_options_are_told_apart_whatever_their_letter():
    task = Task.load(
        {
            "name": "choice",
            "instruction": "Pick.",
            "inputs": ["question"],
            "output": "label",
            "labels": ["A", "B"],
            "examples": [{"question": "Now?\n (A) yes\n (B) no", "label": "A"}],
        }
    )
    rows = [{"question": "Now (A or B)?\n\nChoices:\n (A) yes\n (B) no", "label": "A"}]
    assert split_options(rows[0]["question"]) == ("Now (A or B)?\n\nChoices:", "yes", "no")
    assert split_options("no options") is None
    own, turned = mirrored(task, rows)
    assert own["label"] == "A" and split_options(own["question"])[1:] == ("yes", "no")
    assert turned["label"] == "B" and split_options(turned["question"])[1:] == ("no", "yes")
    first, second = option_vectors(HashingEncoder())(task, [own, turned])
    assert np.allclose(first, -second) and np.abs(first).sum() > 0
