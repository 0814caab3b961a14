"""Answers that were cut at the token limit: whether one was, and what of it is whole all the same."""

import json
from collections.abc import Mapping
from typing import Any

from rebase_hf.teacher.faults import one_line
from rebase_hf.teacher.prompts import Unreadable, parse_objects


def is_cut(text: str, finish_reason: str, schema: Mapping[str, Any] | None) -> bool:
    """Whether an answer was cut at the token limit; JSON that is whole was not, whatever the server says."""
    if finish_reason != "length":
        return False
    if schema is None:
        return True
    try:
        return not isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return True


def whole_outputs(text: str, schema: Mapping[str, Any] | None) -> int:
    """Return how many examples stand whole in a cut answer to a request for several; 0 where one was asked for."""
    asked = ((schema or {}).get("properties") or {}).get("examples") or {}
    if asked.get("type") != "array":
        return 0
    found = parse_objects(text, asked["items"]["required"])
    return 0 if isinstance(found, Unreadable) else len(found)


def describe_cut(text: str, max_tokens: int | None) -> str:
    """Return how a cut answer ends."""
    return one_line(f"cut at {max_tokens or 'the server limit of'} tokens, ending: ...{text[-160:]}")
