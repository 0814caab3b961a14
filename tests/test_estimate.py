import json

import pytest

from benchmarks.loopback_server import serving
from rebase_hf import Task, Teacher
from rebase_hf.cli.planning import estimate_lines
from rebase_hf.estimate import estimate_run
from rebase_hf.pipeline import Run
from rebase_hf.plan import make_plan
from rebase_hf.retrying import retry_failed
from tests.conftest import EXAMPLES
from tests.doubles.task_answers import desk_answer, in_the_form_asked_for, shown_row
from tests.doubles.tgi_server import TGIServer, status

FIGURES = ("requests", "prompt_tokens", "completion_tokens")
PRICE = (0.5, 2.0)


def executed(server, plan):
    """Estimate a plan, execute it, and return the estimate and what the server counted meanwhile."""
    before = server.stats()
    estimate = estimate_run(plan)
    assert server.stats() == before
    list(Run(plan).execute())
    after = server.stats()
    return estimate, {name: after[name] - before[name] for name in FIGURES}


def assert_within_a_fifth(estimate, counted):
    for name in FIGURES:
        assert counted[name] * 0.8 <= getattr(estimate, name) <= counted[name] * 1.2, (name, counted, estimate)
    cost = (counted["prompt_tokens"] * PRICE[0] + counted["completion_tokens"] * PRICE[1]) / 1e6
    assert cost * 0.8 <= estimate.cost <= cost * 1.2


def edited(task):
    changed = task.to_dict()
    name = next(iter(changed["labels"]))
    changed["labels"] = changed["labels"] | {name: changed["labels"][name] + ", of any kind"}
    return Task.load(changed)


@pytest.mark.parametrize("num_examples", [40, 110])
def test_it_is_within_a_fifth_of_what_the_server_counts(home, bank_index, num_examples):
    task = Task.load(EXAMPLES / "support-triage")
    with serving() as server:
        teacher = Teacher(server.url, price_per_million=PRICE)

        def plan(task, number):
            return make_plan(task, bank_index, teacher, num_examples=number)

        fresh, counted = executed(server, plan(task, num_examples))
        assert_within_a_fifth(fresh, counted)
        assert fresh.answered == 0 and "assumed" in fresh.passing_from and fresh.changed is None

        half, counted = executed(server, plan(task, 2 * num_examples))
        assert_within_a_fifth(half, counted)
        assert half.answered == half.have == num_examples and half.changed is None
        assert "earlier prompts" in half.prompts_from and "earlier answers" in half.answers_from

        after_edit, counted = executed(server, plan(edited(task), num_examples))
        assert_within_a_fifth(after_edit, counted)
        assert after_edit.answered == 0
        assert f"0 of the first {num_examples}" in after_edit.changed and "label phrases" in after_edit.changed


@pytest.mark.parametrize("every", [3, 6])
def test_answers_that_do_not_pass_and_those_to_be_repaired_are_reckoned_with(home, triage, bank_index, every):
    def uneven(request, call):
        text = max(shown_row(request).values(), key=len)
        if len(text) % every == 0 and len(request["messages"]) == 1:
            return "no JSON here"
        answer = json.loads(desk_answer(request, call))
        return json.dumps(answer | ({"desk": "complaints"} if len(text) % every == 1 else {}))

    with TGIServer(answer=uneven, enforce_schema=False) as server:
        list(Run(make_plan(triage, bank_index, server.url, num_examples=60)).execute())
        before = len(server.chat_requests)
        plan = make_plan(triage, bank_index, server.url, num_examples=160)
        estimate = estimate_run(plan)
        assert len(server.chat_requests) == before
        list(Run(plan).execute())
        sent = len(server.chat_requests) - before
    assert 0.8 * sent <= estimate.requests <= 1.2 * sent
    assert estimate.repairs > 0 and estimate.passing < 0.95


def files_of(folder):
    # But for the index that SQLite itself keeps beside a file while it is read.
    own = ("-shm", "-wal")
    return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file() and not p.name.endswith(own)}


def test_it_writes_nothing(home, triage, bank_index):
    with TGIServer(answer=desk_answer) as server:
        plan = make_plan(triage, bank_index, server.url, num_examples=10)
        assert list(files_of(home)) == ["endpoints.json"]  # the server was asked which model it serves
        known = files_of(home)
        assert estimate_run(plan).requests > 0
        assert files_of(home) == known and not server.chat_requests
        list(Run(plan).execute())
        known = files_of(home)
        assert estimate_run(make_plan(triage, bank_index, server.url, num_examples=20)).answered == 10
        assert files_of(home) == known and len(server.chat_requests) == 10


def test_a_finished_run_would_ask_nothing_even_without_a_journal(home, triage, bank_index):
    with TGIServer(answer=desk_answer) as server:
        plan = make_plan(triage, bank_index, server.url, num_examples=10)
        list(Run(plan).execute())
        (home / "journal.sqlite").unlink()
        estimate = estimate_run(plan)
    assert estimate.finished and estimate.requests == 0
    assert "nothing would be asked" in "\n".join(estimate_lines(estimate))


def test_the_server_counts_the_tokens_where_it_can(home, triage, bank_index):
    with TGIServer(answer=desk_answer) as server:
        estimate = estimate_run(make_plan(triage, bank_index, server.url, num_examples=50))
        assert "the server's count of 20 of the prompts" in estimate.prompts_from
        assert sum(request.path == "/chat_tokenize" for request in server.requests) == 20


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ({"max_requests": 30}, "max_requests=30"),
        ({"max_tokens_total": 12_000}, "max_tokens_total=12000"),
        ({"max_cost": 0.01, "price_per_million": (1.0, 1.0)}, "max_cost=0.01"),
        ({"max_requests": 60, "max_tokens_total": 12_000}, "max_tokens_total=12000"),
    ],
)
def test_a_limit_that_would_stop_the_run_is_named_with_how_far_it_gets(home, triage, bank_index, limits, named):
    with TGIServer(answer=desk_answer) as server:
        plan = make_plan(triage, bank_index, Teacher(server.url, **limits), num_examples=100)
        estimate = estimate_run(plan)
        assert estimate.stops.startswith(f"{named} would stop it after about ")
        list(Run(plan).execute())
        reached = Run(plan).tally().examples
    expected = int(estimate.stops.split("with about ")[1].split()[0])
    assert 0.7 * reached <= expected <= 1.3 * reached and reached < 100


def test_a_limit_that_is_not_reached_is_not_spoken_of(home, triage, bank_index):
    with TGIServer(answer=desk_answer) as server:
        plan = make_plan(triage, bank_index, Teacher(server.url, max_requests=1000), num_examples=20)
        assert estimate_run(plan).stops is None


def test_what_failed_is_counted_when_it_is_to_be_asked_again(home, triage, bank_index):
    def failing(request, call):
        return status(422) if "parcel" in json.dumps(shown_row(request)) else desk_answer(request, call)

    with TGIServer(answer=failing) as server:
        plan = make_plan(triage, bank_index, server.url, num_examples=15)
        list(Run(plan).execute())
        failed = sum(Run(plan).tally().quarantined.values())
        assert estimate_run(plan).requests == 0
        # Some of those that failed rank before the last example; the walk ends where there are enough.
        assert 0 < estimate_run(plan, retry_failed=True).requests <= failed
        retry_failed(plan)
        assert 0 < estimate_run(plan).requests <= failed


def test_fewer_rows_than_needed_are_told(home, triage, bank_index):
    with TGIServer(answer=desk_answer) as server:
        estimate = estimate_run(make_plan(triage, bank_index, server.url, num_examples=3000))
    assert estimate.examples < 3000 and estimate.rows <= len(bank_index)


def test_the_few_shot_teacher_costs_nothing(home, model_index):
    plan = make_plan(EXAMPLES / "support-triage", model_index, "few-shot", num_examples=10)
    estimate = estimate_run(plan)
    assert estimate.is_free and estimate.requests == 0 and estimate.rows > 10
    assert "for nothing" in "\n".join(estimate_lines(estimate))


@pytest.mark.parametrize("name", ["date-finder", "support-triage"])
def test_every_kind_of_task_is_estimated(home, bank_index, name):
    with TGIServer(answer=in_the_form_asked_for) as server:
        plan = make_plan(EXAMPLES / name, bank_index, server.url, num_examples=40)
        estimate = estimate_run(plan)
        list(Run(plan).execute())
        sent = len(server.chat_requests)
    assert 0.75 * sent <= estimate.requests <= 1.25 * sent
