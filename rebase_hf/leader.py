"""The one thread of a run that asks and decides.

It has an event loop of its own, so that a run works where one is running already (Jupyter, Gradio), and goes on while
a worker that consumes its examples pauses: the others may need what it decides.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from filelock import BaseFileLock

from rebase_hf.decisions import Decisions
from rebase_hf.errors import RebaseError
from rebase_hf.outcomes import Decision, Kind, RunState, dropped_record, example_record
from rebase_hf.quality.gate import Gate
from rebase_hf.rows import Completion, Draft, Dropped, Example
from rebase_hf.task import Task
from rebase_hf.teacher.asking import Asker, BudgetReached, Unanswered, Usage
from rebase_hf.teacher.faults import BY_READING
from rebase_hf.teacher.journal import Journal
from rebase_hf.teacher.prompts import Parsed, parse_answer, repair_draft
from rebase_hf.turn import Turn

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.05
LINGER_SECONDS = 3.0
# What another process said that it needs counts for so long; it says it again every second while it waits.
HEARD_SECONDS = 10.0
# A run that waits for its turn to ask says so this often.
SAY_SECONDS = 30.0
# So is a wait for what is in flight, once it is felt.
SAY_AFTER = 3.0
BATCH = 64
# Finished answers that wait for a slow one before them may pile up to this many times the concurrency.
PILE = 4


@dataclass(frozen=True, slots=True)
class Answered:
    """A draft with the answer that was read from it."""

    draft: Draft
    completion: Completion
    parsed: Parsed


@dataclass(frozen=True, slots=True)
class Work:
    """What a leader needs to lead, made when it starts: retrieval and the teacher may take a while to open.

    Attributes:
        open_asker: Opens the teacher, given what this session has spent already.
        session: Names the call that the run is executed for: limits on requests, tokens and cost are a session's.
        turn: Taken before anything is asked; other runs may ask the same.
    """

    task: Task
    drafts: Callable[[], Iterator[Draft | Dropped]]
    gate: Callable[[], Gate]
    open_asker: Callable[[Journal, Mapping[str, Any]], Awaitable[Asker]]
    num_examples: int
    session: str
    turn: Turn


class Leader(threading.Thread):
    """Asks and decides until enough examples are accepted, as far ahead as the consumers need.

    Attributes:
        error: What ended it early, if anything did; raised again in the consumers.
        progress: Notified after every batch of decisions, and at the end.
    """

    def __init__(self, work: Work, run_id: str, decisions: Callable[[], Decisions], lease: BaseFileLock) -> None:
        super().__init__(name=f"rebase-leader-{run_id[:8]}", daemon=True)
        self.error: BaseException | None = None
        self.session = work.session
        self.progress = threading.Condition()
        self._work = work
        self._open_decisions = decisions
        self._lease = lease
        self._needed = 0
        self._stopping, self._abandoned = threading.Event(), threading.Event()
        self._said_waiting = -SAY_SECONDS
        self._idle_since: float | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None

    def need(self, upto: int) -> None:
        """Say that a consumer of this process needs the examples before position `upto`."""
        self._idle_since = None
        if upto > self._needed:
            self._needed = upto
            self._notify()

    def rest(self) -> None:
        """Say that no consumer of this process is left: after a while without a new one the leader ends."""
        self._idle_since = time.monotonic()
        self._notify()

    def stop(self) -> None:
        """Admit nothing more; what is in flight is still awaited and journalled."""
        self._stopping.set()
        self._notify()

    def abandon(self) -> None:
        """Do not even wait for what is in flight."""
        self._abandoned.set()
        self.stop()

    def run(self) -> None:
        """Lead; the thread's body."""
        try:
            self.error = asyncio.run(self._outcome())
        finally:
            self._lease.release()
            with self.progress:
                self.progress.notify_all()

    async def _outcome(self) -> BaseException | None:
        """Lead to the end and return what ended it early: the consumers raise it, whatever it is."""
        leading = asyncio.ensure_future(self._lead())
        await asyncio.wait({leading})
        return leading.exception()

    def _notify(self) -> None:
        loop, wake = self._loop, self._wake
        if loop is not None and wake is not None:
            with suppress(RuntimeError):  # the loop closed in between: there is nobody left to wake
                loop.call_soon_threadsafe(wake.set)

    async def _lead(self) -> None:
        self._loop, self._wake = asyncio.get_running_loop(), asyncio.Event()
        decisions = self._open_decisions()
        try:
            before = decisions.usage()
            journal = Journal.open()
        except RebaseError:
            decisions.close()
            raise
        try:
            spent = before.get("session", {})
            try:
                asker = await self._work.open_asker(journal, spent if spent.get("name") == self._work.session else {})
            except BudgetReached as error:
                logger.warning("%s", error)
                decisions.set_state(RunState(stopped="budget_reached"), before)
                return
            try:
                round_ = _Round(self._work, asker, decisions, before, self._wake)
                await self._rounds(round_, decisions)
            finally:
                await asker.close()
        finally:
            journal.close()
            decisions.close()

    async def _rounds(self, round_: "_Round", decisions: Decisions) -> None:
        state: RunState | None = None
        try:
            while state is None and not self._over():
                ahead = self._ahead(round_, decisions)
                moved = self._may_ask(round_, ahead) and round_.admit(ahead)
                state = round_.decide()
                if round_.flush():
                    self._tell()
                elif state is None and not moved:
                    await self._pause()
                await asyncio.sleep(0)
        finally:
            await round_.drain(self._abandoned)
            round_.finish(state or RunState())
            self._work.turn.give_back()
            self._tell()

    def _may_ask(self, round_: "_Round", ahead: int) -> bool:
        """Whether it is this run's turn to ask; while it has nothing to ask, another's."""
        turn = self._work.turn
        if ahead <= 0:
            if not round_.in_flight:
                turn.give_back()
            return False
        if turn.take():
            return True
        if (now := time.monotonic()) > self._said_waiting + SAY_SECONDS:
            self._said_waiting = now
            logger.warning(
                "Another run asks the same teacher the same questions: %s. Waiting for it; its answers serve this run "
                "too.",
                turn.holder(),
            )
        return False

    def _over(self) -> bool:
        if self._stopping.is_set():
            return True
        return self._idle_since is not None and time.monotonic() - self._idle_since > LINGER_SECONDS

    def _ahead(self, round_: "_Round", decisions: Decisions) -> int:
        """Return how many examples past those accepted are needed now, here or by another process."""
        needed = 0 if self._idle_since is not None else self._needed
        if round_.accepted >= needed:
            needed = max(needed, decisions.needed(time.time() - HEARD_SECONDS))
        return max(0, min(needed, self._work.num_examples) - round_.accepted)

    async def _pause(self) -> None:
        """Wait until an answer arrives or a consumer needs more; look now and then for what other processes need."""
        assert self._wake is not None
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)
        self._wake.clear()

    def _tell(self) -> None:
        with self.progress:
            self.progress.notify_all()


class _Round:
    """The window of drafts between the first undecided and the last admitted."""

    def __init__(
        self, work: Work, asker: Asker, decisions: Decisions, before: dict[str, Any], wake: asyncio.Event
    ) -> None:
        self._work, self._asker, self._decisions, self._before, self._wake = work, asker, decisions, before, wake
        self._drafts = work.drafts()
        self._gate = work.gate()
        self._window: deque[asyncio.Task[Answered | Dropped] | Dropped] = deque()
        self._running: set[asyncio.Task[Answered | Dropped]] = set()
        self._batch: list[Decision] = []
        self._seq = 0
        self._decided = 0
        self._exhausted = False
        self._began = time.monotonic()
        self._retrieving = 0.0
        self.accepted = 0

    def admit(self, ahead: int) -> bool:
        """Ask about further rows, as many as `ahead` more examples may take; return whether any were admitted."""
        admitted = 0
        while not self._exhausted and self._room(ahead) and admitted < BATCH:
            began = time.monotonic()
            item = next(self._drafts, None)
            self._retrieving += time.monotonic() - began
            if item is None:
                self._exhausted = True
            elif isinstance(item, Dropped):
                self._window.append(item)
            else:
                task = asyncio.create_task(self._answer(item))
                self._running.add(task)
                task.add_done_callback(self._answered)
                self._window.append(task)
            admitted += 1
        return admitted > 0

    def _answered(self, task: "asyncio.Task[Answered | Dropped]") -> None:
        self._running.discard(task)
        self._wake.set()

    def _room(self, ahead: int) -> bool:
        # As if every answer passed: then what is asked are the rows up to the last that is needed and no other,
        # whatever the concurrency. A guess at how many will be dropped would pay for answers that nobody needs, for
        # others in each rerun; without one, a run ends with a few round trips for its last examples.
        undecided = sum(isinstance(entry, asyncio.Task) for entry in self._window)
        concurrency = self._asker.concurrency
        return len(self._running) < concurrency and undecided < min(ahead, PILE * concurrency)

    async def _answer(self, draft: Draft) -> Answered | Dropped:
        attempts = questions = 0
        try:
            while True:
                questions += 1
                completion = await self._asker.ask(draft)
                attempts += completion.attempts
                parsed = parse_answer(self._work.task, completion.text)
                if isinstance(parsed, Parsed):
                    return Answered(draft, completion, parsed)
                if questions >= BY_READING[parsed.reason].attempts:
                    break
                draft = repair_draft(self._work.task, draft, completion.text, parsed)
        except Unanswered as error:
            tried = error.attempts + attempts
            return Dropped("teacher", error.reason, error.detail, draft.row, error.key, attempts=tried)
        return Dropped(
            "teacher", parsed.reason, parsed.detail, draft.row, completion.key, completion.text, attempts=attempts
        )

    def decide(self) -> RunState | None:
        """Decide on what is answered, in rank order; return how the run stands when it is over."""
        while self._window and len(self._batch) < BATCH:
            if self.accepted >= self._work.num_examples:
                return RunState(complete=True)
            head = self._window[0]
            if isinstance(head, asyncio.Task):
                if not head.done():
                    return None
                try:
                    outcome = head.result()
                except BudgetReached as error:
                    logger.warning("%s", error)
                    return RunState(stopped="budget_reached")
            else:
                outcome = head
            self._window.popleft()
            self._settle(outcome)
        if self.accepted >= self._work.num_examples:
            return RunState(complete=True)
        if self._exhausted and not self._window:
            return RunState(complete=True, stopped="candidates_ran_out")
        return None

    def _settle(self, outcome: Answered | Dropped) -> None:
        draft = None
        if isinstance(outcome, Answered):
            draft = outcome.draft
            decided: Example | Dropped = self._gate.decide(draft, outcome.completion, outcome.parsed)
        else:
            decided = outcome
        if not (isinstance(decided, Dropped) and decided.stage == "retrieval"):
            self._decided += 1
        if isinstance(decided, Example):
            record = example_record(decided, draft.row if draft else None)
            self._batch.append(Decision(self._seq, "example", None, self.accepted, record))
            self.accepted += 1
        else:
            kinds: dict[str, Kind] = {"retrieval": "before", "teacher": "quarantined", "checks": "dropped"}
            record = dropped_record(decided)
            self._batch.append(Decision(self._seq, kinds[decided.stage], decided.reason, None, record))
        self._seq += 1

    def flush(self) -> bool:
        """Write what was decided; return whether there was anything."""
        if not self._batch:
            return False
        self._decisions.append(self._batch)
        self._batch.clear()
        return True

    @property
    def in_flight(self) -> bool:
        """Whether anything is being asked."""
        return bool(self._running)

    async def drain(self, abandoned: threading.Event) -> None:
        """Send nothing more and await what is in flight, so that what is paid for is journalled."""
        self._asker.halt()
        began, said = time.monotonic(), False
        while self._running and (past := time.monotonic() - began) < self._asker.grace and not abandoned.is_set():
            await asyncio.wait(set(self._running), timeout=POLL_SECONDS)
            if past > SAY_AFTER and not said:
                said = True
                logger.warning(
                    "Waiting for %d answers that are paid for, at most %g s more; interrupt again to leave them.",
                    len(self._running),
                    self._asker.grace - past,
                )
        for task in self._running:
            task.cancel()
        for entry in self._window:
            if isinstance(entry, asyncio.Task) and entry.done() and not entry.cancelled():
                entry.exception()  # looked at, so that asyncio does not report it as lost

    def finish(self, state: RunState) -> None:
        """Write how the run stands; answers beyond the examples asked for are dropped as surplus."""
        if state.complete:
            for entry in self._window:
                if isinstance(entry, asyncio.Task) and entry.done() and not entry.cancelled():
                    self._surplus(entry)
        self.flush()
        self._decisions.set_state(state, _sum(self._before, self._asker.usage, self._seconds(), self._work.session))

    def _seconds(self) -> dict[str, float]:
        return {"retrieve": self._retrieving, "transform": time.monotonic() - self._began - self._retrieving}

    def _surplus(self, task: "asyncio.Task[Answered | Dropped]") -> None:
        if task.exception() is not None:
            return
        outcome = task.result()
        if isinstance(outcome, Answered):
            completion = outcome.completion
            detail = "more answers than examples were asked for"
            outcome = Dropped("checks", "surplus", detail, outcome.draft.row, completion.key, completion.text)
        self._settle(outcome)


def _sum(before: dict[str, Any], now: Usage, seconds: dict[str, float], session: str) -> dict[str, Any]:
    """Return what was used in all, by the processes that led this run before and by this one."""
    past = before.get("session", {})
    total = _added(before, now)
    total["session"] = {"name": session} | _added(past if past.get("name") == session else {}, now)
    total["seconds"] = {name: value + before.get("seconds", {}).get(name, 0.0) for name, value in seconds.items()}
    return total


def _added(before: Mapping[str, Any], now: Usage) -> dict[str, Any]:
    total = asdict(now)
    for name in ("requests", "prompt_tokens", "completion_tokens", "retries", "refused"):
        total[name] += before.get(name, 0)
    if before.get("cost") is not None:
        total["cost"] = before["cost"] + (now.cost or 0.0)
    return total
