"""One request: sent once, within its deadline, and what came of it."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rebase_hf.teacher.asking import clean_text
from rebase_hf.teacher.budget import CHARS_PER_TOKEN
from rebase_hf.teacher.dialects import schema_arguments
from rebase_hf.teacher.faults import Incident, classify
from rebase_hf.teacher.served import Served
from rebase_hf.teacher.transport import REQUEST_ERRORS, TeacherClient

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the server.

    Attributes:
        estimated: The server did not say how many tokens it took; they are reckoned from the characters.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    estimated: bool = False


async def send_once(
    client: TeacherClient,
    served: Served,
    key: str,
    content: Mapping[str, Any],
    *,
    max_tokens: int | None,
    timeout: float,
) -> Reply | Incident:
    """Send a request and return the answer, or what went wrong instead.

    The total deadline is ours: the client's own timeout is for each read.
    """
    sampling = content["sampling"]
    try:
        async with asyncio.timeout(timeout):
            answer = await client.complete(
                content["messages"],
                model=served.model,
                max_tokens=max_tokens,
                temperature=sampling["temperature"],
                top_p=sampling["top_p"],
                seed=seed_of(key, content, served.identity.kind),
                **schema_arguments(served.dialect, content["schema"]),
            )
    except REQUEST_ERRORS as error:
        sent = (message["content"] for message in content["messages"])
        incident = classify(error, hide=client.hide_key, sent=sent)
    else:
        return _reply(answer, content)
    detail = clean_text(incident.detail)
    if incident.fault.name == "timeout" and incident.status is None:
        detail = f"no whole answer within {timeout:g} s"
    logger.debug("%s: %s", incident.fault.name, detail)
    return replace(incident, detail=detail)


def _reply(answer: Mapping[str, Any], content: Mapping[str, Any]) -> Reply:
    text = clean_text(answer["text"])
    prompt, completion = answer["prompt_tokens"], answer["completion_tokens"]
    return Reply(
        text=text,
        finish_reason=clean_text(answer["finish_reason"])[:40],
        prompt_tokens=prompt_chars(content) // CHARS_PER_TOKEN if prompt is None else prompt,
        completion_tokens=len(text) // CHARS_PER_TOKEN if completion is None else completion,
        estimated=prompt is None or completion is None,
    )


def prompt_chars(content: Mapping[str, Any]) -> int:
    """Return how many characters the messages of a request have."""
    return sum(len(message["content"]) for message in content["messages"])


def seed_of(key: str, content: Mapping[str, Any], kind: str) -> int | None:
    """Return the seed of a request: the method's, one apart for each draw, else one that is the request's own.

    So a server that honours seeds gives the same answer to the same request. A hosted provider is sent only what was
    asked for: some refuse a seed.
    """
    seed = content["sampling"]["seed"]
    if seed is not None:
        return int(seed) + int(content["sample"])
    return int(key[:8], 16) >> 1 if kind in ("endpoint", "local") else None
