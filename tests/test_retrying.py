import json

import pytest

from rebase_hf.decisions import Decisions, runs_folder
from rebase_hf.errors import JournalError, RebaseError
from rebase_hf.estimate import estimate_run
from rebase_hf.pipeline import Run
from rebase_hf.plan import make_plan
from rebase_hf.retrying import Retried, retry_failed
from rebase_hf.teacher.journal import Journal
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
        assert retry_failed(plan) == Retried(again=failed)
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
        assert retry_failed(plan).again == sum(tally.quarantined.values()) > 0
        assert made(Run(plan)) == before
        # What was in flight beyond the last example may be more or less.
        assert Run(plan).tally().quarantined.keys() == tally.quarantined.keys()


def test_a_run_without_failures_is_left_as_it_is(home, triage, bank_index):
    with TGIServer(answer=desk_answer) as server:
        plan = make_plan(triage, bank_index, server.url, num_examples=10)
        made(Run(plan))
        assert retry_failed(plan) == Retried() and Run(plan).state().complete
        assert len(made(Run(plan))) == 10 and max(server.calls.values()) == 1


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


def first_row_only(broken):
    """Answer well but for the first row asked about, which is answered by `broken`, whatever is asked about it."""
    first = []

    def answer(request, call):
        prompt = request["messages"][0]["content"]
        first[:] = first or [prompt]
        return broken(request, call) if prompt == first[0] else desk_answer(request, call)

    return answer


def refusing(request, call):
    return status(422)


def without_json(request, call):
    return "no JSON here"


@pytest.mark.parametrize("broken", [refusing, without_json])
def test_what_another_run_has_had_answered_since_is_kept_and_used(home, triage, bank_index, broken):
    with TGIServer(answer=first_row_only(broken), enforce_schema=False) as server:
        small, large = (make_plan(triage, bank_index, server.url, num_examples=number) for number in (8, 12))
        for plan in (small, large):
            made(Run(plan))
            assert sum(Run(plan).tally().quarantined.values()) == 1
        server.answer = desk_answer
        sent = len(server.chat_requests)
        assert retry_failed(small) == Retried(again=1)
        made(Run(small))
        assert len(server.chat_requests) == sent + 1
        assert retry_failed(large) == Retried(meanwhile=1)
        assert len(made(Run(large))) == 12
        assert len(server.chat_requests) == sent + 1 and not Run(large).tally().quarantined


@pytest.mark.parametrize("broken", [failing, babbling])
def test_failures_of_another_run_are_asked_again_where_they_are_this_ones_too(home, triage, bank_index, broken):
    with TGIServer(answer=broken, enforce_schema=False) as server:
        before = make_plan(triage, bank_index, server.url, num_examples=40)
        made(Run(before))
        failed = sum(Run(before).tally().quarantined.values())
        assert failed
        server.answer = desk_answer
        calls, sent = dict(server.calls), len(server.chat_requests)
        plan = make_plan(triage, bank_index, server.url, num_examples=41)
        assert retry_failed(plan) == Retried(again=failed)
        assert len(made(Run(plan))) == 41 and not Run(plan).tally().quarantined
        again = [key for key, times in server.calls.items() if times > calls.get(key, 0)]
        assert len(server.chat_requests) - sent == len(again) <= failed + 1
        assert sum("parcel" not in key for key in again) <= 1  # the row that one example more takes


def test_a_run_that_only_began_anew_finds_its_failures(home, triage, bank_index):
    with TGIServer(answer=failing) as server:
        plan = make_plan(triage, bank_index, server.url, num_examples=40)
        made(Run(plan))
        failed = sum(Run(plan).tally().quarantined.values())
        decisions = Decisions.open(plan.run_id)
        decisions.forget()  # as far as a retry comes that is cut short
        decisions.close()
        assert retry_failed(plan) == Retried(again=failed)
        # Cut short behind that: all that failed is forgotten, and will be asked.
        assert retry_failed(plan) == Retried()
        server.answer = desk_answer
        assert len(made(Run(plan))) == 40 and not Run(plan).tally().quarantined


def test_what_was_never_asked_can_not_be_asked_again(home, triage, bank_index):
    with TGIServer(answer=desk_answer) as server:
        plan = make_plan(triage, bank_index, server.url, num_examples=10)
        alone = r"was never begun here, .* holds none of its questions .*No other run of task `desk` is known here\."
        with pytest.raises(RebaseError, match=alone):
            retry_failed(plan)
        assert [path.name for path in home.iterdir()] == ["endpoints.json"]
        made(Run(plan))
        edited = make_plan({**triage, "instruction": "Which desk?"}, bank_index, server.url, num_examples=10)
        nearest = rf"The nearest other run of task `desk` is {plan.run_id[:12]} \(by test/teacher, 10 examples, "
        for ask in (retry_failed, lambda plan: estimate_run(plan, retry_failed=True)):
            with pytest.raises(RebaseError, match=nearest):
                ask(edited)
        assert not Decisions.exist(edited.run_id) and len(server.chat_requests) == 10


def test_a_run_that_lost_its_journal_is_not_paid_for_again_but_stays_to_be_read(home, triage, bank_index):
    with TGIServer(answer=failing) as server:
        plan = make_plan(triage, bank_index, server.url, num_examples=40)
        before = made(Run(plan))
        (home / "journal.sqlite").unlink()
        with pytest.raises(RebaseError, match=r"lost its answers, and the journal holds none of its questions"):
            retry_failed(plan)
        assert made(Run(plan)) == before and max(server.calls.values()) == 1


def test_a_journal_that_can_not_be_opened_leaves_the_run_unled(home, triage, bank_index):
    with TGIServer(answer=failing) as server:
        plan = make_plan(triage, bank_index, server.url, num_examples=40)
        made(Run(plan))
    (home / "journal.sqlite").write_bytes(b"no journal")
    with pytest.raises(JournalError):
        retry_failed(plan)
    decisions = Decisions.peek(runs_folder() / f"{plan.run_id}.sqlite")
    decisions.lease().acquire(timeout=0)
    decisions.close()


def test_what_another_retry_forgot_is_not_counted_twice(home, triage, bank_index):
    with TGIServer(answer=failing) as server:
        plan = make_plan(triage, bank_index, server.url, num_examples=40)
        made(Run(plan))
        failed = [entry["key"] for entry in Run(plan).ledger() if entry["outcome"] == "quarantined"]
        journal = Journal.open()
        journal.forget(failed[:1])  # by another run's retry
        journal.close()
        assert retry_failed(plan) == Retried(again=len(failed) - 1, meanwhile=1)
