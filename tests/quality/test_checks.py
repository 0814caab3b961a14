import pytest

from rebase_hf.quality.checks import (
    answer_not_in_input,
    empty_field,
    label_not_in_task,
    rationale_without_reasoning,
    settle_label,
)
from rebase_hf.task import Task

TRIAGE = Task.load(
    {
        "name": "triage",
        "instruction": "Decide.",
        "output": "team",
        "labels": ["billing", "Delivery", "n/a", "N/A", "I don't know."],
        "examples": [{"input": "I was charged twice.", "team": "billing", "rationale": "Charges are payments."}],
    }
)
QA = Task.load(
    {
        "name": "qa",
        "instruction": "Answer.",
        "inputs": ["notice", "question"],
        "output": "answer",
        "extractive": True,
        "examples": [{"notice": "Opens at nine.", "question": "When?", "answer": "at nine"}],
    }
)


@pytest.mark.parametrize(
    ("fields", "rationale", "blank"),
    [
        ({"input": " ", "team": "billing"}, "x", "input"),
        ({"input": "a", "team": "\n"}, "x", "team"),
        ({"input": "a", "team": "billing"}, " ", "rationale"),
        ({"input": "", "team": "billing"}, None, "input, rationale"),
    ],
)
def test_a_blank_field_is_refused(fields, rationale, blank):
    assert empty_field(TRIAGE, fields, rationale) == ("empty_field", f"{blank} is blank")


def test_a_label_outside_the_task_is_refused():
    reason, detail = label_not_in_task(TRIAGE, {"input": "a", "team": "refund"}, None)
    assert reason == "label_not_in_task"
    assert detail == "`refund` is not one of billing, Delivery, n/a, N/A, I don't know."
    assert label_not_in_task(QA, {"notice": "a", "question": "b", "answer": "anything"}, None) is None


def test_an_extractive_answer_must_stand_in_an_input_as_it_is():
    fields = {"notice": "Opens at nine.", "question": "When does it open?", "answer": "At nine"}
    assert answer_not_in_input(QA, fields, None) == (
        "answer_not_in_input",
        "`At nine` stands in none of notice, question",
    )
    assert answer_not_in_input(QA, fields | {"answer": "open"}, None) is None
    assert answer_not_in_input(TRIAGE, {"input": "a", "team": "billing"}, None) is None


def test_a_rationale_that_is_only_the_output_is_refused():
    fields = {"input": "a", "team": "billing"}
    assert rationale_without_reasoning(TRIAGE, fields, " billing\n")[0] == "rationale_without_reasoning"
    assert rationale_without_reasoning(TRIAGE, fields, "It is billing.") is None
    assert rationale_without_reasoning(TRIAGE, fields, None) is None


@pytest.mark.parametrize(
    ("written", "settled"),
    [
        ("billing", "billing"),
        ("Billing", "billing"),
        (' "delivery". ', "Delivery"),
        ("`DELIVERY`", "Delivery"),
        ("n/a", "n/a"),
        ("N/A", "N/A"),
        ("N/a", "N/a"),  # both of the task's would fit
        ("i don't know", "I don't know."),
        ("refund", "refund"),
        ("", ""),
    ],
)
def test_a_label_gets_the_spelling_of_the_task(written, settled):
    assert settle_label(TRIAGE, written) == settled
