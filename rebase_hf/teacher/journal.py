"""The completion journal: every answer, durable before it is used, found again by the content of its request.

One SQLite file (WAL, synchronous=FULL) that several processes may share. Answers are written by one thread, which
commits whatever is queued in one transaction: with 64 answers in flight, one fsync serves dozens of them.
"""

import asyncio
import json
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rebase_hf.errors import JournalError
from rebase_hf.home import reading_uri, rebase_home, switch_to_wal
from rebase_hf.rows import Completion

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
BUSY_SECONDS = 30.0
MAX_BATCH = 512
SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, text TEXT, finish_reason TEXT, model TEXT, prompt_tokens INTEGER, completion_tokens INTEGER,
    confidence REAL, reason TEXT, detail TEXT, attempts INTEGER, request TEXT NOT NULL, written REAL NOT NULL
)
"""
COLUMNS = 12
# An answer is never replaced: what a run has used stays what it was. A failure gives way to a later outcome.
UNLESS_ANSWERED = """
ON CONFLICT (key) DO UPDATE SET text = excluded.text, finish_reason = excluded.finish_reason, model = excluded.model,
    prompt_tokens = excluded.prompt_tokens, completion_tokens = excluded.completion_tokens,
    confidence = excluded.confidence, reason = excluded.reason, detail = excluded.detail,
    attempts = excluded.attempts, request = excluded.request, written = excluded.written
WHERE answers.reason IS NOT NULL
"""
SELECT = """
SELECT key, text, finish_reason, model, prompt_tokens, completion_tokens, confidence, reason, detail, attempts
FROM answers WHERE key = ?
"""
NEWEST = """
SELECT request, prompt_tokens, completion_tokens FROM answers
WHERE model = ? AND reason IS NULL AND prompt_tokens > 0 ORDER BY rowid DESC LIMIT ?
"""
_inherited: list[sqlite3.Connection] = []  # of a forked parent: never used here, and never closed by a collector


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that has no usable answer, and why: kept, so that a rerun decides alike."""

    key: str
    reason: str
    detail: str
    attempts: int


Outcome = Completion | Failure


@dataclass(slots=True)
class _Entry:
    key: str
    values: tuple[Any, ...]
    outcome: Outcome
    loop: asyncio.AbstractEventLoop
    done: "asyncio.Future[Outcome]"


class Journal:
    """Answers by request key. Open it with `Journal.open`; it can be pickled, and survives a fork."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._address = path.resolve().as_uri()
        self._lock = threading.Lock()
        self._pid = 0
        self._reader: sqlite3.Connection | None = None
        self._writer: threading.Thread | None = None
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._failed: str | None = None

    @classmethod
    def open(cls, path: str | Path | None = None) -> "Journal":
        """Open, or make, the journal at `path`, by default `journal.sqlite` in the rebase home.

        Raises:
            JournalError: It is damaged, of a later version, or can't be written to.
        """
        journal = cls(Path(path) if path is not None else rebase_home() / "journal.sqlite")
        try:
            journal.path.parent.mkdir(parents=True, exist_ok=True)
            with journal._lock:
                connection = journal._connection()
            switch_to_wal(connection, BUSY_SECONDS)
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise JournalError(
                    f"Journal {journal.path} is of version {version}; this rebase-hf reads up to {SCHEMA_VERSION}. "
                    "Upgrade rebase-hf, or set REBASE_HOME to another folder."
                )
            # Written on every open, so that a full or read-only disk shows before anything is paid for.
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(SCHEMA)
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                connection.execute("CREATE TABLE IF NOT EXISTS opened (one INTEGER PRIMARY KEY, at REAL)")
                connection.execute("INSERT OR REPLACE INTO opened VALUES (1, ?)", (time.time(),))
        except (sqlite3.Error, OSError) as error:
            raise _cannot("open", journal.path, error) from error
        return journal

    @classmethod
    def peek(cls, path: str | Path | None = None) -> "Journal | None":
        """Open the journal for reading alone; None where there is none. Nothing is made, and nothing written."""
        path = Path(path) if path is not None else rebase_home() / "journal.sqlite"
        if not path.is_file():
            return None
        journal = cls(path)
        journal._address = reading_uri(path)
        return journal

    def get(self, key: str) -> Outcome | None:
        """Return what is known about a request: its answer, its failure, or None.

        Raises:
            JournalError: The journal can't be read.
        """
        found = self._row(SELECT, key)
        return None if found is None else _outcome(found)

    def request(self, key: str) -> dict[str, Any] | None:
        """Return what was sent under `key` (messages, schema, sampling, model, revision, sample, repair), or None."""
        found = self._row("SELECT request FROM answers WHERE key = ?", key)
        return None if found is None else dict(json.loads(found[0]))

    def check(self) -> None:
        """Raise JournalError when an earlier write failed: ask it before paying for an answer."""
        if self._failed is not None:
            raise JournalError(self._failed)

    async def put(self, key: str, request: Mapping[str, Any], outcome: Outcome) -> Outcome:
        """Write an outcome and return, once it is on disk, what the journal now holds under its key.

        That is `outcome`, unless another process has journalled an answer to the same request first: then it is that
        answer, so that all of them use the same.

        Raises:
            JournalError: It could not be written: the disk is full, read-only or damaged.
        """
        self.check()
        loop = asyncio.get_running_loop()
        entry = _Entry(key, _values(key, request, outcome), outcome, loop, loop.create_future())
        with self._lock:
            self._connection()
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, name="rebase-journal", daemon=True)
                self._writer.start()
            self._queue.put(entry)
        return await entry.done

    def newest(self, model: str, limit: int) -> Iterator[tuple[dict[str, Any], int, int]]:
        """Yield what was sent for a model's newest answers, and the tokens of their prompts and answers.

        Raises:
            JournalError: The journal can't be read.
        """
        for request, prompt_tokens, completion_tokens in self._rows(NEWEST, (model, limit)):
            yield json.loads(request), prompt_tokens, completion_tokens

    def forget(self, keys: Iterable[str]) -> int:
        """Forget what is known about requests, answers included, so that they are asked again; return how many.

        Raises:
            JournalError: The journal can't be written to.
        """
        try:
            with self._lock, self._connection() as connection:
                delete = "DELETE FROM answers WHERE key = ?"
                return connection.executemany(delete, [(key,) for key in keys]).rowcount
        except sqlite3.Error as error:
            raise _cannot("write to", self.path, error) from error

    def close(self) -> None:
        """Write what is queued and close the file."""
        with self._lock:
            writer, self._writer = self._writer, None
            reader, self._reader = self._reader, None
            ours = self._pid == os.getpid()
        if writer is not None and ours:
            self._queue.put(None)
            writer.join()
        if reader is not None and ours:
            reader.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return Journal.open, (str(self.path),)

    def _row(self, statement: str, key: str) -> tuple[Any, ...] | None:
        found = self._rows(statement, (key,))
        return found[0] if found else None

    def _rows(self, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._connection().execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise _cannot("read", self.path, error) from error

    def _connection(self) -> sqlite3.Connection:
        """Return this process's connection; hold the lock. A connection must not be carried across a fork."""
        if self._pid != os.getpid():
            if self._reader is not None:
                _inherited.append(self._reader)
            self._pid, self._reader, self._writer = os.getpid(), None, None
            self._queue = queue.SimpleQueue()
        if self._reader is None:
            self._reader = _connect(self._address)
        return self._reader

    def _write(self) -> None:
        """The writer thread: one transaction for whatever is queued."""
        entries = self._queue
        connection: sqlite3.Connection | None = None
        try:
            while (first := entries.get()) is not None:
                batch, last = _drain(entries, first)
                try:
                    connection = connection or _connect(self._address, autocommit=True)
                    _settle(batch, _commit(connection, batch))
                except sqlite3.Error as error:
                    failed = _cannot("write to", self.path, error)
                    self._failed = str(failed)
                    _settle(batch, failed)
                if last:
                    break
        finally:
            if connection is not None:
                connection.close()


def _connect(address: str, *, autocommit: bool = False) -> sqlite3.Connection:
    level: Literal["DEFERRED"] | None = None if autocommit else "DEFERRED"
    connection = sqlite3.connect(
        address, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=level, uri=True
    )
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _drain(entries: "queue.SimpleQueue[_Entry | None]", first: _Entry) -> tuple[list[_Entry], bool]:
    batch = [first]
    while len(batch) < MAX_BATCH:
        try:
            entry = entries.get_nowait()
        except queue.Empty:
            break
        if entry is None:
            return batch, True
        batch.append(entry)
    return batch, False


def _commit(connection: sqlite3.Connection, batch: list[_Entry]) -> list[Outcome]:
    """Write a batch durably; return what the journal holds for each of its keys.

    One statement is one transaction, and lets go of the interpreter lock once. A statement for each answer would wait
    for that lock as often, each time up to the interpreter's switch interval (5 ms) while the event loop is busy.
    """
    rows = ",".join(["(" + ",".join("?" * COLUMNS) + ")"] * len(batch))
    values = [value for entry in batch for value in entry.values]
    written = connection.execute(f"INSERT INTO answers VALUES {rows} {UNLESS_ANSWERED}", values).rowcount  # noqa: S608
    if written == len(batch):
        return [entry.outcome for entry in batch]
    return [_outcome(connection.execute(SELECT, (entry.key,)).fetchone()) for entry in batch]


def _settle(batch: list[_Entry], result: "list[Outcome] | JournalError") -> None:
    """Resolve the futures of a batch, with one wake-up per event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Entry, Outcome | JournalError]]] = {}
    for position, entry in enumerate(batch):
        outcome = result if isinstance(result, JournalError) else result[position]
        by_loop.setdefault(entry.loop, []).append((entry, outcome))
    for loop, settled in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, settled)
        except RuntimeError:
            logger.debug("The loop that waited for %d answers is closed; they are journalled.", len(settled))


def _resolve(settled: "list[tuple[_Entry, Outcome | JournalError]]") -> None:
    for entry, outcome in settled:
        if entry.done.done():
            continue
        if isinstance(outcome, JournalError):
            entry.done.set_exception(JournalError(str(outcome)))
        else:
            entry.done.set_result(outcome)


def _values(key: str, request: Mapping[str, Any], outcome: Outcome) -> tuple[Any, ...]:
    sent = json.dumps(request, separators=(",", ":"), ensure_ascii=False, default=dict)
    if isinstance(outcome, Failure):
        found: tuple[Any, ...] = (None, None, None, 0, 0, None, outcome.reason, outcome.detail, outcome.attempts)
    else:
        found = (
            outcome.text,
            outcome.finish_reason,
            outcome.model,
            outcome.prompt_tokens,
            outcome.completion_tokens,
            outcome.confidence,
            None,
            None,
            outcome.attempts,
        )
    return (key, *found, sent, time.time())


def _outcome(row: tuple[Any, ...]) -> Outcome:
    key, text, finish_reason, model, prompt_tokens, completion_tokens, confidence, reason, detail, attempts = row
    if reason is not None:
        return Failure(key=key, reason=reason, detail=detail, attempts=attempts)
    return Completion(
        key=key,
        text=text,
        finish_reason=finish_reason,
        model=model,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        confidence=confidence,
        attempts=attempts or 1,
    )


def _cannot(do: str, path: Path, error: Exception) -> JournalError:
    return JournalError(
        f"Could not {do} the journal {path}: {error}. Answers already in it are kept; make room or mend its "
        "permissions (or set REBASE_HOME to another folder), then run the same command again."
    )
