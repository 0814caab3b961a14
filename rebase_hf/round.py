"""One round of asking and deciding: the window of drafts between the first undecided and the last admitted."""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

from rebase_hf.conversing import Led, lead, lead_dialogue, unasked
from rebase_hf.decisions import Decisions
from rebase_hf.errors import TeacherError
from rebase_hf.outcomes import Decision, Kind, RunState, dropped_record, example_record
from rebase_hf.questions import Answered, Outcome, T
from rebase_hf.rows import Draft, Dropped, Example, RetrievedRow
from rebase_hf.spending import total_used
from rebase_hf.teacher.asking import Asker, BudgetReached, Unanswered
from rebase_hf.work import Work

logger = logging.getLogger(__name__)

DRAIN_POLL_SECONDS = 0.05
# What was used is on disk at least this often while something is asked.
NOTE_SECONDS = 0.25
# A wait for what is in flight is explained once it is felt.
SAY_AFTER = 1.0
BATCH = 64
# Finished answers that wait for a slow one before them may pile up to this many times the concurrency.
PILE = 4


class Round:
    """The window of drafts between the first undecided and the last admitted."""

    def __init__(
        self, work: Work, asker: Asker, decisions: Decisions, before: dict[str, Any], wake: asyncio.Event
    ) -> None:
        self._work, self._asker, self._decisions, self._before, self._wake = work, asker, decisions, before, wake
        self._drafts: Iterator[Draft | Dropped] | None = None if work.prepare else work.drafts(None)
        self._preparing: asyncio.Task[Any] | None = None
        self._gate = work.gate()
        self._window: deque[tuple[Draft, asyncio.Task[Led[tuple[Outcome, ...]]]] | Dropped] = deque()
        self._running: set[asyncio.Task[Any]] = set()
        self._batch: list[Decision] = []
        self._seq = 0
        self._exhausted = False
        self._began = time.monotonic()
        self._retrieving = self._noted = 0.0
        self._noted_requests = self._undecided = 0
        self.accepted = 0

    def admit(self, ahead: int) -> bool:
        """Ask about further rows, as many as `ahead` more examples may take; return whether any were admitted."""
        admitted = 0
        drafts = self._drafts or self._prepared()
        while drafts is not None and not self._exhausted and self._room(ahead) and admitted < BATCH:
            began = time.monotonic()
            item = next(drafts, None)
            self._retrieving += time.monotonic() - began
            if item is None:
                self._exhausted = True
            elif isinstance(item, Dropped):
                self._window.append(item)
            elif (full := self._full(item)) is not None:
                self._window.append(full)
            else:
                leading = lead_dialogue(self._asker, self._work.dialogue(item), item)
                self._window.append((item, self._start(leading)))
                self._undecided += 1
            admitted += 1
        return admitted > 0

    def _start(self, asking: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.create_task(asking)
        self._running.add(task)
        task.add_done_callback(self._answered)
        return task

    def _answered(self, task: "asyncio.Task[Any]") -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not report it as lost where nobody takes the result
        self._wake.set()

    def _prepared(self) -> Iterator[Draft | Dropped] | None:
        """Return the drafts once what is asked before them is answered; None until then."""
        if self._preparing is None and self._work.prepare is not None:
            self._preparing = self._start(lead(self._asker, self._work.prepare()))
        if self._preparing is None or not self._preparing.done() or self._preparing.exception() is not None:
            return None
        self._drafts = self._work.drafts(self._preparing.result())
        return self._drafts

    def _room(self, ahead: int) -> bool:
        # As if every answer passed: then what is asked are the rows up to the last that is needed and no other,
        # whatever the concurrency. A guess at how many will be dropped would pay for answers that nobody needs, for
        # others in each rerun; without one, a run ends with a few round trips for its last examples.
        concurrency = self._asker.concurrency
        wanted = -(-ahead // self._work.outputs_each)
        return len(self._running) < concurrency and self._undecided < min(wanted, PILE * concurrency)

    def decide(self) -> RunState | None:
        """Decide on what is answered, in rank order; return how the run stands when it is over.

        Raises:
            TeacherError: What is asked before all else has no usable answer.
        """
        if self._preparing is not None and self._preparing.done() and self._drafts is None:
            return self._unprepared(self._preparing)
        while self._window and len(self._batch) < BATCH:
            if self.accepted >= self._work.num_examples:
                return RunState(complete=True)
            head = self._window[0]
            if isinstance(head, Dropped):
                led = unasked(head)
            else:
                draft, asked = head
                if not asked.done():
                    return None
                full = self._full(draft)
                try:
                    led = asked.result() if full is None else unasked(full)
                except BudgetReached as error:
                    logger.warning("%s", error)
                    return RunState(stopped="budget_reached")
            self._window.popleft()
            self._undecided -= not isinstance(head, Dropped)
            self._settle(led)
        if self.accepted >= self._work.num_examples:
            return RunState(complete=True)
        if self._exhausted and not self._window:
            return RunState(complete=True, stopped="candidates_ran_out")
        return None

    def _full(self, draft: Draft) -> Dropped | None:
        """Return that a draft is of no use, for the label that it asks for has all its examples.

        Said alike of what was not asked for it and of what was in flight already: how much that is depends on the
        concurrency, and what is decided must not.
        """
        full = self._gate.label_full(draft.fields.get(self._work.output))
        return None if full is None else Dropped("retrieval", *full, row=draft.row)

    def _unprepared(self, preparing: "asyncio.Task[Any]") -> RunState | None:
        """Return how a run stands for which what is asked before all else has failed; None where it has not."""
        try:
            preparing.result()
        except BudgetReached as error:
            logger.warning("%s", error)
            return RunState(stopped="budget_reached")
        except Unanswered as error:
            raise TeacherError(
                f"What is asked once before all rows has no usable answer ({error}), so nothing was asked about any "
                "row. Try again with --retry-failed, with another teacher, or without the option that asks it."
            ) from error
        return None

    def _settle(self, led: Led[tuple[Outcome, ...]]) -> None:
        keys = led.asked.keys
        for place, outcome in enumerate(led.value):
            if isinstance(outcome, Answered) and self.accepted >= self._work.num_examples:
                outcome = _surplus(outcome)
            if isinstance(outcome, Answered):
                decided = self._gate.decide(outcome.draft, outcome.completion, outcome.parsed)
                self._decide(decided, outcome.draft.row, place, keys)
            else:
                self._decide(outcome, None, place, keys)

    def _decide(self, decided: Example | Dropped, row: RetrievedRow | None, place: int, keys: Sequence[str]) -> None:
        """Take one output's decision down; `place` is its place in the answer that it stands in."""
        if isinstance(decided, Example):
            record = example_record(decided, row, place, keys)
            self._batch.append(Decision(self._seq, "example", None, self.accepted, record))
            self.accepted += 1
        else:
            kinds: dict[str, Kind] = {"retrieval": "before", "teacher": "quarantined", "checks": "dropped"}
            record = dropped_record(decided, place, keys)
            self._batch.append(Decision(self._seq, kinds[decided.stage], decided.reason, None, record))
        self._seq += 1

    def flush(self) -> bool:
        """Write what was decided, and now and then what was used; return whether anything was decided."""
        decided, now = bool(self._batch), time.monotonic()
        if decided or (now > self._noted + NOTE_SECONDS and self._asker.usage.requests != self._noted_requests):
            self._decisions.append(self._batch, self._used())
            self._batch.clear()
            self._noted, self._noted_requests = now, self._asker.usage.requests
        return decided

    @property
    def in_flight(self) -> bool:
        """Whether anything is being asked."""
        return bool(self._running)

    async def drain(self, abandoned: threading.Event) -> None:
        """Send nothing more and await what is in flight, so that what is paid for is journalled."""
        self._asker.halt()
        began, said = time.monotonic(), False
        while self._running and (past := time.monotonic() - began) < self._asker.grace and not abandoned.is_set():
            await asyncio.wait(set(self._running), timeout=DRAIN_POLL_SECONDS)
            if past > SAY_AFTER and not said:
                said = True
                logger.warning(
                    "Waiting for %d answers that are paid for, at most %g s more; interrupt again to leave them.",
                    len(self._running),
                    self._asker.grace - past,
                )
        for task in self._running:
            task.cancel()

    def finish(self, state: RunState) -> None:
        """Write how the run stands; answers beyond the examples asked for are dropped as surplus."""
        if state.complete:
            for entry in self._asked():
                if entry.done() and not entry.cancelled():
                    self._left_over(entry)
        self.flush()
        self._decisions.set_state(state, self._used())

    def _used(self) -> dict[str, Any]:
        seconds = {"retrieve": self._retrieving, "transform": time.monotonic() - self._began - self._retrieving}
        return total_used(self._before, self._asker.usage, seconds, self._work.session)

    def _asked(self) -> "Iterator[asyncio.Task[Led[tuple[Outcome, ...]]]]":
        return (entry[1] for entry in self._window if not isinstance(entry, Dropped))

    def _left_over(self, task: "asyncio.Task[Led[tuple[Outcome, ...]]]") -> None:
        if task.exception() is None:
            self._settle(task.result())


def _surplus(outcome: Answered) -> Dropped:
    completion, detail = outcome.completion, "more answers than examples were asked for"
    return Dropped("checks", "surplus", detail, outcome.draft.row, completion.key, completion.text)
