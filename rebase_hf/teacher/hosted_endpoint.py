"""One Inference Endpoint of Hugging Face: what it runs, and how it is woken, waited for and paused again.

paused, scaledToZero ─► resume ─► pending, initializing ─► running ─► health route 200 ─► asked ─► pause, if told
"""

import asyncio
import logging
import threading
import time
from dataclasses import replace
from typing import Any

from rebase_hf.errors import TeacherError, TeacherRefused, TeacherUnavailable
from rebase_hf.teacher.asking import Halted, TeacherIdentity
from rebase_hf.teacher.dialects import PROBE_SECONDS, probe
from rebase_hf.teacher.faults import one_line
from rebase_hf.teacher.hub_calls import CALL_SECONDS, hf_key, said_by, status_of, wait_until_ready, within_time
from rebase_hf.teacher.refusals import refused_key_message
from rebase_hf.teacher.served import Served, last_seen, remember
from rebase_hf.teacher.target import Teacher, takes_hf_token

logger = logging.getLogger(__name__)

CONSOLE = "https://endpoints.huggingface.co"
PAUSE_TRIES = 3
STEP_SECONDS = 2 * CALL_SECONDS + 1.0  # a look and a resuming, each with its own time limit


class HostedEndpoint:
    """An Inference Endpoint: described, woken, and paused again.

    A step of waking goes on in its thread when whoever waited for it is cancelled. So resuming and closing take turns:
    what is under way is waited for, and what comes later is too late.
    """

    def __init__(self, teacher: Teacher, token: str | None) -> None:
        self.key = hf_key(teacher, token)
        self._teacher = teacher
        self._turn = threading.Lock()
        self._closing = False
        self._used = False
        self._resumed = self._perhaps_resumed = False

    def describe(self) -> Served:
        """Return what the endpoint runs; while Hugging Face can't be asked, what it was last seen to run."""
        try:
            found = self._call("get")
        except TeacherUnavailable as error:
            seen = last_seen(self._teacher)
            if seen is None:
                raise
            logger.warning("%s Going on with the model last seen there, %s.", error, seen.identity.model)
            return seen
        identity = self._identity(found)
        served = Served(identity, self._teacher.target, self._teacher.dialect or "tgi", identity.model)
        remember(self._teacher, served)
        return served

    async def wake(self, give_up_after: float) -> Served:
        """Resume the endpoint where it rests, and return what it serves once it answers."""
        return await wait_until_ready(self._rouse, self._teacher.target, give_up_after)

    async def confirm(self) -> Served:
        """Return what the endpoint serves now, without resuming what somebody has paused meanwhile.

        Raises:
            TeacherUnavailable: It does not answer now.
        """
        found = await asyncio.to_thread(self._look)
        if isinstance(found, str):
            raise TeacherUnavailable(f"`{self._teacher.target}`: {found}")
        return found

    async def close(self) -> None:
        """Pause the endpoint, when that was asked for and it was used; never raises. Nothing resumes it from now on.

        It blocks, so that neither a cancellation nor an interpreter that ends can leave the endpoint running.
        """
        self._closing = True
        if self._turn.acquire(timeout=STEP_SECONDS):
            self._turn.release()
        if not self._used:
            return
        if self._teacher.pause_after:
            self._pause()
        elif self._resumed or self._perhaps_resumed:
            said = "was resumed for this run; it still runs, and costs money"
            if not self._resumed:
                said = "was told to resume for this run, and did not say whether it does; it may run, and cost money"
            logger.warning("`%s` %s. %s", self._teacher.target, said, self._how_to_pause())

    def _call(self, action: str) -> Any:
        """Do `get`, `resume` or `pause`, and return the endpoint as huggingface_hub describes it."""
        from huggingface_hub import HfApi

        method = getattr(HfApi(token=self.key), f"{action}_inference_endpoint")
        namespace, _, name = self._teacher.location.partition("/")
        return within_time(lambda: method(name, namespace=namespace), self._explain)

    def _explain(self, error: Exception) -> TeacherError:
        target = self._teacher.target
        status = status_of(error)
        said = said_by(error, self.key)
        if status in (401, 403):
            return TeacherRefused(
                f"Hugging Face answered {status} for `{target}`: the token is wrong, or has no right to that; "
                "expected one that may use and resume it (inference.endpoints). Set HF_TOKEN, or run: hf auth login",
                status=status,
            )
        if status in (404, 410):
            return TeacherRefused(
                f"The Inference Endpoint `{self._teacher.location}` was not found ({status}); expected "
                f"endpoint:NAMESPACE/NAME as on {CONSOLE}. Correct the name.",
                status=status,
            )
        if status is not None and status < 500 and status not in (408, 425, 429):
            return TeacherRefused(f"Hugging Face refused a request for `{target}`: {said}", status=status)
        return TeacherUnavailable(
            f"Hugging Face could not be asked for `{target}` ({said}). Run the same command again later.",
            status=status,
        )

    def _identity(self, found: Any) -> TeacherIdentity:
        named = self._teacher.model
        model = named if named not in (None, "tgi") else found.repository
        return TeacherIdentity(str(model or found.name), found.revision, "hf-endpoint")

    def _rouse(self) -> Served | str:
        """Resume the endpoint where it rests; return what it serves, or what it is waited for."""
        with self._turn:
            self._refuse_when_closing()
            self._used = True
            try:
                found = self._call("get")
                if found.status in ("paused", "scaledToZero"):
                    self._refuse_when_closing()
                    self._resume(found)
            except TeacherUnavailable as error:
                return str(error)
        return self._served(found)

    def _refuse_when_closing(self) -> None:
        if self._closing:
            raise Halted(f"`{self._teacher.target}` was closed before it was ready.")

    def _look(self) -> Served | str:
        return self._served(self._call("get"))

    def _served(self, found: Any) -> Served | str:
        state, message = found.status, one_line(str(found.raw["status"].get("message") or ""))
        if state in ("failed", "updateFailed"):
            raise TeacherUnavailable(
                f"`{self._teacher.target}` can't be used: its state is {state} ({message or 'no reason given'}). Mend "
                f"it at {CONSOLE}, then run the same command again."
            )
        if found.url is None or state not in ("running", "scaledToZero"):
            return f"it is {state}" + (f" ({message})" if message else "")
        if not takes_hf_token(found.url):
            raise TeacherRefused(
                f"`{self._teacher.target}` stands at {found.url}, which is no address of Hugging Face's; no token is "
                "sent there. Give the address itself (--teacher URL), and its key by --api-key-env.",
                url=found.url,
            )
        # A request also wakes what is scaled to zero; until it stands, a proxy answers 502 or 503 for it.
        if (answer := self._health(found)) != 200 or state != "running":
            return f"it is {state}, and its health route answers {answer}"
        try:
            served = probe(replace(self._teacher, target=found.url, pause_after=False), token=self.key)
        except TeacherUnavailable as error:
            return str(error)
        return replace(served, identity=self._identity(found))

    def _resume(self, found: Any) -> None:
        logger.info("`%s` is %s. Resuming it; it costs money from now on.", self._teacher.target, found.status)
        paused = found.status == "paused"
        try:
            self._call("resume")
        except TeacherUnavailable:
            self._perhaps_resumed = self._perhaps_resumed or paused
            raise
        except TeacherRefused:
            if paused:
                raise
            # What is scaled to zero needs no resuming, and may not be resumable: the request that follows wakes it.
        # What was scaled to zero goes back there by itself.
        self._resumed = self._resumed or paused

    def _health(self, found: Any) -> int | str:
        from rebase_hf.teacher.connections import httpx, questioner

        url = f"{found.url.rstrip('/')}/{found.health_route.lstrip('/')}"
        headers = {"Authorization": f"Bearer {self.key}"}
        try:
            with questioner(url, headers=headers, timeout=PROBE_SECONDS) as client:
                status = int(client.get(url).status_code)
        except httpx.HTTPError as error:
            return said_by(error, self.key)
        if status in (401, 403):
            raise TeacherRefused(refused_key_message(found.url, status), url=found.url, status=status)
        return status

    def _pause(self) -> None:
        said = "it was asked to, and is not paused yet"
        for attempt in range(PAUSE_TRIES):
            time.sleep(attempt)
            try:
                if self._is_paused():
                    logger.info("`%s` is paused again.", self._teacher.target)
                    return
            except TeacherUnavailable as error:
                said = str(error)
            except TeacherRefused as error:
                said = str(error)
                break
        logger.warning(
            "`%s` could not be paused: it may still run, and cost money. %s (%s)",
            self._teacher.target,
            self._how_to_pause(),
            said,
        )

    def _is_paused(self) -> bool:
        try:
            found = self._call("pause")
        except TeacherRefused:
            found = self._call("get")  # another run may have paused it before
            if found.status != "paused":
                raise
        return bool(found.status == "paused")

    def _how_to_pause(self) -> str:
        namespace, _, name = self._teacher.location.partition("/")
        return f"Pause it: hf endpoints pause {name} --namespace {namespace}, or at {CONSOLE}."
