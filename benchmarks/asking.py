"""Ask an open teacher about many rows, as the pipeline does, and check every answer."""

import asyncio
import logging
import os
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rebase_hf import Task, Teacher
from rebase_hf.quality.check_options import CheckOptions
from rebase_hf.quality.contamination import EvaluationGuard
from rebase_hf.quality.gate import Gate
from rebase_hf.rows import Completion, Draft, Dropped, Example
from rebase_hf.teacher.asking import Asker, Unanswered, open_teacher
from rebase_hf.teacher.journal import Journal
from rebase_hf.teacher.prompts import Parsed, Unreadable, parse_answer


@contextmanager
def own_home() -> Iterator[Path]:
    """Give rebase_hf a home of its own, so that no journal of an earlier measurement answers."""
    before = os.environ.get("REBASE_HOME")
    with tempfile.TemporaryDirectory(prefix="rebase-benchmark-", ignore_cleanup_errors=True) as folder:
        os.environ["REBASE_HOME"] = folder
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["REBASE_HOME"]
            else:
                os.environ["REBASE_HOME"] = before


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """Keep a logger's warnings to itself, where the figures say the same."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@asynccontextmanager
async def opened(teacher: Teacher, task: Task, folder: Path | None = None) -> AsyncIterator[Asker]:
    """Open a teacher with a journal of its own."""
    with tempfile.TemporaryDirectory(prefix="rebase-benchmark-") as temporary:
        journal = Journal.open((folder or Path(temporary)) / "journal.sqlite")
        asker = await open_teacher(teacher, task, journal)
        try:
            yield asker
        finally:
            await asker.close()
            journal.close()


class Validation:
    """Reads every answer and decides on it in the order of the drafts, as a run does."""

    def __init__(self, task: Task, num_examples: int, *, gate: bool = True) -> None:
        self.outcomes: Counter[str] = Counter()
        self._task = task
        guard = EvaluationGuard(task, task.evaluation_rows())
        numbers = {"num_examples": num_examples}
        self._gate = (
            Gate(task, guard, CheckOptions(), method="rebase", teacher="benchmark", **numbers) if gate else None
        )
        self._waiting: dict[int, tuple[Draft, Completion, Parsed] | str] = {}
        self._next = 0

    def answered(self, position: int, draft: Draft, completion: Completion) -> None:
        """Take an answer."""
        parsed = parse_answer(self._task, completion.text)
        self._put(position, parsed.reason if isinstance(parsed, Unreadable) else (draft, completion, parsed))

    def failed(self, position: int, error: Unanswered) -> None:
        """Take a request that was given up."""
        self._put(position, error.reason)

    def _put(self, position: int, found: "tuple[Draft, Completion, Parsed] | str") -> None:
        self._waiting[position] = found
        while (head := self._waiting.pop(self._next, None)) is not None:
            self._next += 1
            self.outcomes[head if isinstance(head, str) else self._decided(*head)] += 1

    def _decided(self, draft: Draft, completion: Completion, parsed: Parsed) -> str:
        if self._gate is None:
            return "example"
        decided: Example | Dropped = self._gate.decide(draft, completion, parsed)
        return decided.reason if isinstance(decided, Dropped) else "example"


@dataclass(frozen=True, slots=True)
class Asked:
    """What it took to ask about a number of rows.

    Attributes:
        cpu: Seconds of the processor, of all threads of this process.
        outcomes: How many rows ended how; `example` is the good end.
    """

    rows: int
    seconds: float
    cpu: float
    outcomes: Counter[str]


async def ask_all(asker: Asker, drafts: Iterable[Draft], checks: Validation, *, workers: int | None = None) -> Asked:
    """Ask about every draft.

    Args:
        workers: How many are in flight; None follows `asker.concurrency`, as the pipeline does.
    """
    numbered = enumerate(drafts)
    done = 0

    async def ask(position: int, draft: Draft) -> None:
        nonlocal done
        try:
            checks.answered(position, draft, await asker.ask(draft))
        except Unanswered as error:
            checks.failed(position, error)
        done += 1

    async def work() -> None:
        for position, draft in numbered:
            await ask(position, draft)

    began, cpu = time.perf_counter(), time.process_time()
    if workers is None:
        await _by_window(asker, (ask(*item) for item in numbered))
    else:
        await asyncio.gather(*(work() for _ in range(workers)))
    return Asked(done, time.perf_counter() - began, time.process_time() - cpu, checks.outcomes)


async def _by_window(asker: Asker, asks: Iterator[Coroutine[Any, Any, None]]) -> None:
    running: set[asyncio.Task[None]] = set()
    wake = asyncio.Event()

    def ended(task: asyncio.Task[None]) -> None:
        running.discard(task)
        wake.set()
        task.result()

    left = True
    while left or running:
        while left and len(running) < asker.concurrency:
            if (left := (coroutine := next(asks, None)) is not None) and coroutine is not None:
                running.add(task := asyncio.create_task(coroutine))
                task.add_done_callback(ended)
        with suppress(TimeoutError):  # the window may also grow while nothing is answered
            await asyncio.wait_for(wake.wait(), 0.05)
        wake.clear()
