import json
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pytest

from rebase_hf.errors import TaskError
from rebase_hf.outcomes import Tally
from rebase_hf.quality.check_options import CheckOptions
from rebase_hf.quality.contamination import EvaluationGuard
from rebase_hf.quality.whole_set import Verdict, check_whole_set, whole_set_steps
from rebase_hf.rows import Example
from rebase_hf.task import Task

TASK = Task.load(
    {
        "name": "triage",
        "instruction": "Decide.",
        "labels": ["billing", "delivery"],
        "examples": [{"input": "I was charged twice.", "output": "billing"}],
    }
)
MEANINGS = ("charge", "parcel", "invoice", "password", "held")


class TopicEncoder:
    """Texts about the same thing mean the same."""

    name, dimension = "topic", 8

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        places = [next((i for i, word in enumerate(MEANINGS) if word in text), 5) for text in texts]
        return np.eye(8, dtype=np.float32)[places]


def example(text: str, label: str = "billing", number: int = 0) -> Example:
    return Example({"input": text, "output": label}, None, {"prompt_id": f"key{number}"})


ROWS = [
    example("Two charges for one order.", number=0),
    example("Where is my parcel?", "delivery", 1),
    example("The parcel is late.", "delivery", 2),
    example("An invoice without a sum.", number=3),
    example("The invoice is wrong.", number=4),
    example("A new password, please.", number=5),
    example("A text that is held out.", number=6),
]


def test_nothing_is_dropped_by_default():
    checked = check_whole_set(TASK, ROWS, CheckOptions())
    assert list(checked.kept) == ROWS and checked.places == tuple(range(7)) and checked.dropped == {}
    assert all(step.idle == "it is off" for step in whole_set_steps(TASK, CheckOptions()))


def test_rows_and_examples_in_other_words_go_and_the_first_stays():
    checked = check_whole_set(TASK, ROWS, CheckOptions(semantic_duplicates=0.95), encoder=TopicEncoder())
    assert {place: drop.reason for place, drop in checked.dropped.items()} == {
        0: "semantic_copy",
        2: "semantic_duplicate",
        4: "semantic_duplicate",
    }
    assert checked.dropped[0].detail == "says what example 1 of the task says, in other words (similarity 1.000)"
    assert checked.dropped[4].detail == "says what row 3 says, in other words (similarity 1.000)"
    assert checked.dropped[4].key == "key4" and checked.dropped[4].stage == "checks"


def test_another_output_or_another_number_is_something_else():
    rows = [
        example("The parcel came on day 3.", "delivery"),
        example("On day 3 the parcel came.", "billing"),
        example("The parcel came on day 4.", "delivery"),
        example("On day 3 came the parcel.", "delivery"),
        example("Day 3: I was charged.", "billing"),
    ]
    checked = check_whole_set(TASK, rows, CheckOptions(semantic_duplicates=0.95), encoder=TopicEncoder())
    assert list(checked.dropped) == [3]
    assert checked.dropped[3].detail == "says what row 0 says, in other words (similarity 1.000)"


def test_short_outputs_must_be_the_same_and_long_ones_need_not():
    task = Task.load({"name": "sums", "instruction": "Answer.", "examples": [{"input": "1 + 1?", "output": "2"}]})
    rows = [
        {"input": "How many invoices are there?", "output": "Three."},
        {"input": "Say how many invoices there are.", "output": "four"},
        {"input": "There are how many invoices?", "output": "three"},
        {"input": "Tell me of the parcel.", "output": "It left the store on Monday, and came on Friday."},
        {"input": "What of the parcel?", "output": "On Monday it left the store; it came on Friday."},
    ]
    checked = check_whole_set(task, rows, CheckOptions(semantic_duplicates=0.95), encoder=TopicEncoder())
    assert list(checked.dropped) == [2, 4]


def test_rows_near_the_evaluation_set_go():
    guard = EvaluationGuard(TASK, [{"input": "What is held here is kept apart.", "output": "billing"}])
    options = CheckOptions(similar_to_evaluation=0.9)
    checked = check_whole_set(TASK, ROWS, options, guard=guard, encoder=TopicEncoder())
    assert {place: drop.reason for place, drop in checked.dropped.items()} == {6: "near_evaluation_set"}
    assert "What is held here" in checked.dropped[6].detail
    nothing = check_whole_set(TASK, ROWS, options, guard=EvaluationGuard(TASK, []), encoder=TopicEncoder())
    assert nothing.dropped == {}


def test_balance_looks_at_what_the_checks_before_it_left():
    options = CheckOptions(semantic_duplicates=0.95, balance=True)
    checked = check_whole_set(TASK, ROWS, options, encoder=TopicEncoder(), seed=3)
    assert sorted(row.fields["output"] for row in checked.kept) == ["billing", "delivery"]
    assert sum(drop.reason == "label_surplus" for drop in checked.dropped.values()) == 2
    again = check_whole_set(TASK, ROWS, options, encoder=TopicEncoder(), seed=3)
    assert again == checked


def test_a_given_distribution_is_cut_to():
    checked = check_whole_set(TASK, ROWS, CheckOptions(balance={"billing": 2, "delivery": 1}))
    assert len(checked.kept) == 6 and {drop.reason for drop in checked.dropped.values()} == {"label_surplus"}
    with pytest.raises(TaskError, match="no row has `delivery`"):
        check_whole_set(TASK, ROWS[3:], CheckOptions(balance={"delivery": 1}))


def test_what_others_say_of_the_set_comes_first():
    easy = Verdict("hard_to_learn", [True] * 6 + [False], [f"confidence {i / 10}" for i in range(7)])
    unanswerable = Verdict("not_answerable", [False, *[True] * 5, False])
    options = CheckOptions(semantic_duplicates=0.95)
    checked = check_whole_set(TASK, ROWS, options, encoder=TopicEncoder(), verdicts=[easy, unanswerable])
    assert checked.dropped[6].reason == "hard_to_learn" and checked.dropped[6].detail == "confidence 0.6"
    assert checked.dropped[0].reason == "not_answerable"
    assert checked.places == (1, 3, 5)
    steps = whole_set_steps(TASK, options, ["hard_to_learn", "not_answerable"])
    assert [step.name for step in steps if step.idle is None] == [
        "hard_to_learn", "not_answerable", "semantic_copy or semantic_duplicate",
    ]  # fmt: skip


def test_every_row_is_kept_or_dropped_so_that_the_counts_add_up():
    options = CheckOptions(semantic_duplicates=0.95, balance=True)
    verdict = Verdict("hard_to_learn", [i != 5 for i in range(7)])
    checked = check_whole_set(TASK, ROWS, options, encoder=TopicEncoder(), verdicts=[verdict])
    assert sorted([*checked.places, *checked.dropped]) == list(range(7))
    before = Tally(asked=9, outputs=9, examples=7, dropped={"duplicate_output": 2})
    dropped = [*before.dropped.values(), len(checked.dropped)]
    assert before.outputs == len(checked.kept) + sum(dropped) + sum(before.quarantined.values())


def test_rows_may_be_given_as_their_fields():
    checked = check_whole_set(TASK, [row.fields for row in ROWS], CheckOptions(balance=True))
    assert len(checked.kept) == 4 and checked.kept[0].fields in [row.fields for row in ROWS]
    assert checked.dropped[min(checked.dropped)].key is None


@pytest.mark.parametrize(
    ("options", "verdicts", "match"),
    [
        (CheckOptions(semantic_duplicates=0.9), [], r"semantic_duplicates=0\.9 needs an encoder"),
        (CheckOptions(similar_to_evaluation=0.9), [], "needs the evaluation guard and an encoder"),
        (CheckOptions(), [Verdict("hard", [True])], "Verdict `hard` is of 1 rows with 0 details; the set has 7"),
        (CheckOptions(), [Verdict("hard", [True] * 7, ["x"])], "with 1 details"),
    ],
)
def test_what_is_missing_is_named(options, verdicts, match):
    with pytest.raises(ValueError, match=match):
        check_whole_set(TASK, ROWS, options, verdicts=verdicts)


def test_options_go_into_a_report_and_come_back():
    options = CheckOptions(evaluation_sets=("org/set", "rows.jsonl"), balance={"billing": 0.5, "delivery": 0.5})
    assert CheckOptions(**json.loads(json.dumps(asdict(options)))) == options
    assert CheckOptions(evaluation_sets="org/set").evaluation_sets == ("org/set",)
