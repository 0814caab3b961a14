import asyncio
import time

import pytest

from rebase_hf.errors import JournalError
from rebase_hf.rows import Completion
from rebase_hf.teacher.journal import Failure, Journal
from rebase_hf.teacher.journal_copies import copy_answers

FIRST, SECOND = (Completion(f"{n:064x}", f"answer {n}", "stop", "test/teacher", 3, 4) for n in (1, 2))


def write(path, *outcomes):
    async def put_all(journal):
        for outcome in outcomes:
            await journal.put(outcome.key, {"messages": [outcome.key]}, outcome)

    journal = Journal.open(path)
    asyncio.run(put_all(journal))
    journal.close()


def read(path, key):
    journal = Journal.open(path)
    try:
        return journal.get(key), journal.request(key)
    finally:
        journal.close()


def test_answers_go_from_one_journal_into_another_and_stay_what_they_were_there(tmp_path):
    here, there = tmp_path / "here.sqlite", tmp_path / "new" / "there.sqlite"
    other = Completion(SECOND.key, "another answer", "stop", "test/teacher", 1, 1)
    write(here, FIRST, SECOND)
    write(there, Failure(FIRST.key, "timeout", "no answer", 2), other)
    assert copy_answers(here, there) == 1
    assert read(there, FIRST.key) == (FIRST, {"messages": [FIRST.key]})
    assert read(there, SECOND.key)[0] == other
    assert read(here, SECOND.key)[0] == SECOND
    assert copy_answers(here, there) == 0
    assert copy_answers(here, tmp_path / "third.sqlite") == 2


def test_what_was_answered_before_a_time_is_not_taken(tmp_path):
    here, there = tmp_path / "here.sqlite", tmp_path / "there.sqlite"
    write(here, FIRST)
    began = time.time()
    write(here, SECOND)
    assert copy_answers(here, there, since=began) == 1
    assert read(there, FIRST.key) == (None, None) and read(there, SECOND.key)[0] == SECOND


def test_an_open_journal_is_copied_with_what_it_has_written(tmp_path):
    journal = Journal.open(tmp_path / "here.sqlite")
    asyncio.run(journal.put(FIRST.key, {}, FIRST))
    assert copy_answers(journal.path, tmp_path / "there.sqlite") == 1
    journal.close()


def test_what_is_no_journal_is_said_to_be_none(tmp_path):
    (tmp_path / "none.sqlite").write_bytes(b"not a database at all" * 50)
    with pytest.raises(JournalError, match=r"none\.sqlite.*is a journal of rebase_hf"):
        copy_answers(tmp_path / "none.sqlite", tmp_path / "there.sqlite")
