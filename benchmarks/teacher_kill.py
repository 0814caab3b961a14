"""kill -9 at random moments of a run, each time started again, until it is done.

The server says what was asked, the journal (a copy, taken after each kill) what was durable. No answer that was in
the journal may be asked for again; what is asked again was in flight at a kill; the dataset is, byte for byte, that of
a run that nobody disturbed.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.claims import ROOT, Line, parser, report
from benchmarks.loopback_server import Serving, digest_of, serving
from benchmarks.made_rows import TASK, made_index, made_rows, opened_index
from benchmarks.teacher_cpu import expect_all

LONGEST_DELAY = 0.05
PATIENCE = 600.0


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=3000)
    made.add_argument("--kills", type=int, default=20)
    made.add_argument("--in-flight", type=int, default=64)
    made.add_argument("--latency", type=float, default=0.03)
    made.add_argument("--seed", type=int, default=0)
    options = made.parse_args()
    with tempfile.TemporaryDirectory() as temporary, serving(latency=options.latency) as server:
        folder = Path(temporary)
        made_index(folder, made_rows(options.rows))
        start = Start(server.url, folder, options.rows, options.in_flight)
        undisturbed = start.run("undisturbed")
        expect_all(server.settled()["requests"], options.rows)
        server.forget()
        story = kill_again_and_again(start, server, options.kills, options.seed)
        disturbed = start.run("disturbed")
        story.look(server)
    same = disturbed == undisturbed
    reasked = sum(story.tries.values()) - options.rows
    in_flight = sum(story.in_flight)
    details = {
        "killed_at_answers": story.moments,
        "in_flight_at_each_kill": story.in_flight,
        "most_in_flight_at_a_kill": max(story.in_flight),
        "journalled_asked_again": story.journalled_again,
        "asked_again": reasked,
        "dataset_sha256": [undisturbed, disturbed],
    }
    shown = f"{story.journalled_again} journalled asked again, {reasked} re-asked of {in_flight} in flight, "
    line = Line(
        "kill",
        f"kill -9 at {options.kills} random moments of {options.rows} rows",
        shown + f"dataset {'identical' if same else 'DIFFERENT'}",
        "0 journalled, at most those in flight, identical",
        story.journalled_again == 0 and reasked <= in_flight and len(story.tries) == options.rows and same,
        details,
    )
    report("teacher_kill", made, options, [line])


@dataclass
class Start:
    """How a run is started in a process of its own."""

    url: str
    folder: Path
    rows: int
    in_flight: int

    def process(self, home: str) -> subprocess.Popen[bytes]:
        """Start a run, or go on with it."""
        arguments = [self.url, str(self.folder), str(self.rows), str(self.in_flight), home]
        environment = os.environ | {"REBASE_HOME": str(self.folder / home)}
        return subprocess.Popen(
            [sys.executable, "-m", "benchmarks.teacher_kill", "--run", *arguments], cwd=ROOT, env=environment
        )

    def run(self, home: str) -> str:
        """Run to the end and return the digest of the dataset."""
        if self.process(home).wait() != 0:
            raise RuntimeError(f"the run in {home} failed")
        return hashlib.sha256((self.folder / f"{home}.jsonl").read_bytes()).hexdigest()


@dataclass
class Story:
    """What the server and the journal said after each kill."""

    moments: list[int] = field(default_factory=list)
    in_flight: list[int] = field(default_factory=list)
    journalled_again: int = 0
    tries: dict[str, int] = field(default_factory=dict)
    journalled: set[str] = field(default_factory=set)

    def look(self, server: Serving, journal: Path | None = None) -> None:
        """Compare what was asked since the last look with what was in the journal then."""
        server.settled()
        tries = server.tries()
        self.journalled_again += sum(tries[key] - self.tries[key] for key in self.journalled)
        self.tries = tries
        if journal is not None:
            self.journalled = read_journal(journal)
            self.in_flight.append(len(tries.keys() - self.journalled))


def kill_again_and_again(start: Start, server: Serving, kills: int, seed: int) -> Story:
    """Start the run and kill it, so many times."""
    chance, story = random.Random(seed), Story()
    for moment in sorted(chance.sample(range(1, start.rows), kills)):
        asked = server.stats()["requests"]
        process = start.process("disturbed")
        until = time.monotonic() + PATIENCE
        while (stats := server.stats())["different"] < moment or stats["requests"] == asked:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the run ended, or hung, before it could be killed at {moment}: {stats}")
            time.sleep(0.005)
        time.sleep(chance.uniform(0.0, LONGEST_DELAY))
        process.send_signal(signal.SIGKILL)
        process.wait()
        story.moments.append(server.settled()["different"])
        story.look(server, start.folder / "disturbed" / "journal.sqlite")
    return story


def read_journal(path: Path) -> set[str]:
    """Return, from a copy, the digests of the requests whose answers are in a journal."""
    with tempfile.TemporaryDirectory() as folder:
        for file in path.parent.glob(f"{path.name}*"):
            shutil.copy(file, folder)
        with closing(sqlite3.connect(Path(folder) / path.name)) as journal:
            rows = journal.execute("SELECT request FROM answers").fetchall()
    return {digest_of(json.loads(request)["messages"]) for (request,) in rows}


def run(url: str, folder: str, rows: str, in_flight: str, home: str) -> None:
    """Generate the dataset and write it: what the started process does."""
    from rebase_hf import Teacher, generate

    examples = generate(
        TASK, opened_index(Path(folder)), Teacher(url, max_concurrency=int(in_flight)), num_examples=int(rows)
    )
    written = Path(folder) / f"{home}.jsonl"
    with written.open("w") as stream:
        stream.writelines(json.dumps(example.to_record()) + "\n" for example in examples)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        run(*sys.argv[2:])
    else:
        main()
