import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from rebase_hf.errors import TeacherRefused, TeacherUnavailable
from rebase_hf.rows import Sampling
from rebase_hf.teacher.asking import Unanswered, identify, open_teacher
from rebase_hf.teacher.dialects import probe
from rebase_hf.teacher.journal import Failure, Journal
from rebase_hf.teacher.local import LocalServer
from rebase_hf.teacher.target import Teacher
from tests.doubles.chat_model import make_chat_model
from tests.teacher.asks import TASK, ask, ask_all, draft

FREE_TEXT = {"schema": None, "sampling": Sampling(max_tokens=4, temperature=1.0)}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_chat_model(tmp_path_factory.mktemp("models") / "tiny-chat")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"


def test_a_folder_is_known_by_its_name_and_its_bytes(model, tmp_path):
    identity = identify(f"local:{model}", TASK)
    assert (identity.model, identity.kind) == ("tiny-chat", "local")
    other = make_chat_model(tmp_path / "tiny-chat", seed=1)
    assert identify(f"local:{other}", TASK).revision != identity.revision
    assert identify(f"local:{make_chat_model(tmp_path / 'again' / 'tiny-chat')}", TASK) == identity


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(TeacherRefused, match=r"without a config\.json.*save_pretrained"):
        identify(f"local:{tmp_path}", TASK)


def test_what_is_neither_a_folder_nor_a_model_is_refused(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(TeacherRefused, match="local:nobody/nothing"):
        identify("local:nobody/nothing", TASK)


@pytest.mark.slow
def test_a_server_that_dies_is_reported_with_its_last_lines(model, tmp_path):
    broken = make_chat_model(tmp_path / "broken")
    (tmp_path / "broken" / "config.json").write_text('{"model_type": "no-such-model"}')
    with pytest.raises(TeacherUnavailable, match="ended with code.*no-such-model"):
        ask(f"local:{broken}", [draft(1, **FREE_TEXT)], tmp_path / "j")


@pytest.mark.slow
def test_a_local_teacher_is_started_asked_and_stopped(model, tmp_path):
    drafts = [draft(n, **FREE_TEXT) for n in range(6)]

    async def run():
        journal = Journal.open(tmp_path / "j")
        asker = await open_teacher(Teacher(f"local:{model}", max_concurrency=4), TASK, journal)
        server = asker._on_close.__self__
        assert server.pid is None  # nothing asked, nothing started
        try:
            outcomes = await ask_all(asker, drafts)
            pid = server.pid
            assert is_running(pid)
        finally:
            await asker.close()
        kept = [journal.get(o.key) for o in outcomes]
        journal.close()
        return outcomes, kept, pid, asker.usage

    outcomes, kept, pid, usage = asyncio.run(run())
    assert not is_running(pid)
    # Four tokens of a random model: some end by themselves, most are cut twice; all are journalled.
    assert usage.requests >= 6
    for outcome, entry in zip(outcomes, kept, strict=True):
        if isinstance(outcome, Unanswered):
            assert isinstance(entry, Failure)
            assert outcome.reason in ("truncated_answer", "empty_answer")
        else:
            assert entry == outcome
    again, replayed = ask(f"local:{model}", drafts, tmp_path / "j")
    assert replayed.usage.requests == 0
    assert [str(o) for o in again] == [str(o) for o in outcomes]


@pytest.mark.slow
def test_transformers_serve_is_told_apart_and_tells_which_model_it_serves(model, tmp_path):
    async def run():
        server = LocalServer(model)
        await server.start()
        try:
            served = await asyncio.to_thread(probe, Teacher(server.url))
            journal = Journal.open(tmp_path / "j")
            with pytest.raises(TeacherRefused, match=rf"`gpt-9`; it serves `{model}`.*--model"):
                await (await open_teacher(Teacher(server.url, model="gpt-9"), TASK, journal)).ask(draft(1))
            asker = await open_teacher(server.url, TASK, journal)
            outcomes = await ask_all(asker, [draft(n) for n in range(3)])
            await asker.close()
            journal.close()
            return served, outcomes
        finally:
            await server.stop()

    served, outcomes = asyncio.run(run())
    assert (served.dialect, served.identity.model) == ("transformers", model)
    assert {o.reason for o in outcomes if isinstance(o, Unanswered)} <= {"truncated_answer", "empty_answer"}


STARTER = """
import asyncio, sys, time
from rebase_hf.teacher.local import LocalServer

async def main():
    server = LocalServer(sys.argv[1])
    start = asyncio.create_task(server.start())
    while server.pid is None:
        await asyncio.sleep(0.01)
    print(server.pid, flush=True)
    await start
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_ends_with_the_process_that_started_it(model, number):
    starter = subprocess.Popen([sys.executable, "-c", STARTER, model], stdout=subprocess.PIPE)
    pid = int(starter.stdout.readline())
    time.sleep(1.0)
    assert is_running(pid)
    starter.send_signal(number)
    starter.wait(30)
    starter.stdout.close()
    until = time.monotonic() + 20
    while is_running(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_running(pid)
