"""Where what outlives a run is kept: the journal, decisions of runs, indexes built on the fly."""

import os
import sqlite3
import time
from pathlib import Path


def rebase_home() -> Path:
    """Return `$REBASE_HOME`, by default `$HF_HOME/rebase`; it is made when something is first written there."""
    if home := os.environ.get("REBASE_HOME"):
        return Path(home).expanduser()
    from huggingface_hub.constants import HF_HOME

    return Path(HF_HOME) / "rebase"


def switch_to_wal(connection: sqlite3.Connection, patience: float) -> None:
    """Set a database to write-ahead logging, however many open it at once.

    SQLite's own patience (`timeout=`) does not cover this switch: the second of two that open a new file at the same
    time is told at once that it is locked.

    Raises:
        sqlite3.OperationalError: It stays locked for `patience` seconds.
    """
    until = time.monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return


def reading_uri(path: Path) -> str:
    """Return the address to open an SQLite file at for reading, also where its folder can't be written to.

    A file in WAL mode opens there as `immutable` only; in a folder that can be written to, that could tear reads.
    """
    mode = "mode=rw" if os.access(path.parent, os.W_OK) else "mode=ro&immutable=1"
    return f"{path.resolve().as_uri()}?{mode}"
