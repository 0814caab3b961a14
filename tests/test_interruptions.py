"""What ends a run from outside: Ctrl-C in a cell, a full disk, workers that were forked or spawned."""

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import pytest

from rebase_hf import generate
from rebase_hf.pipeline import Run, make_plan
from rebase_hf.teacher.journal import Journal
from tests.doubles.task_answers import desk_answer
from tests.doubles.tgi_server import TGIServer, status

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
CELL = """
import asyncio, json, logging, sys
logging.basicConfig(level=logging.WARNING, format="%(message)s")
from rebase_hf import RowIndex, generate
task, index, url, number = json.loads(sys.argv[1]), *sys.argv[2:5]

async def cell():  # a notebook runs its cells where an event loop is running already
    got = []
    try:
        for example in generate(task, RowIndex.open(index), url, num_examples=int(number)):
            got.append(example)
    except KeyboardInterrupt:
        print("interrupted", len(got))

asyncio.new_event_loop().run_until_complete(cell())
"""
WORKERS = """
import json, multiprocessing, sys
from rebase_hf import RowIndex, generate

def work(arguments):
    task, index, url, number = arguments
    return [example.fields["message"] for example in generate(task, RowIndex.open(index), url, num_examples=number)]

if __name__ == "__main__":
    arguments = json.loads(sys.argv[1]), *sys.argv[3:5], 20
    mine = work(arguments) if sys.argv[2] == "fork" else []  # forked from a process that has asked already
    with multiprocessing.get_context(sys.argv[2]).Pool(2) as pool:
        found = pool.map(work, [arguments] * 2)
    assert found[0] == found[1] and len(found[0]) == 20 and mine in ([], found[0])
"""


def start(code, *arguments, **settings):
    # Whoever runs the tests in the background has SIGINT ignored, and children inherit that.
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, **({"preexec_fn": heard} | settings),
    )  # fmt: skip


def journalled(home):
    journal = Journal.peek(home / "journal.sqlite")
    count = len(list(journal.newest("test/teacher", 10**6)))
    journal.close()
    return count


def test_ctrl_c_in_a_cell_waits_for_what_is_in_flight_and_asks_nothing_more(home, triage, model_index):
    with TGIServer(desk_answer, latency=1.0, max_concurrent_requests=8) as server:
        running = start(CELL, json.dumps(dict(triage)), model_index, server.url, 80)
        while len(server.chat_requests) < 12:
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)
        assert out.startswith("interrupted") and "of 80 examples so far; run the same command again" in err
        assert journalled(home) == len(server.chat_requests) < 80
        assert len(list(generate(triage, str(model_index), server.url, num_examples=80))) == 80
        assert max(server.calls.values()) == 1


def test_a_second_ctrl_c_does_not_wait(home, triage, model_index):
    with TGIServer(desk_answer, latency=30.0) as server:
        running = start(CELL, json.dumps(dict(triage)), model_index, server.url, 80)
        while len(server.chat_requests) < 2:
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        time.sleep(1.0)
        assert running.poll() is None
        began = time.monotonic()
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=20)
        assert time.monotonic() - began < 10


def test_a_full_disk_stops_the_run_before_more_is_paid_and_it_goes_on_when_there_is_room(home, triage, model_index):
    def full():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))

    asked = ["generate", "task.json", "--index", model_index, "--num-examples", 90, "--output", home / "run"]
    (home.parent / "task.json").write_text(json.dumps(dict(triage)))
    asked[1] = home.parent / "task.json"
    with TGIServer(desk_answer, max_concurrent_requests=8) as server:
        command = [sys.executable, "-m", "rebase_hf", *map(str, asked), "--teacher", server.url]
        stopped = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, preexec_fn=full, timeout=60)
        assert stopped.returncode == 4, stopped.stderr
        assert "make room" in stopped.stderr and "Traceback" not in stopped.stderr
        sent, kept = len(server.chat_requests), journalled(home)
        assert 0 < kept <= sent < 90 and sent - kept <= 16  # those in flight when the disk was full
        again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert again.returncode == 0, again.stderr
        assert sum(server.calls.values()) - len(server.calls) <= sent - kept


PARTS = """
import json, multiprocessing, sys, time
from rebase_hf import RowIndex
from rebase_hf.pipeline import Run, make_plan

def read(plan, part):
    print(part, len(list(Run(plan).records(20 * part, 20 * part + 20))), flush=True)

if __name__ == "__main__":
    plan = make_plan(json.loads(sys.argv[1]), RowIndex.open(sys.argv[3]), sys.argv[4], num_examples=60)
    workers = [multiprocessing.get_context(sys.argv[2]).Process(target=read, args=(plan, part)) for part in range(3)]
    for worker in workers:
        worker.start()
        time.sleep(0.5)  # the first leads, and is the first to have what it needs
    for worker in workers:
        worker.join()
    print("used", Run(plan).usage()["requests"])
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_worker_that_leads_and_ends_first_loses_no_answer_and_no_count(home, triage, model_index, tmp_path, method):
    def uneven(request, call):
        time.sleep(0.1 + len(request["messages"][0]["content"]) % 10 / 8)
        return desk_answer(request, call)

    script = tmp_path / "parts.py"
    script.write_text(PARTS)
    with TGIServer(uneven) as server:
        done = subprocess.run(
            [sys.executable, str(script), json.dumps(dict(triage)), method, str(model_index), server.url],
            capture_output=True, text=True, timeout=90, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert sorted(done.stdout.splitlines())[:3] == ["0 20", "1 20", "2 20"], done.stderr
        assert max(server.calls.values()) == 1
        assert f"used {len(server.chat_requests)}" in done.stdout


def test_what_was_used_survives_a_kill(home, triage, model_index):
    with TGIServer(desk_answer, latency=0.2, max_concurrent_requests=4) as server:
        running = start(CELL, json.dumps(dict(triage)), model_index, server.url, 80)
        while len(server.chat_requests) < 30:
            time.sleep(0.02)
        running.kill()
        running.communicate()
        plan = make_plan(triage, str(model_index), server.url, num_examples=80)
        assert len(list(Run(plan).examples())) == 80
        sent = len(server.chat_requests)
    assert sent - 12 <= Run(plan).usage()["requests"] <= sent  # but for the last quarter of a second


def test_a_server_that_is_starting_is_waited_for_only_by_who_needs_it_and_not_after_sigterm(home, triage, model_index):
    def command(number):
        asked = ["generate", home.parent / "t.json", "--index", model_index, "--num-examples", number]
        asked += ["--output", home / f"run{number}", "--teacher", server.url]
        return [sys.executable, "-m", "rebase_hf", *map(str, asked)]

    (home.parent / "t.json").write_text(json.dumps(dict(triage)))
    with TGIServer(desk_answer) as server:
        first = subprocess.run(command(12), cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert first.returncode == 0, first.stderr
        server.routes |= {"/info": status(503), "/v1/models": status(503), "/v1/chat/completions": status(503)}
        fewer = subprocess.run(command(9), cwd=ROOT, capture_output=True, text=True, timeout=40)
        assert fewer.returncode == 0, fewer.stderr  # all of it is in the journal
        more = subprocess.Popen(command(20), cwd=ROOT, stderr=subprocess.PIPE, text=True)
        time.sleep(8.0)
        assert more.poll() is None
        began = time.monotonic()
        more.terminate()
        _, err = more.communicate(timeout=30)
        assert more.returncode == 143 and time.monotonic() - began < 20  # it would wait for ten minutes
        assert "Go on with: rebase-hf generate" in err


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_ask_once_together(home, triage, model_index, tmp_path, method):
    script = tmp_path / "workers.py"
    script.write_text(WORKERS)
    with TGIServer(desk_answer) as server:
        done = subprocess.run(
            [sys.executable, str(script), json.dumps(dict(triage)), method, str(model_index), server.url],
            capture_output=True, text=True, timeout=90, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert max(server.calls.values()) == 1


def test_processes_forked_from_the_command_line_end_at_sigterm_however_early_it_comes(tmp_path):
    code = """
    import contextlib, os, signal, sys, time
    sys.argv = ["rebase-hf", "--help"]
    from rebase_hf.cli import main
    for _ in range(2):
        with contextlib.suppress(SystemExit):
            main()
    ends = []
    for _ in range(20):
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):  # as a finaliser or a worker's loop swallows what it is sent
                time.sleep(2)
            os._exit(7)
        os.kill(child, signal.SIGTERM)  # unguarded, most of these are lost
        ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    print(sorted(set(ends)), signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, []))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120)
    assert done.stdout.endswith("[-15] False\n"), done.stdout + done.stderr
