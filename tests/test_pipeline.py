import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path

import pytest

from rebase_hf import Teacher, generate
from rebase_hf.decisions import runs_folder
from rebase_hf.errors import JournalError, NoExamplesError, RowIndexError, TaskError, TeacherError, TeacherRefused
from rebase_hf.pipeline import Run, held_out, make_plan
from rebase_hf.quality.check_options import CheckOptions
from tests.doubles.task_answers import desk_answer, in_the_form_asked_for, shown_row
from tests.doubles.tgi_server import TGIServer, status

ROOT = Path(__file__).parent.parent


def records(examples):
    return [example.to_record() for example in examples]


def counts_add_up(run: Run) -> bool:
    tally = run.tally()
    return tally.outputs == tally.examples + sum(tally.dropped.values()) + sum(tally.quarantined.values())


def test_generate_gives_exactly_n_examples_with_their_provenance(home, triage, bank_index):
    with TGIServer(answer=desk_answer) as server:
        examples = list(generate(triage, bank_index, server.url, num_examples=25))
    assert len(examples) == 25
    for example in examples:
        assert set(example.fields) == {"message", "desk"}
        row = example.provenance
        assert row["dataset"] in {source.dataset for source in bank_index.sources}
        assert row["license"] and row["revision"] and row["split"] == "train" and row["method"] == "rebase"
        assert row["teacher"].startswith("test/teacher")
        assert example.sources[0]["row"] == row["row"] and example.sources[0]["role"] == "context"


def test_every_example_comes_from_the_row_that_its_provenance_names(home, triage, bank_index):
    by_address = {(r.dataset, r.row): r for r in bank_index.rows(range(len(bank_index)))}
    with TGIServer(answer=desk_answer) as server:
        for example in generate(triage, bank_index, server.url, num_examples=20):
            row = by_address[example.provenance["dataset"], example.provenance["row"]]
            assert example.fields["message"] == max(row.cells.values(), key=len).strip()


def test_a_second_call_asks_nothing_and_gives_the_same(home, triage, bank_index):
    with TGIServer(answer=desk_answer) as server:
        first = records(generate(triage, bank_index, server.url, num_examples=20))
        asked = len(server.chat_requests)
        assert records(generate(triage, bank_index, server.url, num_examples=20)) == first
        assert len(server.chat_requests) == asked


def test_address_key_and_concurrency_do_not_change_a_run_but_model_and_task_do(home, triage, bank_index, monkeypatch):
    monkeypatch.setenv("DESK_KEY", "sk-canary")

    def run_id(task=triage, **settings):
        return make_plan(task, bank_index, Teacher(settings.pop("url"), **settings), num_examples=5).run_id

    with TGIServer() as one, TGIServer() as two, TGIServer(model_id="other/teacher") as other:
        first = run_id(url=one.url)
        assert run_id(url=two.url, api_key_env="DESK_KEY", max_concurrency=3) == first
        assert run_id(url=other.url) != first
        assert run_id(url=one.url, temperature=0.1) != first
        assert run_id(task={**triage, "instruction": "Name the desk."}, url=one.url) != first


@pytest.mark.parametrize("concurrency", [1, 7, 64])
def test_concurrency_and_the_order_of_answers_do_not_change_the_dataset(
    tmp_path, triage, bank_index, monkeypatch, concurrency
):
    def uneven(request, call):
        time.sleep(len(shown_row(request)) % 3 / 200)
        return desk_answer(request, call)

    datasets = []
    for home, most in (("a", 16), ("b", concurrency)):
        monkeypatch.setenv("REBASE_HOME", str(tmp_path / home))
        with TGIServer(answer=uneven) as server:
            teacher = Teacher(server.url, max_concurrency=most)
            datasets.append(records(generate(triage, bank_index, teacher, num_examples=40)))
    assert json.dumps(datasets[0]) == json.dumps(datasets[1])


def test_few_answers_are_bought_beyond_those_needed(home, triage, bank_index):
    with TGIServer(answer=desk_answer, latency=0.05) as server:
        run = Run(make_plan(triage, bank_index, server.url, num_examples=10))
        assert len(list(run.examples())) == 10
        assert len(server.chat_requests) <= 14


def test_candidates_that_run_out_end_the_run_with_a_statement_why(home, triage, bank_index, caplog):
    with TGIServer(answer=desk_answer) as server:
        run = Run(make_plan(triage, bank_index, server.url, num_examples=5000))
        examples = list(run.examples())
    tally = run.tally()
    assert 0 < len(examples) < 5000
    assert tally.retrieved == len(bank_index) == tally.asked + sum(tally.dropped_before.values())
    assert counts_add_up(run)
    assert run.state().complete and run.state().stopped == "candidates_ran_out"
    assert f"{len(examples)} of 5,000 examples" in run.statement() in caplog.text


def test_a_budget_stops_the_run_and_a_larger_one_goes_on_from_there(home, triage, bank_index):
    with TGIServer(answer=desk_answer) as server:
        small = make_plan(triage, bank_index, Teacher(server.url, max_requests=12), num_examples=30)
        first = records(Run(small).examples())
        assert 0 < len(first) <= 12 and len(server.chat_requests) == 12
        assert Run(small).state().stopped == "budget_reached" and "budget" in Run(small).statement()
        whole = records(generate(triage, bank_index, server.url, num_examples=30))
        assert len(whole) == 30 and whole[: len(first)] == first
        assert max(server.calls.values()) == 1


def test_unreadable_answers_are_repaired_once_and_then_quarantined(home, triage, bank_index):
    def stubborn(request, call):
        return "no JSON here" if "receipt" in json.dumps(shown_row(request)) else desk_answer(request, call)

    def mended(request, call):
        return "no JSON here" if len(request["messages"]) == 1 else desk_answer(request, call)

    with TGIServer(answer=stubborn, enforce_schema=False) as server:
        run = Run(make_plan(triage, bank_index, server.url, num_examples=300))
        list(run.examples())
        held = sum("receipt" in json.dumps(shown_row(r)) for r in server.chat_requests if len(r["messages"]) == 1)
        assert held and run.tally().quarantined == {"unparsable_answer": held}
        assert counts_add_up(run)
        entry = next(entry for entry in run.ledger() if entry["outcome"] == "quarantined")
        assert entry["reason"] == "unparsable_answer" and entry["attempts"] == 2 and entry["text"] == "no JSON here"
        assert entry["source"]["dataset"]
    with TGIServer(answer=mended, enforce_schema=False, model_id="mending/teacher") as server:
        assert len(list(generate(triage, bank_index, server.url, num_examples=10))) == 10


def test_labels_outside_the_task_and_copies_are_dropped_and_counted(home, triage, bank_index):
    def careless(request, call):
        answer = json.loads(desk_answer(request, call))
        if len(answer["message"]) % 3 == 0:
            answer["desk"] = "complaints"
        elif len(answer["message"]) % 3 == 1:
            answer["message"] = "I was charged twice for one order!"
        return json.dumps(answer)

    with TGIServer(answer=careless, enforce_schema=False) as server:
        run = Run(make_plan(triage, bank_index, server.url, num_examples=20))
        examples = list(run.examples())
    assert all(example.fields["desk"] in triage["labels"] for example in examples)
    assert set(run.tally().dropped) >= {"label_not_in_task", "few_shot_copy"}
    assert counts_add_up(run)


def test_nothing_that_passes_is_an_error_with_the_counts(home, triage, bank_index):
    with TGIServer(answer=lambda request, call: "never", enforce_schema=False) as server:
        plan = make_plan(triage, bank_index, server.url, num_examples=3)
        with pytest.raises(NoExamplesError, match="0 of 3 examples") as caught:
            list(Run(plan).examples())
    assert caught.value.dropped["unparsable_answer"] == Run(plan).tally().outputs


def test_a_stream_that_is_left_early_has_asked_little(home, triage, bank_index):
    with TGIServer(answer=desk_answer, latency=0.05) as server:
        run = Run(make_plan(triage, bank_index, server.url, num_examples=200))
        assert len(list(islice(run.examples(eager=False), 3))) == 3
        run.interrupt()
        assert len(server.chat_requests) <= 20


def test_it_works_where_an_event_loop_is_running(home, triage, bank_index):
    async def in_a_notebook_cell(url):
        return list(generate(triage, bank_index, url, num_examples=5))

    with TGIServer(answer=desk_answer) as server:
        assert len(asyncio.run(in_a_notebook_cell(server.url))) == 5


def test_two_readers_of_one_run_share_its_answers(home, triage, bank_index):
    with TGIServer(answer=desk_answer, latency=0.02) as server:
        plan = make_plan(triage, bank_index, server.url, num_examples=40)
        found = {}

        def read(name):
            found[name] = records(Run(plan).examples())

        readers = [threading.Thread(target=read, args=(name,)) for name in "ab"]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        assert found["a"] == found["b"] and len(found["a"]) == 40
        assert max(server.calls.values()) == 1


def test_interleaved_readers_in_one_thread_do_not_block_each_other(home, triage, bank_index):
    with TGIServer(answer=desk_answer) as server:
        plan = make_plan(triage, bank_index, server.url, num_examples=60)
        pairs = list(zip(Run(plan).examples(0, 20, eager=False), Run(plan).examples(40, 60, eager=False), strict=True))
    assert len(pairs) == 20


def test_a_wrong_key_ends_the_run_at_once(home, triage, bank_index, monkeypatch):
    monkeypatch.setenv("DESK_KEY", "sk-canary")
    with TGIServer(answer=desk_answer, api_key="right") as server:
        with pytest.raises(TeacherRefused, match="401") as caught:
            list(generate(triage, bank_index, Teacher(server.url, api_key_env="DESK_KEY"), num_examples=300))
        assert 0 < len(server.chat_requests) < 300
    assert "canary" not in str(caught.value)


def test_a_server_that_only_fails_quarantines_every_row(home, triage, bank_index):
    def failing(request, call):
        return status(500) if "parcel" in json.dumps(shown_row(request)) else desk_answer(request, call)

    with TGIServer(answer=failing) as server:
        run = Run(make_plan(triage, bank_index, server.url, num_examples=15))
        assert len(list(run.examples())) == 15
    assert counts_add_up(run)
    assert set(run.tally().quarantined) == {"server_error"}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"method": "magic"}, TaskError, "Method `magic` is not known; use one of rebase"),
        ({"num_examples": 0}, TaskError, "num_examples is 0; expected a whole number from 1 on"),
        ({"seed": -1}, TaskError, "seed is -1; expected a whole number from 0"),
        ({"index": "no/such/index/here"}, RowIndexError, "no/such/index/here"),
        ({"teacher": "http://127.0.0.1:9"}, TeacherError, "http://127.0.0.1:9"),
        ({"teacher": "nonsense"}, TeacherRefused, "nonsense"),
        ({"task": "missing.yaml"}, TaskError, "missing.yaml does not exist"),
    ],
)
def test_a_wrong_request_is_refused_before_the_first_row(home, triage, bank_index, change, error, message):
    given = {"task": triage, "index": bank_index, "teacher": "http://127.0.0.1:9", "num_examples": 5} | change
    with pytest.raises(error, match=message):
        generate(given.pop("task"), given.pop("index"), given.pop("teacher"), **given)


@pytest.mark.parametrize("name", ["date-finder", "headline", "support-triage"])
def test_every_kind_of_task_runs_with_and_without_rationales(home, bank_index, name):
    with TGIServer(answer=in_the_form_asked_for) as server:
        run = Run(make_plan(ROOT / "examples" / name, bank_index, server.url, num_examples=12))
        examples = list(run.examples())
    assert len(examples) == 12 and counts_add_up(run)
    assert all((example.rationale is not None) == (name == "headline") for example in examples)
    if name == "date-finder":
        assert all(
            e.fields["answer"] in e.fields["notice"] or e.fields["answer"] in e.fields["question"] for e in examples
        )


def test_checks_can_be_switched_off(home, triage, bank_index):
    def copying(request, call):
        return json.dumps({"message": "I was charged twice for one order.", "desk": "money"})

    with TGIServer(answer=copying) as server:
        checks = CheckOptions(near_duplicates=None)
        assert len(list(generate(triage, bank_index, server.url, num_examples=5, checks=checks))) == 5


def other_answer(request, call):
    return json.dumps(json.loads(desk_answer(request, call)) | {"desk": "other"})


def begun_and_robbed_of_its_journal(home, triage, bank_index, server):
    """Begin a run, delete the journal, and let the teacher answer otherwise from now on."""
    small = make_plan(triage, bank_index, Teacher(server.url, max_requests=12), num_examples=30)
    assert 0 < len(list(Run(small).execute())) <= 12
    for path in home.glob("journal.sqlite*"):
        path.unlink(missing_ok=True)  # one of SQLite's own may go when a connection is closed
    server.answer = other_answer


def test_a_run_whose_journal_is_gone_is_decided_anew(home, triage, bank_index, caplog):
    with TGIServer(answer=desk_answer) as server:
        begun_and_robbed_of_its_journal(home, triage, bank_index, server)
        run = Run(make_plan(triage, bank_index, server.url, num_examples=30))
        assert len(list(run.execute())) == 30
        assert "decided anew" in caplog.text and counts_add_up(run)
        assert {example.fields["desk"] for example in run.examples()} == {"other"}


def test_whoever_read_of_it_before_is_told(home, triage, bank_index):
    with TGIServer(answer=desk_answer) as server:
        begun_and_robbed_of_its_journal(home, triage, bank_index, server)
        plan = make_plan(triage, bank_index, server.url, num_examples=30)
        with pytest.raises(JournalError, match="decided anew while its examples were read.*same command again"):
            list(Run(plan).examples())
        assert {example.fields["desk"] for example in Run(plan).examples()} == {"other"}


@pytest.mark.slow
def test_a_finished_run_is_read_without_its_journal_teacher_or_evaluation_set(home, triage, bank_index, tmp_path):
    held = tmp_path / "held.jsonl"
    held.write_text(json.dumps({"message": "Where is my new kettle, please?", "desk": "parcels"}) + "\n")
    task = triage | {"evaluation": {"path": str(held)}}
    with TGIServer(answer=desk_answer) as server:
        first = records(generate(task, bank_index, server.url, num_examples=10))
    (home / "journal.sqlite").unlink()
    assert records(generate(task, bank_index, server.url, num_examples=10)) == first


def test_a_bad_evaluation_set_is_told_before_anything_is_asked(home, triage, bank_index, tmp_path):
    held = tmp_path / "held.jsonl"
    held.write_text('{"message": "Where is it?", "desk": "complaints"}\n')
    with TGIServer(answer=desk_answer) as server:
        with pytest.raises(TaskError, match="complaints"):
            make_plan(triage | {"evaluation": {"path": str(held)}}, bank_index, server.url)
        assert not server.chat_requests


def test_a_missing_key_is_told_before_anything_is_asked(home, triage, bank_index):
    with pytest.raises(TeacherRefused, match="no token was found"):
        make_plan(triage, bank_index, "some/model")
    with pytest.raises(TeacherRefused, match="NO_SUCH_KEY"):
        make_plan(triage, bank_index, Teacher("some/model", api_key_env="NO_SUCH_KEY"))


def demand(run_id):
    with closing(sqlite3.connect(runs_folder() / f"{run_id}.sqlite")) as connection:
        return connection.execute("SELECT * FROM demand").fetchall()


def test_readers_leave_no_demand_behind(home, triage, bank_index):
    with TGIServer(answer=desk_answer) as server:
        run = Run(make_plan(triage, bank_index, server.url, num_examples=20))
        assert len(list(run.examples(eager=False))) == 20 and not demand(run.id)
    before = (runs_folder() / f"{run.id}.sqlite").stat().st_mtime_ns
    assert len(list(Run(run.plan).examples(eager=False))) == 20  # of a finished run
    assert not demand(run.id) and (runs_folder() / f"{run.id}.sqlite").stat().st_mtime_ns == before


def test_held_out_takes_exactly_so_many_evenly():
    for total, held in ((10, 3), (1000, 100), (7, 7), (5, 0)):
        chosen = [position for position in range(total) if held_out(position, held, total)]
        assert len(chosen) == held
    assert [p for p in range(10) if held_out(p, 2, 10)] == [4, 9]


KILLED = """
import sys, json
sys.path.insert(0, {root!r})
from rebase_hf import RowIndex, generate
from tests.index.hashing_encoder import HashingEncoder
index = RowIndex.open({index!r}, encoder=HashingEncoder())
rows = [e.to_record() for e in generate(json.loads({task!r}), index, {url!r}, num_examples=120)]
print(json.dumps(rows))
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.35, 0.7, 1.2])
def test_a_killed_run_goes_on_and_asks_only_what_was_in_flight(home, triage, bank_index, after):
    with TGIServer(answer=desk_answer, latency=0.05) as server:
        script = KILLED.format(root=str(ROOT), index=str(bank_index.path), task=json.dumps(triage), url=server.url)
        start = [sys.executable, "-c", script]
        killed = subprocess.Popen(start, env=os.environ, stdout=subprocess.PIPE, start_new_session=True)
        deadline = time.monotonic() + 60
        while not server.calls and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(after)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
        assert server.calls.total() > 0
        again = subprocess.run(start, env=os.environ, capture_output=True, text=True, timeout=120, check=True)
        asked_twice = sum(times > 1 for times in server.calls.values())
        assert max(server.calls.values()) <= 2
        assert asked_twice <= 64
    undisturbed = records(generate(triage, bank_index, server.url, num_examples=120))
    assert json.loads(again.stdout) == undisturbed and len(undisturbed) == 120


@pytest.mark.slow
def test_a_second_ctrl_c_is_told_how_far_it_got_as_well(home, triage, bank_index):
    with TGIServer(answer=desk_answer, latency=30.0) as server:
        script = KILLED.format(root=str(ROOT), index=str(bank_index.path), task=json.dumps(triage), url=server.url)
        # Whoever runs the tests in the background has SIGINT ignored, and children inherit that.
        heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        start = [sys.executable, "-c", script]
        running = subprocess.Popen(start, env=os.environ, stderr=subprocess.PIPE, text=True, preexec_fn=heard)
        deadline = time.monotonic() + 60
        while len(server.chat_requests) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        time.sleep(1.5)
        assert running.poll() is None
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=20)
    assert err.count("0 of 120 examples so far; run the same command again") == 1, err


def test_runs_leave_no_threads_or_files_open(home, triage, bank_index):
    def held():
        return threading.active_count(), len(os.listdir("/proc/self/fd"))

    with TGIServer(answer=desk_answer) as server:
        list(generate(triage, bank_index, server.url, num_examples=3, seed=100))
        time.sleep(0.5)
        before = held()
        for seed in range(5):
            list(generate(triage, bank_index, server.url, num_examples=3, seed=seed))
        deadline = time.monotonic() + 10
        while held() > before and time.monotonic() < deadline:
            time.sleep(0.1)
        assert held()[0] <= before[0]
        assert held()[1] <= before[1] + 1


def test_what_an_earlier_call_left_behind_does_not_limit_the_next(home, triage, bank_index):
    with TGIServer(answer=desk_answer) as one, TGIServer(answer=desk_answer) as two:
        limited = make_plan(triage, bank_index, Teacher(one.url, max_requests=12), num_examples=30)
        stream = Run(limited).examples(eager=False)
        for _ in range(3):
            next(stream)
        stream.close()
        sent = len(one.chat_requests)
        assert len(list(generate(triage, bank_index, two.url, num_examples=30))) == 30
        assert len(one.chat_requests) <= max(12, sent)
        assert len(two.chat_requests) >= 18


def test_an_error_that_an_earlier_call_left_behind_is_not_raised_again(home, triage, bank_index):
    def locked_later(request, call):
        return status(401) if locked else desk_answer(request, call)

    locked = []
    with TGIServer(answer=locked_later) as server:
        stream = Run(make_plan(triage, bank_index, server.url, num_examples=40)).examples(eager=False)
        next(stream)
        stream.close()
        locked.append(True)
        time.sleep(0.2)
        locked.clear()
        assert len(list(generate(triage, bank_index, server.url, num_examples=40))) == 40
