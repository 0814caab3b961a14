"""Evaluation sets that are named beside the task's own: kept out of retrieval and out of answers, part of a run."""

import json
import pickle

import pytest

from rebase_hf import Teacher
from rebase_hf.errors import TaskError
from rebase_hf.pipeline import Run, make_plan
from rebase_hf.quality.check_options import CheckOptions
from tests.doubles.task_answers import desk_answer
from tests.doubles.tgi_server import TGIServer

HELD = "The parcel with the blue lamp was left at the wrong door on Saturday."


@pytest.fixture
def held_out(tmp_path, bank_index):
    """A set with a question that stands in the bank, and one that an answer will give away."""
    row = next(row for row in bank_index.rows(range(len(bank_index))) if len(max(row.cells.values(), key=len)) > 40)
    path = tmp_path / "held.jsonl"
    rows = [{"question": max(row.cells.values(), key=len), "id": 1}, {"question": HELD, "id": 2}]
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return path, row


def test_a_named_set_is_kept_out_of_retrieval_and_of_answers(home, triage, bank_index, held_out):
    path, row = held_out
    answered = []

    def leaking(request, call):
        answered.append(desk_answer(request, call))
        return json.dumps({"message": f"Hello! {HELD}", "desk": "parcels"}) if len(answered) == 2 else answered[-1]

    with TGIServer(answer=leaking) as server:
        teacher = Teacher(server.url, max_concurrency=1)
        plan = make_plan(
            triage, bank_index, teacher, num_examples=5000, checks=CheckOptions(evaluation_sets=str(path))
        )
        run = Run(pickle.loads(pickle.dumps(plan)))  # noqa: S301 - as a worker process gets it
        examples = list(run.examples())
    assert examples and not any(HELD in example.fields["message"] for example in examples)
    ledger = [entry for entry in run.ledger() if entry["reason"] == "in_evaluation_set"]
    before = [entry for entry in ledger if entry["stage"] == "retrieval"]
    assert (row.dataset, row.row) in {(entry["source"]["dataset"], entry["source"]["row"]) for entry in before}
    assert [entry["stage"] for entry in ledger].count("checks") == 1


def test_a_run_is_of_what_its_sets_say_and_not_of_their_paths(home, triage, bank_index, held_out, tmp_path):
    path, _ = held_out

    def run_id(*sets):
        return make_plan(
            triage, bank_index, server.url, num_examples=5, checks=CheckOptions(evaluation_sets=sets)
        ).run_id

    with TGIServer() as server:
        first = run_id(str(path))
        copy = tmp_path / "copy.jsonl"
        copy.write_bytes(path.read_bytes())
        assert run_id(str(copy)) == first != run_id()
        copy.write_text(json.dumps({"question": HELD}))
        assert run_id(str(copy)) != first


def test_a_set_that_can_not_be_read_is_said_before_anything_is_asked(home, triage, bank_index, tmp_path):
    with TGIServer() as server:
        for name, said in (("none.jsonl", "does not exist"), ("broken.jsonl", "is not JSON")):
            (tmp_path / "broken.jsonl").write_text("{")
            with pytest.raises(TaskError, match=said):
                make_plan(triage, bank_index, server.url, checks=CheckOptions(evaluation_sets=str(tmp_path / name)))
        assert server.chat_requests == []
