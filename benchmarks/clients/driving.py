"""A driver, in a process of its own: started, waited for or killed, and what it cost."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.claims import ROOT
from benchmarks.clients.drivers.job import Job
from benchmarks.clients.environments import last_line
from benchmarks.loopback_server import Serving

DRIVERS = Path(__file__).parent / "drivers"
# Of what `made_rows` made: the number of the row that an answer is about.
ROW = re.compile(r"\bmessage (\d+): ")
QUIET = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "NO_PROXY": "127.0.0.1,127.1,localhost",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a driver.

    Attributes:
        exit_code: None where it was still running when it was ended.
        wall: Seconds of the process, imports and all.
        cpu: Seconds of the processor of it and of the processes it started, without its imports.
        seconds: How long the peer was at it, without imports; None where it told nothing.
        right: Rows that have an answer, and that row's.
        null: Answers that say nothing.
        error: The last line that it printed, where it failed.
    """

    exit_code: int | None
    wall: float
    cpu: float
    seconds: float | None
    right: int
    null: int
    error: str


class Driven:
    """A driver under way, with all processes that it starts."""

    def __init__(self, python: str, driver: str, job: Job) -> None:
        self.job = job
        self._log = Path(f"{job.told}.log")
        Path(job.told).unlink(missing_ok=True)
        # A home of its own, so that no saved key is found and nothing is left behind.
        environment = os.environ | QUIET | {"HOME": job.folder, "HF_HOME": f"{job.folder}/hf"}
        for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "XDG_CACHE_HOME", "PYTHONPATH"):
            environment.pop(name, None)
        if python == sys.executable:
            environment["PYTHONPATH"] = str(ROOT)
        self.began = time.perf_counter()
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [python, str(DRIVERS / f"{driver}.py"), job.to_json()],
                cwd=job.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._cpu: float | None = None

    def running(self) -> bool:
        """Whether it is under way."""
        if self._cpu is None:
            found, status, used = os.wait4(self._process.pid, os.WNOHANG)
            if found:
                self._process.returncode = os.waitstatus_to_exitcode(status)
                self._cpu = used.ru_utime + used.ru_stime
        return self._cpu is None

    def kill(self) -> None:
        """Kill it and all that it started, as a machine does that goes down."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        while self.running():
            time.sleep(0.005)

    def finished(self, limit: float, *, server: Serving | None = None, patience: float = 0.0) -> Outcome:
        """Wait for its end, at most so long.

        Args:
            limit: Seconds after which it is killed.
            server: Where its requests are counted.
            patience: Seconds without a request after which it is killed.
        """
        asked, since, ended = -1, time.perf_counter(), True
        while self.running():
            now = time.perf_counter()
            if server is not None and (found := server.stats()["requests"]) != asked:
                asked, since = found, now
            if now - self.began > limit or (server is not None and now - since > patience):
                self.kill()
                ended = False
                break
            time.sleep(0.02 if server is None else 0.5)
        return self._outcome(time.perf_counter() - self.began, ended)

    def _outcome(self, wall: float, ended: bool) -> Outcome:
        told = json.loads(path.read_text()) if (path := Path(self.job.told)).exists() else None
        answers: Sequence[str | None] = told["answers"] if told else []
        known = len(self.job.prompts)
        numbers = {row_number(answer) for answer in answers if answer}
        exit_code = self._process.returncode if ended else None
        return Outcome(
            exit_code=exit_code,
            wall=wall,
            cpu=(self._cpu or 0.0) - (told["cpu_before"] if told else 0.0),
            seconds=told["seconds"] if told else None,
            right=sum(0 <= number < known for number in numbers),
            null=sum(not answer for answer in answers),
            error=last_line(self._log.read_text(errors="replace"), longest=120) if exit_code else "",
        )


def row_number(text: str) -> int:
    """Return which row a prompt or an answer is about; -1 for none."""
    found = ROW.search(text)
    return int(found[1]) if found else -1
