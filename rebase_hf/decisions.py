"""What a run has decided: every example and every drop, in order, readable by all of a run's workers.

One SQLite file a run, under `$REBASE_HOME/runs`. One process at a time holds the run's lease, asks and decides; the
others (workers of a DataLoader, of `num_proc`) read here what it decided, and say here how far they need it to go.
"""

import json
import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self

from filelock import BaseFileLock, FileLock

from rebase_hf.errors import JournalError
from rebase_hf.home import reading_uri, rebase_home, switch_to_wal
from rebase_hf.outcomes import Decision, RunState, Tally

logger = logging.getLogger(__name__)

BUSY_SECONDS = 30.0
STALE_SECONDS = 60.0  # a worker that waits says what it needs every second
SCHEMA = """
CREATE TABLE IF NOT EXISTS decisions (seq INTEGER PRIMARY KEY, kind TEXT, reason TEXT, position INTEGER, record TEXT);
CREATE UNIQUE INDEX IF NOT EXISTS positions ON decisions (position) WHERE position IS NOT NULL;
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS demand (worker TEXT PRIMARY KEY, upto INTEGER, at REAL);
"""


class Decisions:
    """A run's decisions on disk. Each thread opens its own; only the holder of the lease appends.

    Attributes:
        path: The file. Deleted, it is made again from the journal, for free.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._db = connection
        self._last: int | None = None

    @classmethod
    def open(cls, run_id: str, folder: Path | None = None) -> Self:
        """Open, or make, the decisions of a run; by default under the rebase home.

        Raises:
            JournalError: The file can't be written, or is damaged.
        """
        path = (folder or runs_folder()) / f"{run_id}.sqlite"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)
            # Lost decisions are decided again, alike, from the journal: no fsync for each of them.
            switch_to_wal(connection, BUSY_SECONDS)
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.executescript(SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise _cannot("write", path, error) from error
        return cls(path, connection)

    @classmethod
    def peek(cls, path: Path) -> Self | None:
        """Open the decisions at `path` for reading alone; None where there are none. Nothing is made or changed."""
        if not path.is_file():
            return None
        try:
            connection = sqlite3.connect(reading_uri(path), timeout=BUSY_SECONDS, uri=True)
            connection.execute("PRAGMA query_only = ON")
            made = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'state'").fetchone()
        except sqlite3.Error as error:
            raise _cannot("read", path, error) from error
        if made is None:  # another process is making it
            connection.close()
            return None
        return cls(path, connection)

    @classmethod
    def exist(cls, run_id: str) -> bool:
        """Whether anything of a run was ever decided, or begun to be, here."""
        return (runs_folder() / f"{run_id}.sqlite").is_file()

    @classmethod
    def finished(cls, run_id: str) -> bool:
        """Whether a run has nothing left to decide; nothing is made or changed to find out."""
        decisions = cls.peek(runs_folder() / f"{run_id}.sqlite")
        if decisions is None:
            return False
        try:
            return decisions.state().complete
        finally:
            decisions.close()

    def lease(self) -> BaseFileLock:
        """Return the lock whose holder asks and decides; not taken yet. A dead process's lease is free."""
        return FileLock(str(self.path.with_suffix(".lock")), thread_local=False)

    def append(self, batch: Iterable[Decision], usage: Mapping[str, Any] | None = None) -> None:
        """Write decisions; those already there, which an earlier process took, must be alike.

        They are not when the journal has lost or changed an answer since: it was deleted, or a failure in it was
        forgotten. Then all from the first that differs on are decided anew, and `generation` grows if examples are
        among them.

        Args:
            usage: What the run has used so far, written along: a killed process must not take its counts with it.
        """
        rows = [(d.seq, d.kind, d.reason, d.position, d.record) for d in batch]
        with self._writing():
            if self._last is None:
                self._last = self._db.execute("SELECT COALESCE(MAX(seq), -1) FROM decisions").fetchone()[0]
            if rows and rows[0][0] <= self._last:
                self._agree(rows)
            new = [row for row in rows if row[0] > self._last]
            self._db.executemany("INSERT INTO decisions VALUES (?, ?, ?, ?, ?)", new)
            if new:
                self._last = new[-1][0]
            if usage is not None:
                self._set("usage", dict(usage))

    def _agree(self, rows: list[tuple[Any, ...]]) -> None:
        """Take back the decisions on disk from the first on that these differ from."""
        query = "SELECT seq, kind, reason, position, record FROM decisions WHERE seq BETWEEN ? AND ?"
        held = {row[0]: row for row in self._db.execute(query, (rows[0][0], rows[-1][0]))}
        differs = next((row[0] for row in rows if row[0] in held and row != held[row[0]]), None)
        if differs is None:
            return
        logger.warning(
            "Run %s was decided otherwise from outcome %d on, before the journal lost or changed an answer: it is "
            "decided anew from there.",
            self.path.stem[:12],
            differs + 1,
        )
        self._forget_from(differs)

    def forget(self) -> None:
        """Take back every decision, so that the run is decided anew; hold the lease. What it used stays counted."""
        with self._writing():
            self._forget_from(0)
            self._db.execute("DELETE FROM state WHERE name = 'state'")

    def _forget_from(self, seq: int) -> None:
        gone = self._db.execute("SELECT COUNT(position) FROM decisions WHERE seq >= ?", (seq,)).fetchone()[0]
        self._db.execute("DELETE FROM decisions WHERE seq >= ?", (seq,))
        if gone:
            self._set("generation", self._values().get("generation", 0) + 1)
        self._last = seq - 1

    def generation(self) -> int:
        """Return how often examples were taken back: positions read in one generation stand in no other."""
        return int(self._values().get("generation", 0))

    def describe(self, about: Mapping[str, Any]) -> None:
        """Write what the run is of and who leads it now; what workers of earlier leaders needed is forgotten."""
        with self._writing():
            self._set("about", dict(about))
            self._db.execute("DELETE FROM demand WHERE at < ?", (time.time() - STALE_SECONDS,))

    def about(self) -> dict[str, Any]:
        """Return what the run is of and who led it last: `task`, `model`, `revision`, `pid`, `host`, `at`."""
        return dict(self._values().get("about", {}))

    def holder(self) -> str:
        """Return who led the run last, for people: it leads still, where the lease is taken."""
        about = self.about()
        return f"process {about.get('pid', 'unknown')} on {about.get('host', 'an unknown machine')}"

    def first_to_say(self, what: str) -> bool:
        """Whether nobody has said `what` yet, in any process; whoever asks is taken to say it."""
        say = "INSERT INTO state VALUES ('said', ?) ON CONFLICT DO UPDATE SET value = excluded.value WHERE value != ?"
        with self._writing():
            return self._db.execute(say, (json.dumps(what), json.dumps(what))).rowcount == 1

    def set_state(self, state: RunState, usage: Mapping[str, Any]) -> None:
        """Write how the run stands and what it has used."""
        with self._writing():
            self._set("state", [state.complete, state.stopped, usage.get("session", {}).get("name")])
            self._set("usage", dict(usage))

    def state(self) -> RunState:
        """Return how the run stands."""
        return RunState(*self._values().get("state", []))

    def usage(self) -> dict[str, Any]:
        """Return what the run has used so far, over all processes that led it."""
        return dict(self._values().get("usage", {}))

    def need(self, worker: str, upto: int) -> None:
        """Say that a worker needs the examples before position `upto`."""
        with self._writing():
            self._db.execute("INSERT OR REPLACE INTO demand VALUES (?, ?, ?)", (worker, upto, time.time()))

    def leave(self, worker: str) -> None:
        """Say that a worker needs nothing more."""
        with self._writing():
            self._db.execute("DELETE FROM demand WHERE worker = ?", (worker,))

    def needed(self, since: float) -> int:
        """Return the position up to which some worker, heard of after `since`, needs examples."""
        with self._reading():
            found = self._db.execute("SELECT MAX(upto) FROM demand WHERE at >= ?", (since,)).fetchone()
        return int(found[0] or 0)

    def examples(self, start: int, limit: int = 500) -> list[tuple[int, str]]:
        """Return up to `limit` records of examples from position `start` on, in order."""
        query = "SELECT position, record FROM decisions WHERE position >= ? ORDER BY position LIMIT ?"
        with self._reading():
            return self._db.execute(query, (start, limit)).fetchall()

    def ledger(self) -> Iterator[dict[str, Any]]:
        """Yield the record of everything that is not an example, in the order decided."""
        query = "SELECT seq, kind, record FROM decisions WHERE kind != 'example' ORDER BY seq"
        with self._reading():
            for seq, kind, record in self._db.execute(query):
                yield {"seq": seq, "outcome": kind, **json.loads(record)}

    def tally(self) -> Tally:
        """Return the run's counts."""
        counts: dict[str, Counter[str]] = {"before": Counter(), "dropped": Counter(), "quarantined": Counter()}
        examples = asked = 0
        first = "SUM(json_extract(record, '$.place') IS NULL)"  # further outputs of one draft have a place in it
        query = f"SELECT kind, reason, COUNT(*), {first} FROM decisions GROUP BY kind, reason ORDER BY 3 DESC, reason"
        with self._reading():
            for kind, reason, count, drafts in self._db.execute(query):
                asked += drafts if kind != "before" else 0
                if kind == "example":
                    examples += count
                else:
                    counts[kind][reason] += count
        outputs = examples + counts["dropped"].total() + counts["quarantined"].total()
        return Tally(asked, outputs, examples, counts["before"], counts["dropped"], counts["quarantined"])

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _values(self) -> dict[str, Any]:
        with self._reading(), closing(self._db.execute("SELECT name, value FROM state")) as rows:
            return {name: json.loads(value) for name, value in rows}

    def _set(self, name: str, value: Any) -> None:
        self._db.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, json.dumps(value)))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, ValueError) as error:
            raise _cannot("read", self.path, error) from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with self._db:
                yield
        except sqlite3.Error as error:
            raise _cannot("write", self.path, error) from error


def runs_folder() -> Path:
    """Return the folder that holds the decisions of every run."""
    return rebase_home() / "runs"


def _cannot(do: str, path: Path, error: Exception) -> JournalError:
    advice = "make room, or set REBASE_HOME to a writable folder"
    if isinstance(error, ValueError) or any(word in str(error) for word in ("malformed", "not a database")):
        advice = f"it is damaged: delete {path} (it is made again from the journal, for free)"
    return JournalError(
        f"Can't {do} a run's decisions in {path}: {error}. Answers are safe in the journal; {advice}, then run the "
        "same command again."
    )
