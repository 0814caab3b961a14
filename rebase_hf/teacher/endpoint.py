"""The teacher behind an address: AsyncInferenceClient with deadlines, retries, adaptive concurrency and a budget.

ask ─► journal ─(not there)─► sending ─► fault table: answer | again | Failure | stop ─► journal ─► answer
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rebase_hf.errors import RebaseError, TeacherUnavailable
from rebase_hf.rows import Completion, Draft
from rebase_hf.teacher.asking import (
    TeacherIdentity,
    Unanswered,
    Usage,
    content_key,
    merge_sampling,
    request_content,
)
from rebase_hf.teacher.cut_answers import describe_cut, is_cut, whole_outputs
from rebase_hf.teacher.dialects import probe
from rebase_hf.teacher.faults import TOO_LONG, TRUNCATED_ANSWER, Incident
from rebase_hf.teacher.journal import Failure, Journal, Outcome
from rebase_hf.teacher.one_request import Reply, seed_of
from rebase_hf.teacher.sending import Sender
from rebase_hf.teacher.served import Served, last_seen
from rebase_hf.teacher.target import Teacher, find_key

logger = logging.getLogger(__name__)

BUSY_PAUSE = 1.0  # between two probes of a server that is starting
SAY_SECONDS = 30.0  # between two lines that say so


class _Abandoned(Exception):  # noqa: N818 - whoever was asking has been cancelled; another takes over
    pass


@dataclass(slots=True)
class _Tries:
    """How often a request was tried, and whether that says something about it.

    Attributes:
        signs: The server's signs of life when it first failed.
        counts: There was one since then: the server works, and it is this request that fails.
        outages: How often it was found that the server does not.
    """

    made: int = 0
    signs: int | None = None
    counts: bool = False
    outages: int = 0


class EndpointAsker:
    """An open endpoint: an Asker. One event loop; made by `open_endpoint`.

    Args:
        teacher: The settings.
        served: What stands at the address.
        key: What is sent as the key.
        journal: Asked first, and written to before an answer is returned.
        give_up_after: Seconds without any success after which the run stops.
        prepare: Called before the first request, to start or find the server, where that has not been done; what the
            journal answers needs none. `served` tells only who answers until then.
        confirm: Called when the server was away, to see whether it is still the same that serves.
        arguments: Of AsyncInferenceClient, where it is not an address that is asked.
        on_close: Called when the teacher is closed, to stop what was started for it.
        spent: As in `asking.open_teacher`.
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
        confirm: Callable[[], Awaitable[Served]] | None = None,
        arguments: dict[str, Any] | None = None,
        on_close: Callable[[], Awaitable[None]] | None = None,
        spent: Mapping[str, Any] | None = None,
    ) -> None:
        self.usage = Usage(cost=None if teacher.price_per_million is None else 0.0)
        self._teacher = teacher
        self._journal = journal
        self._on_close = on_close
        self._pending: dict[str, asyncio.Future[Outcome]] = {}
        self._sender = Sender(
            teacher,
            served,
            key,
            journal,
            self.usage,
            give_up_after=give_up_after,
            prepare=prepare,
            confirm=confirm,
            arguments=arguments,
            spent=spent,
        )

    @property
    def identity(self) -> TeacherIdentity:
        """Who answers."""
        return self._sender.served.identity

    @property
    def concurrency(self) -> int:
        """How many drafts are worth having in flight now."""
        return self._sender.concurrency

    @property
    def grace(self) -> float:
        """Seconds that what is in flight may take: the deadline of a request, and a little to journal it."""
        return self._teacher.timeout + 5.0

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

    def halt(self) -> None:
        """Send nothing more; what is in flight is still answered and journalled."""
        self._sender.halt()

    async def close(self) -> None:
        """Close the connections, and what was started for this teacher."""
        try:
            await self._sender.close()
        finally:
            if self._on_close is not None:
                await self._on_close()

    async def _ask_once(self, key: str, content: dict[str, Any]) -> Outcome:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        if not self._pending:
            self._sender.begin()
        self._pending[key] = future
        try:
            found, sent = await self._find_out(key, content)
            outcome = await self._journal.put(key, content | {"sent": sent}, found)
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

    async def _find_out(self, key: str, content: dict[str, Any]) -> tuple[Outcome, dict[str, Any]]:
        """Send a request until it has an outcome; return it, and the settings that it was last sent with."""
        sent = dict(content["sampling"]) | {"seed": seed_of(key, content, self.identity.kind)}
        pauses = 0
        widened: Reply | None = None  # the answer that was cut before there was more room
        tries = _Tries()
        while True:
            max_tokens = sent["max_tokens"]
            found = await self._sender.send(key, content, max_tokens)
            if isinstance(found, Reply):
                tries.made += 1
                if not is_cut(found.text, found.finish_reason, content["schema"]):
                    return self._completion(key, found, tries.made), sent
                if widened or max_tokens is None:
                    return self._cut(key, content, found, describe_cut(found.text, max_tokens), tries.made), sent
                # Most answers that are cut only just did not fit.
                widened, sent["max_tokens"] = found, 2 * max_tokens
            elif found.fault.action == "wait":
                pauses += 1
                self.usage.refused += 1
                await self._sender.pause(found, pauses)
                continue
            elif (failure := await self._failed(key, found, tries)) is not None:
                if widened and failure.reason == TOO_LONG.reason:
                    return self._cut(key, content, widened, failure.detail, failure.attempts), sent
                return failure, sent
            self.usage.retries += 1

    def _cut(self, key: str, content: Mapping[str, Any], reply: Reply, detail: str, attempts: int) -> Outcome:
        """Return a cut answer as the failure that it is, unless outputs stand whole in it: these are paid for."""
        if whole_outputs(reply.text, content["schema"]):
            return self._completion(key, reply, attempts)
        return Failure(key, TRUNCATED_ANSWER.reason, detail, attempts)

    async def _failed(self, key: str, found: Incident, tries: "_Tries") -> Failure | None:
        """Wait before a request is tried again; return its failure when it was tried often enough.

        When nothing was answered since it first failed, it may be the server that is out, whatever it is asked. So
        before the last try the server has to give a sign of life. Without one, none of the tries counts.
        """
        tries.made += 1
        fault, sender = found.fault, self._sender
        if fault.action == "quarantine" or (tries.made >= fault.attempts and (tries.counts or not fault.outage)):
            return Failure(key, fault.reason, found.detail, tries.made)
        if tries.signs is None:
            tries.signs = sender.signs
        await sender.pause(found, tries.made + tries.outages)
        if fault.outage and not tries.counts and tries.made >= fault.attempts - 1:
            tries.counts = sender.signs > tries.signs or await sender.gives_a_sign(found)
            if not tries.counts:
                tries.made, tries.signs, tries.outages = 0, None, tries.outages + 1
        return None

    def _completion(self, key: str, reply: Reply, attempts: int) -> Completion:
        return Completion(
            key=key,
            text=reply.text,
            finish_reason=reply.finish_reason,
            model=self.identity.model,  # not the answer's: servers echo whatever name they were sent
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            attempts=attempts,
        )


async def open_endpoint(
    teacher: Teacher,
    journal: Journal,
    *,
    token: str | None = None,
    give_up_after: float = 600.0,
    spent: Mapping[str, Any] | None = None,
) -> EndpointAsker:
    """Return the teacher at a URL, ready to be asked; see `asking.open_teacher`."""
    key = find_key(teacher, teacher.target, token)

    def probe_again() -> Awaitable[Served]:
        return asyncio.to_thread(probe, teacher, token=token)

    def probe_patiently() -> Awaitable[Served]:
        return _probe_patiently(teacher, token, give_up_after)

    prepare: Callable[[], Awaitable[Served]] | None = None
    try:
        served = await probe_again()
    except TeacherUnavailable as error:
        if (seen := last_seen(teacher)) is not None:
            logger.warning("%s Only what is in the journal can be had from %s.", error, seen.identity.model)
            served, prepare = seen, probe_patiently
        elif error.status is not None:
            served = await probe_patiently()
        else:
            raise
    return EndpointAsker(
        teacher,
        served,
        key,
        journal,
        give_up_after=give_up_after,
        prepare=prepare,
        confirm=probe_again,
        spent=spent,
    )


async def _probe_patiently(teacher: Teacher, token: str | None, give_up_after: float) -> Served:
    """Probe; while the answer is that the server is busy or starting, wait for it."""
    until = time.monotonic() + give_up_after
    say_at = 0.0
    while True:
        try:
            return await asyncio.to_thread(probe, teacher, token=token)
        except TeacherUnavailable as error:
            now = time.monotonic()
            if error.status is None or now + BUSY_PAUSE > until:
                raise
            if now >= say_at:
                say_at = now + SAY_SECONDS
                logger.info("%s Waiting for it.", error)
        await asyncio.sleep(BUSY_PAUSE)
