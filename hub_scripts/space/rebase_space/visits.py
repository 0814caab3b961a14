"""Visitors' folders: each has its own, which nobody else reads, and which goes when the visitor does."""

import logging
import shutil
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

logger = logging.getLogger(__name__)

# A visitor of whom nothing was heard for so long is gone, also where no browser said so.
IDLE_SECONDS = 3600.0
PATIENCE_SECONDS = 5.0


@dataclass(slots=True)
class Visit:
    """One visitor: a folder, and the process that works for them, if one does."""

    folder: Path
    seen: float = field(default_factory=time.monotonic)
    process: "subprocess.Popen[str] | None" = None
    stopped: bool = False

    @property
    def run(self) -> Path:
        """The run folder of the dataset that was made last."""
        return self.folder / "run"

    @property
    def home(self) -> Path:
        """What is kept between this visitor's runs: answers, so that none is asked for twice."""
        return self.folder / "home"

    def stop(self) -> None:
        """End the process that works for the visitor."""
        self.stopped = True
        process = self.process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Visits:
    """Every visitor's folder, in one temporary folder of this process. Thread-safe.

    A visitor is known by their session, which their browser alone knows; no folder is named by it.

    Args:
        answers: A rebase home whose journal every visitor begins with; nothing of a visitor goes back into it.
    """

    def __init__(self, answers: Path | None = None) -> None:
        self._answers = answers
        self.folder = Path(tempfile.mkdtemp(prefix="rebase-space-"))
        self._visits: dict[str, Visit] = {}
        self._lock = threading.Lock()

    def of(self, session: str) -> Visit:
        """Return the visitor of a session, with a folder."""
        self._forget_idle()
        with self._lock:
            visit = self._visits.get(session)
            if visit is None:
                visit = self._welcome()
                self._visits[session] = visit
            visit.seen = time.monotonic()
            return visit

    def leave(self, session: str) -> None:
        """End what is done for a visitor and remove their folder."""
        with self._lock:
            visit = self._visits.pop(session, None)
        if visit is not None:
            visit.stop()
            shutil.rmtree(visit.folder, ignore_errors=True)

    def close(self) -> None:
        """Let every visitor leave, and remove the folder."""
        for session in list(self._visits):
            self.leave(session)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _welcome(self) -> Visit:
        visit = Visit(Path(tempfile.mkdtemp(dir=self.folder)))
        visit.home.mkdir()
        if self._answers is not None:
            for path in self._answers.glob("journal.sqlite*"):
                shutil.copy(path, visit.home)
        return visit

    def _forget_idle(self) -> None:
        oldest = time.monotonic() - IDLE_SECONDS
        with self._lock:
            gone = [
                session
                for session, visit in self._visits.items()
                if visit.seen < oldest and (visit.process is None or visit.process.poll() is not None)
            ]
        for session in gone:
            logger.info("A visitor who was not heard of for an hour is forgotten.")
            self.leave(session)
