"""Whose turn it is to ask: of two runs that would ask a teacher the same questions, one waits for the other's answers.

Runs of one task by one teacher, for more or fewer examples or with other checks, ask the same about the same rows.
Both look into the journal before they ask; asking at once, they would find nothing there and pay twice.
"""

import json
import os
import socket
import time
from pathlib import Path

from filelock import FileLock, Timeout

from rebase_hf.errors import JournalError
from rebase_hf.home import rebase_home


class Turn:
    """The turn of one run to ask certain questions; taken before it asks, and given back while it has nothing to ask.

    It is a lock that the system frees when its process ends, however it ends.

    Args:
        questions: A digest of what decides what is asked: task, method and teacher.
        run_id: The run that asks.
    """

    def __init__(self, questions: str, run_id: str, folder: Path | None = None) -> None:
        self._path = (folder or rebase_home() / "turns") / f"{questions[:32]}.lock"
        self._run_id = run_id
        self._lock = FileLock(str(self._path), thread_local=False)

    @property
    def held(self) -> bool:
        """Whether it is this run's turn."""
        return self._lock.is_locked

    def take(self) -> bool:
        """Take the turn if nobody has it; return whether it is this run's now.

        Raises:
            JournalError: The lock can't be written.
        """
        if self.held:
            return True
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
            # Beside the lock: what is in the lock's own file is gone when another process tries to take it.
            about = {"pid": os.getpid(), "host": socket.gethostname(), "run": self._run_id[:12], "since": time.time()}
            self._path.with_suffix(".json").write_text(json.dumps(about), encoding="utf-8")
        except Timeout:
            return False
        except OSError as error:
            self._lock.release()
            raise JournalError(
                f"Can't write {self._path}: {error}. Make room, or set REBASE_HOME to a writable folder."
            ) from error
        return True

    def give_back(self) -> None:
        """Let another run ask."""
        if self.held:
            self._path.with_suffix(".json").unlink(missing_ok=True)
            self._lock.release()

    def holder(self) -> str:
        """Return who has the turn, for people."""
        try:
            about = json.loads(self._path.with_suffix(".json").read_text(encoding="utf-8"))
            since = time.strftime("%H:%M:%S", time.localtime(about["since"]))
            return f"process {about['pid']} on {about['host']} (run {about['run']}, since {since})"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"
