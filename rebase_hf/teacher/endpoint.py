"""The teacher behind an address: AsyncInferenceClient with deadlines, retries, adaptive concurrency and a budget.

ask ─► journal ─(not there)─► slot ─► request ─► fault table: answer | again | Failure | stop ─► journal ─► answer
"""

import asyncio
import copy
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from rebase_hf.errors import RebaseError, TeacherRefused, TeacherUnavailable
from rebase_hf.rows import Completion, Draft
from rebase_hf.teacher.asking import (
    BudgetReached,
    TeacherIdentity,
    Unanswered,
    Usage,
    content_key,
    merge_sampling,
    request_content,
)
from rebase_hf.teacher.dialects import probe
from rebase_hf.teacher.faults import Incident
from rebase_hf.teacher.journal import Failure, Journal, Outcome
from rebase_hf.teacher.one_request import Reply, describe_cut, send_once
from rebase_hf.teacher.pacing import Pacing
from rebase_hf.teacher.refusals import refusal
from rebase_hf.teacher.served import Served, last_seen
from rebase_hf.teacher.target import Teacher, find_key
from rebase_hf.teacher.transport import TeacherClient

logger = logging.getLogger(__name__)

DEFAULT_CONCURRENCY = 256
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 20.0
BUSY_PAUSE = 1.0  # between two probes of a server that is starting


class _Abandoned(Exception):  # noqa: N818 - whoever was asking has been cancelled; another takes over
    pass


class EndpointAsker:
    """An open endpoint: an Asker. One event loop; made by `open_endpoint`.

    Args:
        teacher: The settings.
        served: What stands at the address.
        key: What is sent as the key; kept in the HTTP client only.
        journal: Asked first, and written to before an answer is returned.
        give_up_after: Seconds without any success after which the run stops.
        prepare: Called before the first request, to start or find the server, where that has not been done; what the
            journal answers needs none. `served` tells only who answers until then.
        arguments: Of AsyncInferenceClient, where it is not an address that is asked.
        on_close: Called when the teacher is closed, to stop what was started for it.
    """

    def __init__(
        self,
        teacher: Teacher,
        served: Served,
        key: str,
        journal: Journal,
        *,
        give_up_after: float = 600.0,
        prepare: Callable[[], Awaitable[Served]] | None = None,
        arguments: dict[str, Any] | None = None,
        on_close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.usage = Usage(cost=None if teacher.price_per_million is None else 0.0)
        self._teacher = teacher
        self._served = served
        self._journal = journal
        self._give_up_after = give_up_after
        self._prepare = prepare
        self._preparing = asyncio.Lock()
        self._arguments = arguments
        self._on_close = on_close
        self._secret = key
        self._client: TeacherClient | None = None
        self._pacing = Pacing(_most_in_flight(teacher, served))
        self._pending: dict[str, asyncio.Future[Outcome]] = {}
        self._sleeping = 0
        self._answers = 0
        self._alive_at = time.monotonic()
        self._stopped: RebaseError | None = None
        self._jitter = random.Random()

    @property
    def identity(self) -> TeacherIdentity:
        """Who answers."""
        return self._served.identity

    @property
    def concurrency(self) -> int:
        """The window in flight, those that wait out a pause, and a few to fill the next free slots."""
        limit = int(self._pacing.limit)
        return limit + self._sleeping + max(2, limit // 4)

    def __reduce__(self) -> Any:
        raise TypeError("An open teacher can't be pickled: it holds a key. Pickle its Teacher and open that.")

    async def ask(self, draft: Draft) -> Completion:
        """Return the answer to a draft; see `Asker.ask`. Two asks of one request share it."""
        content = request_content(self.identity, draft, merge_sampling(self._teacher, draft.sampling))
        key = content_key(content)
        outcome = self._journal.get(key)
        if outcome is not None:
            self.usage.from_journal += 1
        while outcome is None:
            if (asked := self._pending.get(key)) is None:
                outcome = await self._ask_once(key, content)
                break
            try:
                outcome = await asyncio.shield(asked)
            except _Abandoned:
                continue
        if isinstance(outcome, Failure):
            raise Unanswered(outcome.reason, outcome.detail, outcome.attempts, key=key)
        return outcome

    async def close(self) -> None:
        """Close the connections, and what was started for this teacher."""
        if self._client is not None:
            await self._client.close()
        if self._on_close is not None:
            await self._on_close()

    async def _ask_once(self, key: str, content: dict[str, Any]) -> Outcome:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        if not self._pending:
            self._alive_at = time.monotonic()  # while nothing was asked, nothing could succeed
        self._pending[key] = future
        try:
            outcome = await self._journal.put(key, content, await self._find_out(key, content))
        except RebaseError as error:
            future.set_exception(error)
            raise
        except BaseException:
            future.set_exception(_Abandoned())
            raise
        else:
            future.set_result(outcome)
            return outcome
        finally:
            del self._pending[key]
            if not future.cancelled():
                future.exception()  # seen, so that asyncio does not warn when nobody shared it

    async def _find_out(self, key: str, content: dict[str, Any]) -> Outcome:
        """Send a request until it has an outcome."""
        max_tokens = content["sampling"]["max_tokens"]
        attempts = pauses = 0
        grown = False
        while True:
            found = await self._send(key, content, max_tokens)
            if isinstance(found, Reply):
                if not found.is_truncated(content["schema"]):
                    return self._completion(key, found)
                attempts += 1
                if grown or max_tokens is None:
                    return Failure(key, "truncated_answer", describe_cut(found.text, max_tokens), attempts)
                # Asked once more with twice the room: most answers that are cut only just did not fit.
                grown, max_tokens = True, 2 * max_tokens
            elif found.fault.action == "wait":
                pauses += 1
                self.usage.refused += 1
                await self._pause(found, pauses)
                continue
            else:
                attempts += 1
                if found.fault.action == "quarantine" or attempts >= found.fault.attempts:
                    reason = "truncated_answer" if grown and found.fault.reason == "too_long" else found.fault.reason
                    return Failure(key, reason, found.detail, attempts)
                await self._pause(found, attempts)
            self.usage.retries += 1

    async def _send(self, key: str, content: dict[str, Any], max_tokens: int | None) -> "Reply | Incident":
        """Send a request once, when there is leave to.

        Raises:
            TeacherRefused: The fault is one that no request will get past.
            BudgetReached: A limit is reached.
        """
        self._may_send()
        client = self._client or await self._open_client()
        slot = await self._pacing.acquire()
        turned_away: bool | None = None
        try:
            self._may_send()
            self.usage.requests += 1
            found = await send_once(
                client, self._served, key, content, max_tokens=max_tokens, timeout=self._teacher.timeout
            )
            if isinstance(found, Reply):
                turned_away = False
                self._count(found)
            else:
                if found.fault.action in ("quarantine", "abort"):
                    self._alive_at = time.monotonic()  # it refuses this, so it is there
                turned_away = None if found.fault.name == "unreachable" else found.fault.action == "wait"
                if turned_away:
                    # The slot is kept for about a round trip: freed at once, the next row would be turned away too.
                    await asyncio.sleep(min(self._pacing.round_trip, found.retry_after or 1.0, 1.0))
        finally:
            self._pacing.release(slot, turned_away=turned_away)
        if isinstance(found, Incident) and found.fault.action == "abort":
            raise self._stop(refusal(found, self._served))
        return found

    def _may_send(self) -> None:
        """Raise where nothing more may be sent."""
        if self._stopped is not None:
            raise copy.copy(self._stopped)  # one instance raised by many would collect all their tracebacks
        self._journal.check()
        used, limits = self.usage, self._teacher
        tokens = used.prompt_tokens + used.completion_tokens
        # Those in flight, this one among them, will take about what the answers so far took.
        ahead = self._pacing.in_flight / self._answers if self._answers else 0.0
        for limit, spent, unit in (
            (limits.max_requests, float(used.requests + 1), "requests"),
            (limits.max_tokens_total, tokens * (1 + ahead), "tokens"),
            (limits.max_cost, (used.cost or 0.0) * (1 + ahead), "cost"),
        ):
            if limit is not None and spent > limit:
                raise BudgetReached(
                    f"The budget of {limit:g} {unit} is reached after {used.requests} requests. What was answered is "
                    "kept; raise the limit and run the same command again to go on.",
                    url=self._served.url,
                )

    async def _open_client(self) -> TeacherClient:
        """Return the client; before the first request, the server is made ready and its identity confirmed."""
        async with self._preparing:
            if self._client is not None:
                return self._client
            if self._prepare is not None:
                self._may_send()
                try:
                    served = await self._prepare()
                except RebaseError as error:
                    raise self._stop(error) from None
                self._confirm(served)
                self._pacing.most = _most_in_flight(self._teacher, served)
                self._served = served
                self._alive_at = time.monotonic()
            self._client = TeacherClient(
                openai_schema=self._served.dialect == "openai" and self._arguments is None,
                api_key=self._secret,
                **({"base_url": self._served.url} if self._arguments is None else self._arguments),
            )
            return self._client

    def _confirm(self, served: Served) -> None:
        before, now = self.identity, served.identity
        if now != before:
            raise self._stop(
                TeacherRefused(
                    f"The teacher at {served.url} now serves `{now.model}` (revision {now.revision}); this run began "
                    f"with `{before.model}` (revision {before.revision}). Run the same command again, to ask the new.",
                    url=served.url,
                )
            )

    async def _pause(self, incident: Incident, times: int) -> None:
        """Wait before the next try, with full jitter; give up when nothing has succeeded for too long."""
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(times - 1, 10))
        pause = self._jitter.uniform(0.0, longest)
        if incident.retry_after is not None:
            # As long as was asked for, and a little apart from the others that were told the same.
            pause = incident.retry_after + self._jitter.uniform(0.0, min(0.25, longest))
        self._sleeping += 1
        try:
            until = time.monotonic() + pause
            while (now := time.monotonic()) < until:
                left = self._alive_at + self._give_up_after - now
                if left <= 0:
                    break
                await asyncio.sleep(min(until - now, left))
        finally:
            self._sleeping -= 1
        if self._stopped is None and time.monotonic() >= self._alive_at + self._give_up_after:
            raise self._stop(
                TeacherUnavailable(
                    f"The teacher at {self._served.url} gave no answer for {self._give_up_after:g} s (last: "
                    f"{incident.detail}), after {self._answers} answers. They are kept; run the same command again to "
                    "go on from there.",
                    url=self._served.url,
                    status=incident.status,
                )
            )

    def _stop(self, error: RebaseError) -> RebaseError:
        """Keep the first error that ends the run; every later ask raises it."""
        self._stopped = self._stopped or error
        return copy.copy(self._stopped)

    def _count(self, reply: Reply) -> None:
        self._alive_at = time.monotonic()
        self._answers += 1
        self.usage.prompt_tokens += reply.prompt_tokens
        self.usage.completion_tokens += reply.completion_tokens
        if (prices := self._teacher.price_per_million) is not None and self.usage.cost is not None:
            self.usage.cost += (reply.prompt_tokens * prices[0] + reply.completion_tokens * prices[1]) / 1_000_000

    def _completion(self, key: str, reply: Reply) -> Completion:
        return Completion(
            key=key,
            text=reply.text,
            finish_reason=reply.finish_reason,
            model=self.identity.model,  # not the answer's: servers echo whatever name they were sent
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
        )


async def open_endpoint(
    teacher: Teacher, journal: Journal, *, token: str | None = None, give_up_after: float = 600.0
) -> EndpointAsker:
    """Return the teacher at a URL, ready to be asked; see `asking.open_teacher`."""
    key = find_key(teacher, teacher.target, token)
    try:
        served = await _probe_patiently(teacher, token, give_up_after)
    except TeacherUnavailable as error:
        seen = last_seen(teacher)
        if seen is None:
            raise
        logger.warning("%s Only what is in the journal can be had from %s.", error, seen.identity.model)

        def probe_again() -> Awaitable[Served]:
            return _probe_patiently(teacher, token, give_up_after)

        return EndpointAsker(teacher, seen, key, journal, give_up_after=give_up_after, prepare=probe_again)
    return EndpointAsker(teacher, served, key, journal, give_up_after=give_up_after)


async def _probe_patiently(teacher: Teacher, token: str | None, give_up_after: float) -> Served:
    """Probe; while the answer is that the server is busy or starting, wait for it."""
    until = time.monotonic() + give_up_after
    while True:
        try:
            return await asyncio.to_thread(probe, teacher, token=token)
        except TeacherUnavailable as error:
            if error.status is None or time.monotonic() + BUSY_PAUSE > until:
                raise
            logger.info("%s Waiting for it.", error)
        await asyncio.sleep(BUSY_PAUSE)


def _most_in_flight(teacher: Teacher, served: Served) -> int:
    most = served.max_concurrency or DEFAULT_CONCURRENCY
    return most if teacher.max_concurrency is None else min(teacher.max_concurrency, most)
