import json

import pytest

from rebase_hf.errors import NoExamplesError, TaskError
from rebase_hf.pipeline import Run
from rebase_hf.plan import make_plan
from rebase_hf.quality.answers import answer_key, same_answer
from rebase_hf.quality.consistency import DRAWS, inconsistent, vote
from rebase_hf.task import Task
from tests.doubles.blind_answers import shown_input
from tests.doubles.tgi_server import TGIServer
from tests.doubles.written_answers import write_as_asked

SUMS = Task.load({"name": "sums", "instruction": "Add.", "examples": [{"input": "1 + 1", "output": "2"}]})
TRIAGE = Task.load(
    {
        "name": "triage",
        "instruction": "Decide.",
        "labels": ["billing", "delivery"],
        "examples": [{"input": "charged twice", "output": "billing"}],
    }
)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("12", "12.0", True),
        ("1,200", "1200", True),
        ("1,5", "1.50", True),
        ("$5", "5.", True),
        ("−3", "-3", True),
        ("-3", "3", False),
        ("-0", "0", True),
        ("100", "1e2", False),
        ("50 %", "50%", True),
        ("50%", "50", False),
        ("3.5", "35", False),
        ("at nine", "At nine.", True),
        ("the Bank of America", "Bank of America", True),
        ("at nine", "at ten", False),
        ("the", "a", False),
        ("?", "!", False),
    ],
)
def test_answers_are_compared_as_numbers_or_as_squad_compares_texts(first, second, same):
    assert same_answer(SUMS, first, second) is same
    assert same_answer(SUMS, second, first) is same


def test_labels_are_compared_in_the_tasks_spelling():
    assert same_answer(TRIAGE, "billing", ' "Billing".')
    assert not same_answer(TRIAGE, "billing", "the billing")
    assert answer_key(TRIAGE, "BILLING") == "billing"


def test_most_answers_win_and_the_first_of_them_is_kept_as_it_is_spelt():
    found = vote(SUMS, ["7", "12.0", None, "12", "$12"])
    assert (found.answer, found.places, found.asked, found.share) == ("12.0", (1, 3, 4), 5, 0.6)


def test_of_as_many_votes_the_first_given_wins():
    assert vote(SUMS, ["3", "4", "4", "3"]).answer == "3"
    assert vote(SUMS, [None, "4", "3"]).answer == "4"


def test_no_answer_that_can_be_read_is_no_answer():
    assert vote(SUMS, [None, None]).answer is None and vote(SUMS, [None, None]).share == 0.0
    assert vote(SUMS, []).share == 0.0
    assert inconsistent(SUMS, [None, None], least=0.0) == (
        "inconsistent_answers",
        "none could be read; 0% must agree",
    )


def test_what_does_not_agree_is_refused():
    answers = ["12", "12", "12", "7", "8"]
    assert inconsistent(SUMS, answers) is None
    assert inconsistent(SUMS, ["12", "12", "7", None, "8"]) == (
        "inconsistent_answers",
        "2 of 5 are `12`; 60% must agree",
    )
    assert inconsistent(SUMS, answers, least=0.8) is not None
    with pytest.raises(ValueError, match="least is 60; expected a share"):
        inconsistent(SUMS, answers, least=60)


# --- a whole run

REASONED = {
    "name": "triage",
    "instruction": "Decide.",
    "labels": ["billing", "delivery"],
    "examples": [
        {"input": "i was charged twice", "rationale": "a charge is about money", "output": "billing"},
        {"input": "my parcel is late", "rationale": "a parcel is delivered", "output": "delivery"},
    ],
}


@pytest.mark.parametrize(
    ("right", "least", "kept"), [(5, 0.6, True), (3, 0.6, True), (3, 0.8, False), (2, 0.4, False), (0, 0.6, False)]
)
def test_an_output_stays_where_reasoning_anew_agrees_on_it(home, right, least, kept):
    """Blind, and five times; what most come to must be the output, whatever the share asked for."""

    def answering(request, call):
        if (shown := shown_input(request)) is None:
            return write_as_asked(request, call)
        label = shown["input"].split()[0]
        draws.setdefault(shown["input"], []).append(request["seed"])
        other = {"billing": "delivery", "delivery": "billing"}[label]
        said = label if len(draws[shown["input"]]) <= right else other
        return json.dumps({"rationale": "so it is", "output": said})

    draws: dict[str, list[int]] = {}
    with TGIServer(answer=answering) as server:
        asked = {"method": "fewgen", "num_examples": 2, "options": {"patience": 1}}
        run = Run(make_plan(REASONED, None, server.url, checks={"consistent": least}, **asked))
        if kept:
            assert len(list(run.examples())) == 2
        else:
            with pytest.raises(NoExamplesError, match="2 inconsistent_answers"):
                list(run.examples())
            assert all("asked anew" in e["detail"] or "must agree" in e["detail"] for e in run.ledger())
    assert all(len(set(seeds)) == DRAWS for seeds in draws.values()) and draws


def test_where_nothing_reasons_it_is_refused(home):
    bare = REASONED | {"examples": [{k: v for k, v in e.items() if k != "rationale"} for e in REASONED["examples"]]}
    with TGIServer() as server:
        for task, teacher, said in ((bare, server.url, "have no rationales"), (REASONED, "few-shot", "not reason")):
            with pytest.raises(TaskError, match=said):
                make_plan(task, None, teacher, method="rebase", checks={"consistent": 0.6})
        with pytest.raises(TaskError, match="consistent is 1.5"):
            make_plan(REASONED, None, server.url, method="fewgen", checks={"consistent": 1.5})
