"""Calls of huggingface_hub with what it leaves out: a time limit, patience, and errors that say what to do."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from rebase_hf.errors import TeacherError, TeacherRefused, TeacherUnavailable
from rebase_hf.teacher.faults import one_line
from rebase_hf.teacher.proxies import socks_refusal
from rebase_hf.teacher.served import Served
from rebase_hf.teacher.target import NO_KEY, Teacher, find_key

logger = logging.getLogger(__name__)

CALL_SECONDS = 15.0
FIRST_POLL, LONGEST_POLL = 0.1, 10.0
TELL_SECONDS = 60.0


def hf_key(teacher: Teacher, token: str | None) -> str:
    """Return the key for a teacher that Hugging Face hosts.

    Raises:
        TeacherRefused: There is none.
    """
    key = find_key(teacher, None, token)
    if key == NO_KEY:
        raise TeacherRefused(
            f"The teacher `{teacher.target}` is hosted by Hugging Face, and no token was found; expected one in "
            "HF_TOKEN, saved by `hf auth login`, or named by --api-key-env."
        )
    return key


async def wait_until_ready(step: Callable[[], Served | str], what: str, give_up_after: float) -> Served:
    """Repeat a step until it no longer returns what it waits for.

    Raises:
        TeacherUnavailable: It takes longer than `give_up_after` seconds, or offline mode is on.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise TeacherUnavailable(
            f"`{what}` can't be asked: offline mode is enabled (HF_HUB_OFFLINE), and not every answer is in the "
            "journal. Unset it, and run the same command again."
        )
    began = told = time.monotonic()
    pause, said = FIRST_POLL, ""
    while True:
        found = await asyncio.to_thread(step)
        if isinstance(found, Served):
            return found
        now = time.monotonic()
        if now >= began + give_up_after:
            raise TeacherUnavailable(
                f"`{what}` was not ready within {give_up_after:g} s: {found.rstrip('.')}. What was answered is kept; "
                "run the same command again, or wait longer (--give-up-after)."
            )
        if found != said or now - told >= TELL_SECONDS:
            logger.info("Waiting for `%s` (%.0f s): %s", what, now - began, found)
            said, told = found, now
        await asyncio.sleep(min(pause, began + give_up_after - now))
        pause = min(1.5 * pause, LONGEST_POLL)


def within_time(call: Callable[[], Any], explain: Callable[[Exception], TeacherError]) -> Any:
    """Return what a call of huggingface_hub returns, unless it takes too long: it sets itself no time limit.

    It goes on in a thread that nobody waits for then, not even the interpreter.

    Raises:
        TeacherError: What `explain` makes of its error, or of having waited for it.
        TeacherRefused: The environment names a SOCKS proxy.
    """
    from rebase_hf.teacher.connections import httpx

    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(call())
        # ValueError and the like: an answer that is not what huggingface_hub expects.
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, LookupError, TypeError) as error:
            outcome.append(explain(error))
        except ImportError as error:  # its HTTP client does not start beside a SOCKS proxy
            outcome.append(socks_refusal("Hugging Face") or error)

    thread = threading.Thread(target=run, name="rebase-hosted", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter is ending, and starts no thread any more (3.12)
        run()
    else:
        thread.join(CALL_SECONDS)
    if not outcome:
        raise explain(TimeoutError(f"no answer within {CALL_SECONDS:g} s"))
    if isinstance(outcome[0], TeacherError | ImportError):
        raise outcome[0]
    return outcome[0]


def status_of(error: Exception) -> int | None:
    """Return the HTTP status that an exception of huggingface_hub tells, if it tells one."""
    response = getattr(error, "response", None)
    return None if response is None else int(response.status_code)


def said_by(error: Exception, key: str) -> str:
    """Return one line of what an exception says, without the key."""
    return one_line(f"{type(error).__name__}: {error}".replace(key, "***"))
