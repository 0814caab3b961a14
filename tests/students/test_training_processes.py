"""Trainings in processes of their own: two that train together, and one that is killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from rebase_hf.task import Task
from tests.doubles.task_answers import about_the_row
from tests.doubles.tgi_server import TGIServer, status
from tests.students.trainers import LABELS

ROOT = Path(__file__).parent.parent.parent
answer = about_the_row("team", tuple(LABELS))
pytestmark = pytest.mark.slow


@pytest.fixture
def command(triage: Task, bank_index, tiny_bert, tmp_path):
    """Return how to start a training, given the teacher's address and the name of its folder."""
    task = {key: value for key, value in triage.to_dict().items() if key != "evaluation"}

    def command(url: str, name: str, *more: str) -> list[str]:
        given = {"task": json.dumps(task), "index": str(bank_index.path), "url": url, "bert": tiny_bert}
        given["output"] = str(tmp_path / name)
        options = [part for key, value in given.items() for part in (f"--{key}", value)]
        return [sys.executable, "-m", "tests.students.training_process", *options, *more]

    return command


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


def start(command: list[str], **more: str) -> "subprocess.Popen[str]":
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=environment(**more), cwd=ROOT, text=True, start_new_session=True, **pipes)


def start_two(command: list[str]) -> "list[subprocess.Popen[str]]":
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    return [start(command, RANK=str(rank), LOCAL_RANK=str(rank), **where) for rank in range(2)]


def told(process: "subprocess.Popen[str]") -> dict:
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err[-3000:]
    return json.loads(out.strip().splitlines()[-1])


def test_of_two_processes_one_asks_and_both_say_the_same(home, command, tmp_path):
    with TGIServer(answer=answer) as server:
        first, second = (told(process) for process in start_two(command(server.url, "two")))
        assert len(server.chat_requests) == 8 and max(server.calls.values()) == 1
        assert first["world"] == 2 and {first["rank"], second["rank"]} == {0, 1}
        for what in ("examples", "rounds", "gold", "provenance", "weights"):
            assert first[what] == second[what], what
        assert [one["rows"] for one in first["rounds"]] == [4, 4]
        for gold, witnessed in zip(first["gold"], first["witnessed"], strict=True):
            assert gold == pytest.approx(witnessed, abs=1e-6)
        written = json.loads((tmp_path / "two" / "provenance.json").read_text())
        assert written["epochs"] == first["provenance"] and len(written["epochs"]) == 4

        checkpoints = sorted((tmp_path / "two").glob("checkpoint-*"), key=lambda path: path.stat().st_mtime_ns)
        again = [told(process) for process in start_two(command(server.url, "again", "--resume", str(checkpoints[1])))]
        assert len(server.chat_requests) == 8
    for one in again:
        for what in ("examples", "gold", "provenance", "weights"):
            assert one[what] == first[what], what


def test_a_teacher_that_refuses_ends_all_processes(home, command):
    with TGIServer(answer=lambda request, call: status(401)) as server:
        both = start_two(command(server.url, "two"))
        said = [process.communicate(timeout=200)[1] for process in both]
        assert all(process.returncode != 0 for process in both)
        assert "TeacherRefused" in said[0] and "The first process, which alone asks the teacher, ended with" in said[1]
        assert len(server.chat_requests) <= 8


def test_a_training_that_is_killed_while_it_asks_goes_on(home, command, tmp_path):
    with TGIServer(answer=answer, latency=0.3) as server:
        killed = start(command(server.url, "killed"))
        deadline = time.monotonic() + 100
        while sum(server.calls.values()) < 6 and time.monotonic() < deadline:  # in its second round
            time.sleep(0.005)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.communicate()
        assert 6 <= len(server.calls) <= 8
        checkpoint = tmp_path / "killed" / "checkpoint-10"
        assert checkpoint.is_dir() and not (tmp_path / "killed" / "checkpoint-20").exists()
        resumed = told(start(command(server.url, "killed", "--resume", str(checkpoint))))
        assert len(server.calls) == 8
        again = [times for times in server.calls.values() if times > 1]
        assert 1 <= len(again) <= 4 and set(again) == {2}  # only what was in flight is asked again
        undisturbed = told(start(command(server.url, "whole")))
        assert len(server.calls) == 8
    for what in ("examples", "gold", "provenance", "weights"):
        assert resumed[what] == undisturbed[what], what


PATIENT = """
import sys, time
from datetime import timedelta
import torch.distributed as distributed
from rebase_hf.students.processes import only_first_process
distributed.init_process_group("gloo", timeout=timedelta(seconds=3))
def ask():
    time.sleep(8)
    return ["an answer", distributed.get_rank()]
sys.stdout.write(str(only_first_process(ask, beat=float(sys.argv[1]))))
"""


@pytest.mark.parametrize("beat", [0.5, 60.0])
def test_who_waits_for_a_slow_teacher_is_not_taken_for_lost(beat):
    """The group's own patience is 3 seconds, the answer takes 8."""
    both = start_two([sys.executable, "-c", PATIENT, str(beat)])
    said = [process.communicate(timeout=100) for process in both]
    if beat < 3:
        assert [out for out, _ in said] == ["['an answer', 0]"] * 2
    else:  # what it would be without signs of life
        assert both[1].returncode != 0 and "an answer" not in said[1][0]
