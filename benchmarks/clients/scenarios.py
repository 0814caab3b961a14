"""What is measured of a client. Each function returns what was counted; the server's counters are the oracle."""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.asking import own_home
from benchmarks.clients.drivers.job import Job
from benchmarks.clients.driving import Driven, Outcome, row_number
from benchmarks.clients.peers import Client
from benchmarks.loopback_server import Serving, serving
from benchmarks.made_rows import TASK, made_index, made_rows
from benchmarks.teacher_cpu import expect_all
from rebase_hf import generate

Counted = dict[str, Any]
Once = TypeVar("Once")
LATENCY = 0.2
IN_FLIGHT = 100
REFUSED_LATENCY = 0.05
REFUSED_IN_FLIGHT = 64
SCATTERED = 0.2
SLOTS = 16
# Not at a whole number of hundreds: those that ask batch by batch have nothing under way between two of them.
KILLED_AT = 0.55
# Seconds: of a process; without a request before one that goes on counts as hanging; of a run with a peer's own
# settings, some of which would take minutes; after which nothing is measured a second time.
LIMIT = 180.0
PATIENCE = 30.0
CUT_OFF = 15.0
REPEAT_WITHIN = 20.0
REPEAT_REFUSED_WITHIN = 10.0


class NotWholeError(Exception):
    """Rows are missing where nothing stood in their way: a figure of fewer rows is none."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What is measured, and how much of it.

    Attributes:
        python: The interpreter that drives it.
        rows: How many rows most of the scenarios ask about.
        rounds: How often what is cheap is measured.
        material: The folder with the prompts, one folder a number of rows.
    """

    client: Client
    python: str
    rows: int
    rounds: int
    material: Path

    def prepare(self) -> None:
        """Make what the scenarios need, so that none of them is held up by it."""
        for rows in {self.rows // 5, self.rows // 2, self.rows, 2 * self.rows}:
            made_material(self.material, rows)

    def driven(self, server: Serving, folder: Path, rows: int, in_flight: int | None) -> Driven:
        """Start the client on so many rows."""
        material = made_material(self.material, rows)
        state = folder / "state"
        state.mkdir(exist_ok=True)
        job = Job(server.url, str(material), str(state), str(folder / "told.json"), in_flight, self.client.mode)
        return Driven(self.python, self.client.driver, job)

    def run(self, server: Serving, rows: int, in_flight: int | None) -> Outcome:
        """Run the client on so many rows, from nothing."""
        with own_folder() as folder:
            return self.driven(server, folder, rows, in_flight).finished(LIMIT)


def whole(run: Outcome, rows: int) -> Outcome:
    """Return a run that has all its rows.

    Raises:
        NotWholeError: It has not.
    """
    if run.right < rows:
        how = "still running" if run.exit_code is None else f"exit code {run.exit_code}"
        raise NotWholeError(f"{run.right} of {rows} rows, {how} {run.error}".strip())
    return run


def made_material(folder: Path, rows: int) -> Path:
    """Return the folder with an index of so many rows and with the prompts that our client makes of them.

    They are what it sent to a server once, so that the others send the same to the letter.
    """
    made = folder / str(rows)
    if not (prompts := made / "prompts.json").exists():
        index = made_index(made, made_rows(rows))
        with serving(keep_bodies=True) as server, own_home():
            expect_all(sum(1 for _ in generate(TASK, index, server.url, num_examples=rows)), rows)
            texts = [json.loads(body)["messages"][0]["content"] for body in server.bodies()]
        prompts.write_text(json.dumps(sorted(texts, key=row_number)))
    return made


@contextmanager
def own_folder() -> Iterator[Path]:
    """Give a folder that goes when it is no longer needed."""
    with tempfile.TemporaryDirectory(prefix="rebase-clients-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def cpu(bench: Bench) -> Counted:
    """CPU per row: what many rows take above what few take, with nothing to wait for."""
    few, many = bench.rows // 5, 2 * bench.rows
    with serving() as server:

        def once() -> float:
            runs = [whole(bench.run(server, rows, REFUSED_IN_FLIGHT), rows) for rows in (few, many)]
            return (runs[1].cpu - runs[0].cpu) / (many - few) * 1e3

        return {"rows": [few, many], "milliseconds": repeated(once, bench.rounds)}


def throughput(bench: Bench) -> Counted:
    """Rows a second with 100 in flight: while it asks, and of the whole call."""
    with serving(latency=LATENCY) as server:

        def once() -> tuple[float, float, int]:
            server.forget()
            run = whole(bench.run(server, bench.rows, IN_FLIGHT), bench.rows)
            found = server.stats()
            return bench.rows / found["span"], bench.rows / (run.seconds or run.wall), found["most_busy"]

        asking, call, busy = zip(*repeated(once, bench.rounds), strict=True)
    return {"rows": bench.rows, "asking": list(asking), "call": list(call), "most_at_once": max(busy)}


def defaults(bench: Bench) -> Counted:
    """Answers a second of the first seconds with nothing set."""
    with serving(latency=LATENCY) as server, own_folder() as folder:
        driven = bench.driven(server, folder, bench.rows, None)
        until = time.perf_counter() + LIMIT
        while driven.running() and not server.stats()["requests"] and time.perf_counter() < until:
            time.sleep(0.02)
        until = time.perf_counter() + CUT_OFF
        while driven.running() and time.perf_counter() < until:
            time.sleep(0.05)
        driven.kill()
        found = server.settled()
    return {
        "rows": bench.rows,
        "answered": found["answered"],
        "rows_per_second": found["answered"] / found["span"] if found["span"] else 0.0,
        "most_at_once": found["most_busy"],
    }


def killed(bench: Bench) -> Counted:
    """Requests that a kill -9 on the way costs, and whether the same command then comes to its end."""
    with serving(latency=LATENCY) as server, own_folder() as folder:
        driven = bench.driven(server, folder, bench.rows, IN_FLIGHT)
        until = time.perf_counter() + LIMIT
        while (
            driven.running() and server.stats()["different"] < KILLED_AT * bench.rows and time.perf_counter() < until
        ):
            time.sleep(0.01)
        in_time = driven.running()
        driven.kill()
        before = server.settled()
        again = bench.driven(server, folder, bench.rows, IN_FLIGHT)
        outcome = again.finished(LIMIT, server=server, patience=PATIENCE)
        after = server.settled()
    return {
        "rows": bench.rows,
        "killed": in_time,
        "asked_before": before["requests"],
        "asked_after": after["requests"] - before["requests"],
        "extra": after["requests"] - bench.rows,
        **asdict(outcome),
    }


def scattered(bench: Bench) -> Counted:
    """One first try in five is refused, with Retry-After: 1."""
    return _refused(bench, scattered=SCATTERED)


def full(bench: Bench) -> Counted:
    """A server with 16 slots refuses what comes above, and is asked for 64."""
    return _refused(bench, capacity=SLOTS)


def _refused(bench: Bench, **limits: Any) -> Counted:
    rows = bench.rows // 2

    def once() -> Counted:
        with serving(latency=REFUSED_LATENCY, **limits) as server:
            outcome = bench.run(server, rows, REFUSED_IN_FLIGHT)
            found = server.settled()
        # Seconds count from the first request to the last answer: what starts and ends beside is not in them.
        wasted = found["requests"] - found["different"]
        return {"asking": found["span"], "wasted": wasted, "missing": rows - outcome.right, **asdict(outcome)}

    runs = repeated(once, bench.rounds, within=REPEAT_REFUSED_WITHIN)
    kept = ("asking", "wasted", "missing", "null", "exit_code", "seconds", "error")
    return {"rows": rows} | {name: [run[name] for run in runs] for name in kept}


def repeated(once: Callable[[], Once], rounds: int, *, within: float = REPEAT_WITHIN) -> list[Once]:
    """Return what `once` returns, as often as it is cheap: at least once, and no more after some seconds."""
    began, found = time.perf_counter(), [once()]
    while len(found) < rounds and time.perf_counter() - began < within:
        found.append(once())
    return found
