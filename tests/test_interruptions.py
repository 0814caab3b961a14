"""What ends a run from outside: Ctrl-C in a cell, a full disk, workers that were forked or spawned."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from rebase_hf import generate
from rebase_hf.teacher.journal import Journal
from tests.doubles.task_answers import desk_answer
from tests.doubles.tgi_server import TGIServer

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
