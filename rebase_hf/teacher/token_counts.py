"""How many tokens a prompt has, asked of the server itself; nothing is generated, so nothing is paid.

| server    | asked                                                                       |
|-----------|-----------------------------------------------------------------------------|
| TGI       | POST /chat_tokenize {messages}: the chat template is counted too            |
| vLLM      | POST /tokenize {model, messages}: likewise                                  |
| llama.cpp | POST /tokenize {content}                                                    |
| others    | they have no such route                                                     |
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from rebase_hf.teacher.dialects import PROBE_SECONDS, server_root
from rebase_hf.teacher.served import Served, last_seen
from rebase_hf.teacher.target import NO_KEY, Teacher, find_key

logger = logging.getLogger(__name__)


def count_tokens(
    teacher: Teacher, prompts: Sequence[Sequence[Mapping[str, str]]], *, token: str | None = None
) -> list[int] | None:
    """Return the number of tokens of each prompt, or None where the teacher's server does not count them.

    Args:
        prompts: The messages of each, as they are sent: `role` and `content`.
    """
    if teacher.kind != "endpoint" or (served := last_seen(teacher)) is None:
        return None
    from rebase_hf.teacher.connections import httpx, questioner

    key = find_key(teacher, teacher.target, token)
    headers = {} if key == NO_KEY else {"Authorization": f"Bearer {key}"}
    url = teacher.target
    try:
        with questioner(url, headers=headers, timeout=PROBE_SECONDS) as client:
            counts = []
            for messages in prompts:
                if (count := _count(client, served, server_root(url), messages)) is None:
                    return None
                counts.append(count)
    except httpx.HTTPError as error:
        logger.debug("The server at %s counted no tokens: %s", served.url, error)
        return None
    return counts


def _count(client: Any, served: Served, root: str, messages: Sequence[Mapping[str, str]]) -> int | None:
    if served.dialect == "tgi":
        path, body, name = "/chat_tokenize", {"model": served.model, "messages": messages}, "tokenize_response"
    elif served.dialect == "vllm":
        path, body, name = "/tokenize", {"model": served.model, "messages": messages}, "tokens"
    elif served.dialect == "llama.cpp":
        path, body, name = "/tokenize", {"content": "\n".join(message["content"] for message in messages)}, "tokens"
    else:
        return None
    response = client.post(root + path, json=body)
    if response.status_code != 200:
        return None
    try:
        tokens = response.json()[name]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return len(tokens) if isinstance(tokens, list) else None
