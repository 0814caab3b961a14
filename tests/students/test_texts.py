import pytest

from rebase_hf.errors import StudentError
from rebase_hf.students.student import TrainingRow
from rebase_hf.students.texts import (
    answer_in,
    parse_answer,
    rationale_mode,
    second_task,
    source_text,
    target_text,
)
from rebase_hf.task import Task

ROW = TrainingRow({"input": "ab", "output": "ba"}, "because")
BARE = TrainingRow({"input": "ab", "output": "ba"})


def make_task(labels=(), **example):
    content = {
        "name": "reverse",
        "instruction": "Turn it round.",
        "labels": list(labels),
        "examples": [{"input": "xy", "output": "yx", **example}],
    }
    return Task.load(content)


def test_source_names_the_inputs_under_the_instruction():
    assert source_text(make_task(), {"input": "ab"}) == "Turn it round.\n\ninput: ab"


def test_source_lists_the_labels_before_inputs_that_may_be_cut():
    assert source_text(make_task(["yx", "ba"]), {"input": "ab"}) == "Turn it round.\nOptions: yx, ba\n\ninput: ab"


@pytest.mark.parametrize(
    ("mode", "row", "target"),
    [
        ("none", BARE, "ba"),
        ("none", ROW, "ba"),
        ("task", ROW, "ba"),
        ("target", ROW, "because\nAnswer: ba"),
        ("target", BARE, "Answer: ba"),
    ],
)
def test_target_holds_the_rationale_only_where_it_is_part_of_it(mode, row, target):
    assert target_text(make_task(), row, mode) == target


def test_the_second_task_asks_for_the_rationale_under_a_prefix_of_its_own():
    asked, written = second_task(make_task(), ROW)
    assert written == "because"
    assert asked != source_text(make_task(), ROW.fields, "task")
    assert asked.endswith("Turn it round.\n\ninput: ab")
    assert second_task(make_task(), BARE) is None


@pytest.mark.parametrize(
    ("reasons", "asked", "mode"),
    [(False, None, "none"), (True, None, "target"), (True, "none", "none"), (False, "target", "target")],
)
def test_rationales_are_part_of_the_target_in_a_task_that_reasons_unless_said_otherwise(reasons, asked, mode):
    task = make_task(**({"rationale": "turned"} if reasons else {}))
    assert rationale_mode(task, [ROW], asked) == mode


def test_rationales_that_nobody_has_can_not_be_learnt():
    with pytest.raises(StudentError, match="`rationales` is `task`, but not one of the 1 rows"):
        rationale_mode(make_task(), [BARE], "task")


@pytest.mark.parametrize(
    ("text", "answer"),
    [("first\nAnswer: 4", "4"), ("Answer: 3, no: Answer: 4 ", "4"), ("only 4", "only 4"), ("so Answer:", "")],
)
def test_answer_is_what_follows_the_last_marker(text, answer):
    assert parse_answer(text) == answer


def test_a_label_is_given_in_the_tasks_spelling():
    assert answer_in(make_task(["yx", "Ba"]), "so it is\nAnswer: ba.", "target") == "Ba"
    assert answer_in(make_task(["yx", "Ba"]), "neither", "none") == "neither"
