"""Answers and votes in what a student wrote."""

import pytest

from rebase_hf.students.reading import settle
from tests.students.grounded_data import make_task

LABELLED = make_task()
FREE = make_task(labels={}, examples=[{"question": "how many", "answer": "4"}])


@pytest.mark.parametrize(
    ("task", "written", "answer", "votes"),
    [
        (LABELLED, ["a Answer: no", "b Answer: yes", "c\nAnswer: Yes."], "yes", {"no": 1, "yes": 2}),
        (LABELLED, ["Answer: no", "Answer: yes"], "no", {"no": 1, "yes": 1}),
        (LABELLED, ["yes, surely yes", "Answer: maybe", "Answer: no"], "no", {"no": 1}),
        (LABELLED, ["it is no; or rather Yes, not nothing", "Answer: maybe"], "yes", {}),
        (LABELLED, ["noyes", "yes"], "no", {}),
        (FREE, ["so Answer: 5", "Answer: 4", "Answer: 4."], "4", {"5": 1, "4": 2}),
        (FREE, ["so Answer: 1,200", "Answer: 7", "Answer: 1200.0"], "1,200", {"1,200": 2, "7": 1}),
        (FREE, ["it is 7 ", "8"], "it is 7", {}),
        (FREE, ["well. Answer:", "8"], "", {}),
    ],
)
def test_the_most_frequent_answer_wins_the_first_of_equals_and_what_can_t_be_read_has_no_vote(
    task, written, answer, votes
):
    assert settle(task, written, usual="no") == (answer, votes)


def test_of_labels_that_end_at_one_place_the_longest_is_meant():
    task = make_task(labels=["entailment", "not entailment"], examples=[{"question": "x", "answer": "entailment"}])
    assert settle(task, ["this is not entailment"])[0] == "not entailment"
    assert settle(task, ["nothing"])[0] == "entailment", "the first label, where training tells of none"
