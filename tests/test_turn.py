import json
import signal
import subprocess
import sys
import time
from itertools import zip_longest
from pathlib import Path

import pytest

from rebase_hf import generate
from rebase_hf.turn import Turn
from tests.doubles.task_answers import desk_answer
from tests.doubles.tgi_server import TGIServer

ROOT = Path(__file__).parent.parent
WORK = """
import json, logging, sys
from rebase_hf import RowIndex, generate
logging.basicConfig(level=logging.WARNING, format="%(message)s")
task, index, url, number = json.loads(sys.argv[1]), *sys.argv[2:5]
for example in generate(task, RowIndex.open(index), url, num_examples=int(number)):
    print(example.fields["message"], flush=True)
"""


def start(task, index, url, number):
    arguments = [json.dumps(dict(task)), str(index), url, str(number)]
    return subprocess.Popen(
        [sys.executable, "-c", WORK, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )


@pytest.mark.slow
def test_of_two_runs_that_ask_the_same_one_waits_and_nothing_is_asked_twice(home, triage, model_index):
    with TGIServer(desk_answer, latency=0.3, max_concurrent_requests=4) as server:
        first = start(triage, model_index, server.url, 60)
        while len(server.chat_requests) < 2:
            time.sleep(0.02)
        second = start(triage, model_index, server.url, 70)
        (out, _), (more, said) = first.communicate(timeout=60), second.communicate(timeout=60)
        assert (first.returncode, second.returncode) == (0, 0)
        assert max(server.calls.values()) == 1
    assert (len(out.splitlines()), len(more.splitlines())) == (60, 70)
    assert f"asks the same teacher the same questions: process {first.pid} on " in said


@pytest.mark.slow
def test_a_killed_runs_turn_passes_to_who_waits(home, triage, model_index):
    with TGIServer(desk_answer, latency=0.2, max_concurrent_requests=4) as server:
        first = start(triage, model_index, server.url, 60)
        while len(server.chat_requests) < 12:
            time.sleep(0.02)
        second = start(triage, model_index, server.url, 30)
        time.sleep(2.0)  # it imports, and waits
        first.send_signal(signal.SIGKILL)
        in_flight = server.in_flight
        more, said = second.communicate(timeout=60)
        assert second.returncode == 0 and len(more.splitlines()) == 30
        assert sum(times - 1 for times in server.calls.values()) <= max(in_flight, 4)
    first.communicate()


def test_two_streams_of_one_thread_that_ask_the_same_do_not_block_each_other(home, triage, bank_index):
    with TGIServer(desk_answer) as server:
        both = [generate(triage, bank_index, server.url, num_examples=number) for number in (6, 9)]
        pairs = list(zip_longest(*both))
        assert max(server.calls.values()) == 1
    assert len(pairs) == 9


def test_a_turn_is_one_holders_until_it_is_given_back(tmp_path):
    one, other = (Turn("q" * 40, run, tmp_path) for run in ("a" * 20, "b" * 20))
    assert one.take() and one.take() and not other.take()
    assert "run aaaaaaaaaaaa" in other.holder()
    one.give_back()
    assert other.take() and not one.take()
    other.give_back()
