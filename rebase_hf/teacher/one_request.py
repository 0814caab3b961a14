"""One request: sent once, within its deadline, and what came of it."""

import asyncio
import json
import logging
from dataclasses import dataclass, replace
from typing import Any

from rebase_hf.teacher.asking import clean_text
from rebase_hf.teacher.dialects import schema_arguments
from rebase_hf.teacher.faults import Incident, classify, one_line
from rebase_hf.teacher.served import Served
from rebase_hf.teacher.transport import REQUEST_ERRORS, TeacherClient

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the server."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int

    def is_truncated(self, schema: Any) -> bool:
        """Whether it was cut at the token limit; JSON that is whole was not, whatever the server says."""
        if self.finish_reason != "length":
            return False
        if schema is None:
            return True
        try:
            return not isinstance(json.loads(self.text), dict)
        except (ValueError, RecursionError):
            return True


async def send_once(
    client: TeacherClient, served: Served, key: str, content: dict[str, Any], *, max_tokens: int | None, timeout: float
) -> Reply | Incident:
    """Send a request and return the answer, or what went wrong instead.

    The total deadline is ours: the client's own timeout is for each read.
    """
    sampling = content["sampling"]
    try:
        async with asyncio.timeout(timeout):
            answer = await client.chat_completion(
                content["messages"],
                model=served.model,
                max_tokens=max_tokens,
                temperature=sampling["temperature"],
                top_p=sampling["top_p"],
                seed=_seed(key, content, served.identity.kind),
                **schema_arguments(served.dialect, content["schema"]),
            )
    except REQUEST_ERRORS as error:
        incident = classify(error, hide=client.hide_key)
    else:
        return _reply(answer)
    detail = clean_text(incident.detail)
    if incident.fault.name == "timeout" and incident.status is None:
        detail = f"no whole answer within {timeout:g} s"
    logger.debug("%s: %s", incident.fault.name, detail)
    return replace(incident, detail=detail)


def _reply(answer: Any) -> Reply:
    choice = answer.choices[0]
    usage = answer.usage
    return Reply(
        text=clean_text(choice.message.content),
        finish_reason=str(choice.finish_reason or "stop"),
        prompt_tokens=_tokens(usage, "prompt_tokens"),
        completion_tokens=_tokens(usage, "completion_tokens"),
    )


def _tokens(usage: Any, name: str) -> int:
    value = getattr(usage, name, None)
    return value if isinstance(value, int) and value >= 0 else 0


def _seed(key: str, content: dict[str, Any], kind: str) -> int | None:
    """Return the seed of a request: the method's, one apart for each draw, else one that is the request's own.

    So a server that honours seeds gives the same answer to the same request. A hosted provider is sent only what was
    asked for: some refuse a seed.
    """
    seed = content["sampling"]["seed"]
    if seed is not None:
        return int(seed) + int(content["sample"])
    return int(key[:8], 16) >> 1 if kind in ("endpoint", "local") else None


def describe_cut(text: str, max_tokens: int | None) -> str:
    """Return how a cut answer ends."""
    return one_line(f"cut at {max_tokens or 'the server limit of'} tokens, ending: ...{text[-160:]}")
