"""Answers copied from one journal to another: what a job leaves behind, and what the next one goes on from."""

import sqlite3
from contextlib import closing
from pathlib import Path

from rebase_hf.errors import JournalError
from rebase_hf.home import reading_uri
from rebase_hf.teacher.journal import BUSY_SECONDS, UNLESS_ANSWERED, Journal

_COLUMNS = (
    "key, text, finish_reason, model, prompt_tokens, completion_tokens, confidence, reason, detail, attempts, "
    "request, written"
)
_COPY = f"""
INSERT INTO answers ({_COLUMNS}) SELECT {_COLUMNS} FROM source.answers WHERE written >= ? {UNLESS_ANSWERED}
"""


def copy_answers(source: Path, target: Path, *, since: float = 0.0) -> int:
    """Copy what one journal holds into another, which is made where there is none; return how many it took.

    An answer that the other holds already stays as it is there, as in every journal.

    Args:
        since: Only what was written from then on, in seconds since 1970.

    Raises:
        JournalError: One of the two is damaged, or can't be read or written.
    """
    Journal.open(target).close()
    try:
        with closing(sqlite3.connect(target.resolve().as_uri(), timeout=BUSY_SECONDS, uri=True)) as connection:
            connection.execute("ATTACH ? AS source", (reading_uri(source),))
            with connection:
                return connection.execute(_COPY, (since,)).rowcount
    except sqlite3.Error as error:
        raise JournalError(
            f"Could not copy answers from the journal {source} to {target}: {error}. Check that the first is a "
            "journal of rebase_hf, and that the second can be written to."
        ) from error
