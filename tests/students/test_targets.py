import logging

import pytest

from rebase_hf.errors import StudentError
from rebase_hf.students import train_student
from rebase_hf.students.causal_rows import CausalRows
from rebase_hf.students.chat_text import end_tokens
from rebase_hf.students.seq2seq import _written
from rebase_hf.students.student import TrainingRow
from rebase_hf.students.targets import Targets, choices_of
from rebase_hf.students.trainer_run import load_pretrained
from rebase_hf.task import Task

REASONED = {
    "name": "tone",
    "instruction": "Name the tone.",
    "labels": ["kind", "rude"],
    "examples": [{"input": "thanks", "output": "kind", "rationale": "They say thanks. " * 40}],
}


def letters(text):
    return [*map(ord, text), 0]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("because so\nAnswer: yes", "because so\nAnswer: yes"),
        ("this is because of all that was said before\nAnswer: yes", "this is because of\nAnswer: yes"),
        ("withoutanyblankatallasinsomelanguages\nAnswer: yes", "withoutanyblankata\nAnswer: yes"),
        ("one step\nAnswer: no\nanother, longer step\nAnswer: yes", "one step\nAnswer:\nAnswer: yes"),
        ("xyz\nAnswer: one two three fourthx", "Answer: one two three fourthx"),
        ("a text that is longer than there is room for", "a text that is longer than the"),
        ("x\nAnswer: an answer that is itself too long", "x\nAnswer: an answer that is it"),
    ],
)
def test_of_a_long_rationale_the_end_is_left_out_and_never_the_answer(text, kept):
    targets = Targets(31)
    ids = targets.of(text, letters)
    assert (bytes(ids[:-1]).decode(), ids[-1]) == (kept, 0)
    assert len(ids) <= 31 and targets.shortened == (text != kept)


def test_a_writer_learns_the_answer_behind_a_long_rationale(tiny_t5, tiny_chat):
    model, tokenizer = load_pretrained("AutoModelForCausalLM", tiny_chat)
    task = Task.load(REASONED)
    row = TrainingRow({"input": "hi", "output": "rude"}, rationale="first this, then that, and so on. " * 40)
    prepare = CausalRows(task, tokenizer, end_tokens(model, tokenizer), "target", 1024)
    feature = prepare.feature(row)
    assert tokenizer.decode(feature["input_ids"]).endswith("\nAnswer: rude<|end|>")
    assert sum(label != -100 for label in feature["labels"]) <= 256 and prepare.targets.shortened == 1
    _, reader = load_pretrained("AutoModelForSeq2SeqLM", tiny_t5)
    ids = Targets(256).of(f"{row.rationale}\nAnswer: rude", _written(reader))
    assert reader.decode(ids).endswith("\nAnswer: rude</s>") and len(ids) <= 256


@pytest.mark.parametrize("kind", ["seq2seq", "causal"])
def test_how_many_were_shortened_is_told(kind, tiny_t5, tiny_chat, caplog):
    base = {"seq2seq": tiny_t5, "causal": tiny_chat}[kind]
    rows = [{"input": "hello", "output": "kind", "rationale": "short"}]
    with caplog.at_level(logging.WARNING, logger="rebase_hf"):
        train_student(REASONED, rows, kind=kind, base_model=base, max_pairs=2)
    assert "1 texts of 2 rows have more than the 256 tokens" in caplog.text


def test_labels_that_are_the_same_tokens_are_named():
    assert choices_of(["a", "b"], letters) == {(97, 0): "a", (98, 0): "b"}
    with pytest.raises(StudentError, match="labels `ab` and `cd` are the same tokens"):
        choices_of(["x", "ab", "cd"], lambda text: [len(text)])


def test_labels_that_the_base_model_can_not_tell_apart_are_refused(tiny_t5):
    task = {
        "name": "countries",
        "instruction": "Name it.",
        "labels": ["日本", "中国"],
        "examples": [{"input": "Tokyo", "output": "日本"}],
    }
    with pytest.raises(StudentError, match="labels `日本` and `中国` are the same tokens"):
        train_student(task, [], kind="seq2seq", base_model=tiny_t5, max_pairs=1)
