"""What a run has decided: every example and every drop, in order, readable by all of a run's workers.

One SQLite file a run, under `$REBASE_HOME/runs`. One process at a time holds the run's lease, asks and decides; the
others (workers of a DataLoader, of `num_proc`) read here what it decided, and say here how far they need it to go.
"""

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from filelock import BaseFileLock, FileLock

from rebase_hf.errors import JournalError
from rebase_hf.home import rebase_home, switch_to_wal
from rebase_hf.rows import Dropped, Example, RetrievedRow

Kind = Literal["example", "before", "dropped", "quarantined"]
BUSY_SECONDS = 30.0
SCHEMA = """
CREATE TABLE IF NOT EXISTS decisions (seq INTEGER PRIMARY KEY, kind TEXT, reason TEXT, position INTEGER, record TEXT);
CREATE UNIQUE INDEX IF NOT EXISTS positions ON decisions (position) WHERE position IS NOT NULL;
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS demand (worker TEXT PRIMARY KEY, upto INTEGER, at REAL);
"""


@dataclass(frozen=True, slots=True)
class Decision:
    """One outcome, at its place in the order in which outcomes are decided."""

    seq: int
    kind: Kind
    reason: str | None
    position: int | None
    record: str


@dataclass(frozen=True, slots=True)
class RunState:
    """How a run stands.

    Attributes:
        complete: Nothing is left to decide.
        stopped: Why it has fewer examples than asked for: `candidates_ran_out`, `budget_reached`; None while it runs
            and when it has them all.
        session: The call that it was executed for last: a budget that ended one call ends no other.
    """

    complete: bool = False
    stopped: str | None = None
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """A run's counts.

    Two identities hold: retrieved == asked + sum(dropped_before), and outputs == examples + sum(dropped) +
    sum(quarantined).
    """

    asked: int
    outputs: int
    examples: int
    dropped_before: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    quarantined: Mapping[str, int] = field(default_factory=dict)

    @property
    def retrieved(self) -> int:
        """Rows looked at: asked about, or left out before."""
        return self.asked + sum(self.dropped_before.values())


class Decisions:
    """A run's decisions on disk. Each thread opens its own."""

    def __init__(self, run_id: str, folder: Path) -> None:
        self.path = folder / f"{run_id}.sqlite"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=BUSY_SECONDS, check_same_thread=False)
            # Lost decisions are decided again, alike, from the journal: no fsync for each of them.
            switch_to_wal(self._db, BUSY_SECONDS)
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise JournalError(
                f"Can't write a run's decisions to {self.path}: {error}. Make room, or set REBASE_HOME to a writable "
                "folder."
            ) from error

    @classmethod
    def open(cls, run_id: str, folder: Path | None = None) -> Self:
        """Open, or make, the decisions of a run; by default under the rebase home."""
        return cls(run_id, folder or rebase_home() / "runs")

    def lease(self) -> BaseFileLock:
        """Return the lock whose holder asks and decides; not taken yet. A dead process's lease is free."""
        return FileLock(str(self.path.with_suffix(".lock")), thread_local=False)

    def append(self, batch: Iterable[Decision]) -> None:
        """Write decisions; those already there (an earlier process took them, alike) stay."""
        rows = [(d.seq, d.kind, d.reason, d.position, d.record) for d in batch]
        with self._writing():
            self._db.executemany("INSERT OR IGNORE INTO decisions VALUES (?, ?, ?, ?, ?)", rows)

    def set_state(self, state: RunState, usage: Mapping[str, Any]) -> None:
        """Write how the run stands and what it has used."""
        values = {"state": [state.complete, state.stopped], "usage": dict(usage)}
        with self._writing():
            self._db.executemany(
                "INSERT OR REPLACE INTO state VALUES (?, ?)", [(k, json.dumps(v)) for k, v in values.items()]
            )

    def state(self) -> RunState:
        """Return how the run stands."""
        values = self._values()
        complete, stopped = values.get("state", [False, None])
        return RunState(complete, stopped, values.get("usage", {}).get("session", {}).get("name"))

    def usage(self) -> dict[str, Any]:
        """Return what the run has used so far, over all processes that led it."""
        return dict(self._values().get("usage", {}))

    def need(self, worker: str, upto: int) -> None:
        """Say that a worker needs the examples before position `upto`."""
        with self._writing():
            self._db.execute("INSERT OR REPLACE INTO demand VALUES (?, ?, ?)", (worker, upto, time.time()))

    def needed(self, since: float) -> int:
        """Return the position up to which some worker, heard of after `since`, needs examples."""
        found = self._db.execute("SELECT MAX(upto) FROM demand WHERE at >= ?", (since,)).fetchone()
        return int(found[0] or 0)

    def examples(self, start: int, limit: int = 500) -> list[tuple[int, str]]:
        """Return up to `limit` records of examples from position `start` on, in order."""
        return self._db.execute(
            "SELECT position, record FROM decisions WHERE position >= ? ORDER BY position LIMIT ?", (start, limit)
        ).fetchall()

    def ledger(self) -> Iterator[dict[str, Any]]:
        """Yield the record of everything that is not an example, in the order decided."""
        query = "SELECT seq, kind, record FROM decisions WHERE kind != 'example' ORDER BY seq"
        for seq, kind, record in self._db.execute(query):
            yield {"seq": seq, "outcome": kind, **json.loads(record)}

    def tally(self) -> Tally:
        """Return the run's counts."""
        counts: dict[str, Counter[str]] = {"before": Counter(), "dropped": Counter(), "quarantined": Counter()}
        examples = 0
        query = "SELECT kind, reason, COUNT(*) FROM decisions GROUP BY kind, reason ORDER BY 3 DESC, reason"
        for kind, reason, count in self._db.execute(query):
            if kind == "example":
                examples += count
            else:
                counts[kind][reason] += count
        outputs = examples + counts["dropped"].total() + counts["quarantined"].total()
        return Tally(outputs, outputs, examples, counts["before"], counts["dropped"], counts["quarantined"])

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _values(self) -> dict[str, Any]:
        with closing(self._db.execute("SELECT name, value FROM state")) as rows:
            return {name: json.loads(value) for name, value in rows}

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with self._db:
                yield
        except sqlite3.Error as error:
            raise JournalError(
                f"Can't write a run's decisions to {self.path}: {error}. Answers are safe in the journal; make room, "
                "then run the same command again."
            ) from error


def example_record(example: Example, row: RetrievedRow | None) -> str:
    """Return an example as JSON, with the row that it came from as the report shows it."""
    record: dict[str, Any] = {
        "fields": dict(example.fields),
        "rationale": example.rationale,
        "provenance": dict(example.provenance),
        "sources": [dict(source) for source in example.sources],
    }
    if row is not None:
        record["row"] = {
            "cells": dict(row.source.cells),
            "score": row.score,
            "parts": dict(row.parts),
            "columns": dict(row.columns),
            "fields_from": dict(row.fields),
        }
    return json.dumps(record, ensure_ascii=False)


def read_example(record: str) -> Example:
    """Return the example that `example_record` wrote."""
    content = json.loads(record)
    return Example(content["fields"], content["rationale"], content["provenance"], tuple(content["sources"]))


def dropped_record(dropped: Dropped) -> str:
    """Return a drop as JSON, as the ledger holds it."""
    return json.dumps(dropped.to_record(), ensure_ascii=False)
