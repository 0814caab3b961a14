"""Sending requests to one server: within the window in flight, the budget, and the patience of the user."""

import asyncio
import copy
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from rebase_hf.errors import RebaseError, TeacherRefused, TeacherUnavailable
from rebase_hf.teacher.asking import Halted, Usage, content_key
from rebase_hf.teacher.budget import Budget
from rebase_hf.teacher.faults import CONNECTION_LOST, EMPTY_ANSWER, UNAVAILABLE, UNREACHABLE, Incident
from rebase_hf.teacher.journal import Journal
from rebase_hf.teacher.latency import note_duration
from rebase_hf.teacher.one_request import Reply, prompt_chars, send_once
from rebase_hf.teacher.pacing import FIRST_LIMIT, FIRST_LIMIT_TOLD, Pacing
from rebase_hf.teacher.refusals import refusal
from rebase_hf.teacher.served import Served
from rebase_hf.teacher.target import Teacher
from rebase_hf.teacher.transport import TeacherClient

logger = logging.getLogger(__name__)

DEFAULT_CONCURRENCY = 256
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 20.0
CONFIRM_SECONDS = 5.0  # between two looks at who serves, while a server comes and goes
SIGN_SECONDS = 2.0  # a server that gave no sign of life is not asked for another for so long
SIGN_OF_LIFE: Mapping[str, Any] = {
    "messages": [{"role": "user", "content": "Reply with the word yes."}],
    "sampling": {"temperature": None, "top_p": None, "max_tokens": 8, "seed": None},
    "schema": None,
    "sample": 0,
}


class Sender:
    """Sends requests to one server. One event loop.

    Attributes:
        answers: How many answers came so far.
        signs: How often the server has shown that it works: by an answer, or by refusing one single request.
        served: What stands at the address, confirmed before the first request.

    Args:
        key: What is sent as the key; kept in the HTTP client only.
        journal: Asked whether it can still be written to, before anything is sent.
        prepare: Called before the first request, to start or find the server; `served` tells only who will answer.
        confirm: Called when the server was away, to see whether it is still the same that serves.
        arguments: Of AsyncInferenceClient, where it is not an address that is asked.
        spent: As in `asking.open_teacher`.
    """

    def __init__(
        self,
        teacher: Teacher,
        served: Served,
        key: str,
        journal: Journal,
        usage: Usage,
        *,
        give_up_after: float,
        prepare: Callable[[], Awaitable[Served]] | None = None,
        confirm: Callable[[], Awaitable[Served]] | None = None,
        arguments: dict[str, Any] | None = None,
        spent: Mapping[str, Any] | None = None,
    ) -> None:
        self.served = served
        self.answers = self.signs = 0
        self._teacher, self._journal, self._usage = teacher, journal, usage
        self._give_up_after = give_up_after
        self._prepare, self._confirm_again = prepare, confirm
        self._arguments = arguments
        self._secret = key
        self._client: TeacherClient | None = None
        self._preparing, self._doubting = asyncio.Lock(), asyncio.Lock()
        told = teacher.max_concurrency is not None or served.max_concurrency is not None
        self._pacing = Pacing(_most_in_flight(teacher, served), FIRST_LIMIT_TOLD if told else FIRST_LIMIT)
        self._budget = Budget(teacher, usage, spent or {}, served.url)
        self._halting = asyncio.Event()
        self._sleeping = 0
        self._alive_at = time.monotonic()
        self._no_sign_at = self._confirmed_at = -3600.0
        self._away = self._waiting_told = False
        self._stopped: RebaseError | None = None
        self._jitter = random.Random()

    @property
    def concurrency(self) -> int:
        """The window in flight, those that wait out a pause, and a few to fill the next free slots."""
        limit = int(self._pacing.limit)
        return limit + self._sleeping + max(2, limit // 4)

    def begin(self) -> None:
        """Say that asking begins, or begins again: while nothing was asked, nothing could succeed."""
        self._alive_at = time.monotonic()

    def halt(self) -> None:
        """Send nothing more; whoever waits to send is told so."""
        error = Halted("The teacher was told to send nothing more.", url=self.served.url)
        self._stopped = self._stopped or error
        self._halting.set()

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()

    async def send(self, key: str, content: Mapping[str, Any], max_tokens: int | None) -> Reply | Incident:
        """Send a request once, when there is leave to.

        Raises:
            TeacherRefused: The fault is one that no request will get past.
            BudgetReached: A limit is reached.
            Halted: `halt` was called before.
        """
        self._may_send()
        client = self._client or await self._open_client()
        if self._away and self._confirm_again is not None:
            await self._see_who_serves(self._confirm_again)
        slot = await self._pacing.acquire()
        turned_away: bool | None = None
        try:
            self._may_send()
            reserved = await self._budget.reserve(prompt_chars(content), max_tokens, self._may_send)
            try:
                sent = time.monotonic()
                found = await send_once(
                    client, self.served, key, content, max_tokens=max_tokens, timeout=self._teacher.timeout
                )
                if isinstance(found, Reply):
                    note_duration(self._usage.durations, time.monotonic() - sent)
                    self._count(found, prompt_chars(content))
            finally:
                self._budget.land(reserved)
            if isinstance(found, Reply):
                turned_away = False
            else:
                turned_away = self._note(found)
                if turned_away:
                    # The slot is kept for about a round trip: freed at once, the next row would be turned away too.
                    await self._sleep(min(self._pacing.round_trip, found.retry_after or 1.0, 1.0))
        finally:
            self._pacing.release(slot, turned_away=turned_away)
        if isinstance(found, Incident) and found.fault.action == "abort":
            raise self._stop(refusal(found, self.served))
        return found

    async def pause(self, incident: Incident, times: int) -> None:
        """Wait before the next try, with full jitter.

        Raises:
            TeacherUnavailable: Nothing has succeeded for too long.
        """
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(times - 1, 10))
        pause = self._jitter.uniform(0.0, longest)
        if incident.retry_after is not None:
            # As long as was asked for, and a little apart from the others that were told the same.
            pause = incident.retry_after + self._jitter.uniform(0.0, min(0.25, longest))
        self._sleeping += 1
        try:
            until = time.monotonic() + pause
            while (now := time.monotonic()) < until and not self._halting.is_set():
                left = self._alive_at + self._give_up_after - now
                if left <= 0:
                    break
                await self._sleep(min(until - now, left))
        finally:
            self._sleeping -= 1
        if self._stopped is None and time.monotonic() >= self._alive_at + self._give_up_after:
            raise self._stop(
                TeacherUnavailable(
                    f"The teacher at {self.served.url} gave no answer for {self._give_up_after:g} s (last: "
                    f"{incident.detail}), after {self.answers} answers. They are kept; run the same command again to "
                    "go on from there.",
                    url=self.served.url,
                    status=incident.status,
                )
            )

    async def gives_a_sign(self, incident: Incident) -> bool:
        """Return whether the server answers anything at all: it is asked for one word, which costs next to nothing.

        Args:
            incident: What makes one doubt it.
        """
        before = self.signs
        async with self._doubting:
            if self.signs > before:
                return True
            if time.monotonic() < self._no_sign_at + SIGN_SECONDS:
                return False
            content = dict(SIGN_OF_LIFE)
            found = await self.send(content_key(content), content, content["sampling"]["max_tokens"])
            if isinstance(found, Incident) and found.fault is EMPTY_ANSWER:
                self._show_life()
            if self.signs > before:
                return True
            self._no_sign_at = time.monotonic()
            if not self._waiting_told:
                self._waiting_told = True
                logger.warning(
                    "The teacher at %s fails whatever it is asked (%s). Waiting for it, at most %g s.",
                    self.served.url,
                    incident.detail,
                    self._give_up_after,
                )
            return False

    def _may_send(self) -> None:
        """Raise where nothing more may be sent."""
        if self._stopped is not None:
            raise copy.copy(self._stopped)  # one instance raised by many would collect all their tracebacks
        self._journal.check()

    async def _open_client(self) -> TeacherClient:
        """Return the client; before the first request, the server is made ready and its identity confirmed."""
        async with self._preparing:
            if self._client is not None:
                return self._client
            if self._prepare is not None:
                self._may_send()
                try:
                    served = await self._unless_halted(self._prepare())
                except RebaseError as error:
                    raise self._stop(error) from None
                self._confirm(served)
                self._alive_at = time.monotonic()
            self._client = TeacherClient(
                openai_schema=self.served.dialect == "openai" and self._arguments is None,
                api_key=self._secret,
                **({"base_url": self.served.url} if self._arguments is None else self._arguments),
            )
            return self._client

    async def _unless_halted(self, preparing: Awaitable[Served]) -> Served:
        """Return what was prepared; a server may take many minutes to start, and need not when nothing is sent."""
        starting = asyncio.ensure_future(preparing)
        halting = asyncio.ensure_future(self._halting.wait())
        try:
            await asyncio.wait({starting, halting}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                self._may_send()
            return await starting
        finally:
            starting.cancel()
            halting.cancel()

    async def _see_who_serves(self, confirm: Callable[[], Awaitable[Served]]) -> None:
        """Look again who serves, after a server was away: another model may have been started in its place."""
        async with self._preparing:
            if not self._away or time.monotonic() < self._confirmed_at + CONFIRM_SECONDS:
                return
            self._confirmed_at = time.monotonic()
            try:
                served = await confirm()
            except TeacherUnavailable as error:
                logger.debug("%s", error)
                return
            except RebaseError as error:
                raise self._stop(error) from None
            self._confirm(served)
            self._away = False

    def _confirm(self, served: Served) -> None:
        before, now = self.served.identity, served.identity
        if now != before:
            raise self._stop(
                TeacherRefused(
                    f"The teacher at {served.url} now serves `{now.model}` (revision {now.revision}); this run began "
                    f"with `{before.model}` (revision {before.revision}). Start that one there again to go on with "
                    "this run, or run the same command again for a new one with the other.",
                    url=served.url,
                )
            )
        self._pacing.most = _most_in_flight(self._teacher, served)
        self.served = served

    def _stop(self, error: RebaseError) -> RebaseError:
        """Keep the first error that ends the run; every later ask raises it."""
        self._stopped = self._stopped or error
        self._halting.set()
        return copy.copy(self._stopped)

    def _note(self, incident: Incident) -> bool | None:
        """Take note of what a fault says of the server; return whether it turned the request away for being busy."""
        fault = incident.fault
        if fault.action == "quarantine":
            self._show_life()
        self._away = self._away or fault in (CONNECTION_LOST, UNREACHABLE, UNAVAILABLE)
        return None if fault is UNREACHABLE else fault.action == "wait"

    def _show_life(self) -> None:
        self._alive_at, self._waiting_told = time.monotonic(), False
        self.signs += 1

    def _count(self, reply: Reply, chars: int) -> None:
        self._show_life()
        self.answers += 1
        self._budget.count(chars, reply.prompt_tokens, reply.completion_tokens)
        if reply.estimated and not self._usage.tokens_estimated:
            self._usage.tokens_estimated = True
            logger.warning(
                "The teacher at %s does not say how many tokens it uses; they are reckoned at 4 characters each.",
                self.served.url,
            )

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._halting.wait(), seconds)


def _most_in_flight(teacher: Teacher, served: Served) -> int:
    most = served.max_concurrency or DEFAULT_CONCURRENCY
    return most if teacher.max_concurrency is None else min(teacher.max_concurrency, most)
