"""What a run's report and card say of the evaluation sets that its rows were kept apart from."""

import json

import pytest

from rebase_hf import Teacher
from rebase_hf.pipeline import Run, make_plan
from rebase_hf.publish.contamination_findings import NOT_RECORDED, NOTHING, OFF, contamination
from rebase_hf.run_report import run_report
from tests.doubles.task_answers import desk_answer
from tests.doubles.tgi_server import TGIServer
from tests.doubles.written_answers import write_as_asked

HELD = "The parcel with the blue lamp was left at the wrong door on Saturday."
WORDS = {"words_in_a_row": 13, "own_words": 8, "short_texts_from": 20}


@pytest.fixture
def held(tmp_path, triage, bank_index):
    """The task with an evaluation row that an answer gives away, and a set of a text that stands in the bank."""
    (tmp_path / "eval.jsonl").write_text(json.dumps({"message": HELD, "desk": "parcels"}) + "\n")
    text = next(t for row in bank_index.rows(range(50)) for t in row.cells.values() if len(t.split()) > 15)
    (tmp_path / "more.jsonl").write_text(f"{json.dumps({'question': text})}\n{json.dumps({'question': 'Why?'})}\n")
    return triage | {"evaluation": {"path": str(tmp_path / "eval.jsonl")}}, str(tmp_path / "more.jsonl")


def leaking():
    answered = []

    def answer(request, call):
        answered.append(desk_answer(request, call))
        return json.dumps({"message": f"Hello! {HELD}", "desk": "parcels"}) if len(answered) == 2 else answered[-1]

    return answer


def reported(task, index, *, answer=None, num_examples=30, **settings):
    with TGIServer(answer=answer or leaking()) as server:
        run = Run(
            make_plan(task, index, Teacher(server.url, max_concurrency=1), num_examples=num_examples, **settings)
        )
        list(run.execute())
        run.finish()
        return run_report(run, command="test", num_validation=0)


def test_report_and_card_say_what_was_checked_how_and_how_many_went(home, held, bank_index):
    task, more = held
    report = reported(task, bank_index, num_examples=5000, checks={"evaluation_sets": more})
    found = report["contamination"]
    assert found["sets"] == [{"name": "eval.jsonl", "rows": 1}, {"name": "more.jsonl", "rows": 2}]
    assert found["before_asking"] == {"of": "retrieved rows", **WORDS, "similarity": 0.95}
    assert found["outputs"] == {**WORDS, "near_duplicate": 0.6, "similarity": None}
    left, dropped = report["dropped_before"]["in_evaluation_set"], report["dropped"]["in_evaluation_set"]
    assert left >= 1 and dropped == 1
    said = contamination(report)
    assert said[0].startswith("Checked against eval.jsonl (1 rows); more.jsonl (2 rows). ")
    assert "(13-gram), 8 of them not such as many of them" in said[0]
    assert said[1].endswith(f"left out before anything was asked: {left}.") and "cosine of 0.95" in said[1]
    assert said[2].endswith("word 3-grams from 0.6), dropped: 1.")


def test_without_an_evaluation_set_it_is_said_that_nothing_was_checked(home, triage, bank_index):
    report = reported(triage, bank_index)
    assert report["contamination"]["sets"] == []
    assert contamination(report)[0] == NOTHING
    assert contamination({"contamination": None}) == [NOT_RECORDED]


def test_a_check_that_is_off_is_said_to_be(home, held, bank_index):
    task, _ = held
    report = reported(task, bank_index, options={"guard_evaluation": False}, checks={"guard_evaluation": False})
    assert report["contamination"]["outputs"] is report["contamination"]["before_asking"] is None
    said = contamination(report)
    assert f"Retrieved rows: {OFF}" in said and f"Outputs: {OFF}" in said
    assert "13" not in said[0]


def test_of_a_method_that_retrieves_nothing_only_outputs_are_told(home, held):
    report = reported(held[0], None, answer=write_as_asked, method="fewgen", num_examples=6)
    assert report["contamination"]["before_asking"] is None and not report["contamination"]["own_family"]
    said = contamination(report)
    assert not any("etrieved" in line for line in said) and said[1].startswith("Outputs that overlap")


@pytest.mark.parametrize("near", [None, 0.99])
def test_a_similarity_that_the_whole_set_is_held_to_is_told(home, held, bank_index, near):
    report = reported(held[0], bank_index, checks={"similar_to_evaluation": near})
    assert any("a cosine of 0.99" in line for line in contamination(report)) == (near is not None)
