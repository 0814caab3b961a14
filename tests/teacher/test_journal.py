import asyncio
import json
import multiprocessing
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time

import pytest

from rebase_hf.errors import JournalError
from rebase_hf.rows import Completion
from rebase_hf.teacher.journal import Failure, Journal


def answer(number=1, text="an answer", **fields):
    return Completion(f"{number:064x}", text, "stop", "test/teacher", 3, 4, **fields)


def put(journal, *outcomes, request=None):
    async def run():
        request_ = request or {"messages": []}
        return await asyncio.gather(*(journal.put(outcome.key, request_, outcome) for outcome in outcomes))

    return asyncio.run(run())


@pytest.fixture
def journal(tmp_path):
    opened = Journal.open(tmp_path / "journal.sqlite")
    yield opened
    opened.close()


def test_what_was_put_is_found_again_after_closing(journal):
    whole = answer(1, 'a "text" with \x00 and \U0001f600', confidence=0.75)
    failure = Failure(f"{2:064x}", "timeout", "no answer", 2)
    put(journal, whole, failure)
    journal.close()
    again = Journal.open(journal.path)
    assert again.get(whole.key) == whole
    assert again.get(failure.key) == failure
    assert again.get("f" * 64) is None
    again.close()


def test_what_was_sent_is_kept_for_trace(journal):
    sent = {"messages": [{"role": "user", "content": "Grüße"}], "schema": None, "sample": 0}
    put(journal, answer(), request=sent)
    assert journal.request(answer().key) == sent
    assert journal.request("f" * 64) is None


def test_the_first_answer_stays_and_is_what_a_second_one_is_told(journal):
    put(journal, answer(1, "first"))
    assert put(journal, answer(1, "second")) == [answer(1, "first")]
    assert put(journal, Failure(answer(1).key, "timeout", "", 1)) == [answer(1, "first")]
    assert journal.get(answer(1).key) == answer(1, "first")


def test_a_failure_gives_way_to_an_answer_and_can_be_forgotten(journal):
    failures = [Failure(f"{n:064x}", "timeout", "", 1) for n in range(3)]
    put(journal, *failures)
    put(journal, answer(0, "late"))
    assert journal.get(answer(0).key) == answer(0, "late")
    assert journal.forget([failures[1].key, "0" * 63 + "9"]) == 1
    assert journal.get(failures[1].key) is None
    assert (journal.get(failures[2].key), journal.get(answer(0).key)) == (failures[2], answer(0, "late"))


def test_a_look_at_a_journal_makes_and_writes_nothing(journal, tmp_path):
    put(journal, answer(1))
    journal.close()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    looked = Journal.peek(journal.path)
    assert looked.get(answer(1).key) == answer(1)
    assert [tokens for _, *tokens in looked.newest("test/teacher", 5)] == [
        [answer(1).prompt_tokens, answer(1).completion_tokens]
    ]
    looked.close()
    assert Journal.peek(tmp_path / "none") is None
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if "-" not in path.name} == before


def test_many_answers_share_a_transaction(journal):
    put(journal, answer(0))  # the writer is up
    connection = sqlite3.connect(journal.path)
    before = connection.execute("PRAGMA data_version").fetchone()[0]
    frames = os.path.getsize(f"{journal.path}-wal")
    put(journal, *(answer(n) for n in range(1, 201)))
    assert connection.execute("PRAGMA data_version").fetchone()[0] != before
    pages = (os.path.getsize(f"{journal.path}-wal") - frames) / 4096
    assert pages < 100  # one transaction each would write at least two pages each
    assert connection.execute("SELECT count(*) FROM answers").fetchone()[0] == 201
    connection.close()


WRITER = """
import asyncio, sys
from rebase_hf.rows import Completion
from rebase_hf.teacher.journal import Journal

async def one(journal, number):
    key = f"{number:064x}"
    await journal.put(key, {"n": number}, Completion(key, f"text {number}", "stop", "m"))
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()

async def main():
    journal = Journal.open(sys.argv[1])
    for start in range(0, 1_000_000, 16):
        await asyncio.gather(*(one(journal, n) for n in range(start, start + 16)))

asyncio.run(main())
"""


def test_everything_that_was_acknowledged_before_a_kill_is_there(tmp_path):
    path = tmp_path / "journal.sqlite"
    writer = subprocess.Popen([sys.executable, "-c", textwrap.dedent(WRITER), str(path)], stdout=subprocess.PIPE)
    seen = []
    while len(seen) < 300:
        seen.append(writer.stdout.readline())
    os.kill(writer.pid, signal.SIGKILL)
    acknowledged = [int(line) for line in [*seen, *writer.stdout.readlines()] if line.endswith(b"\n")]
    writer.wait()
    writer.stdout.close()
    journal = Journal.open(path)
    assert len(acknowledged) >= 300
    for number in acknowledged:
        assert journal.get(f"{number:064x}").text == f"text {number}"
    journal.close()


def write_some(path, first, text):
    journal = Journal.open(path)
    put(journal, *(answer(n, f"{text} {n}") for n in range(first, first + 50)))
    journal.close()


def test_several_processes_write_to_one_journal(tmp_path):
    path = tmp_path / "new" / "journal.sqlite"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=write_some, args=(path, first, "x")) for first in (0, 25, 50)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    journal = Journal.open(path)
    assert [journal.get(answer(n).key).text for n in range(100)] == [f"x {n}" for n in range(100)]
    journal.close()


def _in_a_fork(journal, results):
    put(journal, answer(2, "from the child"))
    results.put(journal.get(answer(1).key).text)


def test_a_journal_survives_a_fork_and_a_pickle(journal):
    put(journal, answer(1))
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    process = context.Process(target=_in_a_fork, args=(journal, results))
    process.start()
    assert results.get(timeout=30) == "an answer"
    process.join(30)
    assert journal.get(answer(2).key).text == "from the child"
    copy = pickle.loads(pickle.dumps(journal))  # noqa: S301
    assert copy.get(answer(1).key) == answer(1)
    copy.close()


def test_a_file_that_is_no_journal_is_named(tmp_path):
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"something else entirely, and long enough to be taken for a database file" * 20)
    with pytest.raises(JournalError, match=str(path)):
        Journal.open(path)


def test_a_folder_that_can_not_be_made_is_an_error_before_anything_is_paid(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="REBASE_HOME"):
        Journal.open(tmp_path / "file" / "journal.sqlite")


def test_a_journal_of_a_later_version_is_left_alone(journal):
    journal.close()
    connection = sqlite3.connect(journal.path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(JournalError, match="version 99"):
        Journal.open(journal.path)


def test_a_write_that_fails_fails_the_put_and_every_later_one(journal):
    put(journal, answer(1))
    connection = sqlite3.connect(journal.path)
    # What a full disk looks like from here: this journal may not grow by a page.
    connection.execute("CREATE TRIGGER full BEFORE INSERT ON answers BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
    connection.commit()
    connection.close()
    with pytest.raises(JournalError, match="disk is full.*make room"):
        put(journal, answer(2))
    with pytest.raises(JournalError, match="disk is full"):
        journal.check()
    assert journal.get(answer(1).key) == answer(1)


def test_reading_is_quick_enough_to_replay_a_run(journal):
    put(journal, *(answer(n) for n in range(500)))
    started = time.monotonic()
    for n in range(500):
        journal.get(answer(n).key)
    assert time.monotonic() - started < 2.0


def test_what_is_kept_of_a_request_is_json(journal):
    put(journal, answer(1), request={"messages": [], "schema": {"type": "object"}})
    stored = sqlite3.connect(journal.path).execute("SELECT request FROM answers").fetchone()[0]
    assert json.loads(stored) == {"messages": [], "schema": {"type": "object"}}
