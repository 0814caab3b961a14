import json

import pytest

from rebase_hf.decisions import Decisions
from rebase_hf.errors import JournalError
from rebase_hf.pipeline import Run
from rebase_hf.plan import make_plan
from rebase_hf.retrying import retry_failed
from tests.doubles.task_answers import desk_answer, shown_row
from tests.doubles.tgi_server import TGIServer, status


def made(run):
    return [example.to_record() for example in run.examples()]


def about_parcels(request):
    return "parcel" in json.dumps(shown_row(request))


def failing(request, call):
    return status(422) if about_parcels(request) else desk_answer(request, call)


def babbling(request, call):
    return "no JSON here" if about_parcels(request) else desk_answer(request, call)


@pytest.mark.parametrize("broken", [failing, babbling])
def test_only_what_failed_is_asked_again_and_the_rest_comes_from_the_journal(
    home, triage, bank_index, tmp_path, monkeypatch, broken
):
    with TGIServer(answer=broken, enforce_schema=False) as server:
        plan = make_plan(triage, bank_index, server.url, num_examples=40)
        before = made(Run(plan))
        failed = sum(Run(plan).tally().quarantined.values())
        assert failed and len(before) == 40
        calls = dict(server.calls)
        server.answer = desk_answer
        assert retry_failed(plan) == failed
        assert Run(plan).tally().outputs == 0
        after = made(Run(plan))
        again = {key: times - calls.get(key, 0) for key, times in server.calls.items() if times > calls.get(key, 0)}
        assert all("parcel" in key for key in again) and len(again) <= failed and max(again.values()) == 1
        tally = Run(plan).tally()
        assert tally.outputs == tally.examples + sum(tally.dropped.values()) + sum(tally.quarantined.values())
        assert tally.retrieved == tally.asked + sum(tally.dropped_before.values())
        assert not tally.quarantined and len(after) == 40
        monkeypatch.setenv("REBASE_HOME", str(tmp_path / "undisturbed"))
        assert made(Run(make_plan(triage, bank_index, server.url, num_examples=40))) == after


def test_what_fails_again_is_quarantined_again(home, triage, bank_index):
    with TGIServer(answer=failing) as server:
        plan = make_plan(triage, bank_index, server.url, num_examples=20)
        before = made(Run(plan))
        tally = Run(plan).tally()
        assert retry_failed(plan) == sum(tally.quarantined.values()) > 0
        assert made(Run(plan)) == before
        # What was in flight beyond the last example may be more or less.
        assert Run(plan).tally().quarantined.keys() == tally.quarantined.keys()


def test_a_run_without_failures_is_left_as_it_is(home, triage, bank_index):
    with TGIServer(answer=desk_answer) as server:
        plan = make_plan(triage, bank_index, server.url, num_examples=10)
        assert retry_failed(plan) == 0  # not even begun
        made(Run(plan))
        assert retry_failed(plan) == 0 and Run(plan).state().complete


def test_who_leads_the_run_is_named_and_nothing_is_forgotten(home, triage, bank_index):
    with TGIServer(answer=failing) as server:
        plan = make_plan(triage, bank_index, server.url, num_examples=10)
        made(Run(plan))
        decisions = Decisions.open(plan.run_id)
        led = pytest.raises(JournalError, match=r"is led by process \d+ on .*run the same command again")
        with decisions.lease(), led:
            retry_failed(plan)
        decisions.close()
        assert Run(plan).state().complete
