"""What a run has used, over all processes that led it, and in the present call."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rebase_hf.teacher.asking import Usage
from rebase_hf.teacher.latency import add_durations


def total_used(before: Mapping[str, Any], now: Usage, seconds: Mapping[str, float], session: str) -> dict[str, Any]:
    """Return what was used in all, by the processes that led this run before and by this one.

    Args:
        before: What this returned to the process before.
        seconds: How long this process took, by stage.
        session: Names the present call; what it used stands under `session` besides.
    """
    past = before.get("session", {})
    total = _added(before, now)
    total["session"] = {"name": session} | _added(past if past.get("name") == session else {}, now)
    total["seconds"] = {name: value + before.get("seconds", {}).get(name, 0.0) for name, value in seconds.items()}
    return total


def _added(before: Mapping[str, Any], now: Usage) -> dict[str, Any]:
    total = asdict(now)
    for name in ("requests", "prompt_tokens", "completion_tokens", "retries", "refused"):
        total[name] += before.get(name, 0)
    total["durations"] = add_durations(now.durations, before.get("durations", {}))
    if before.get("cost") is not None:
        total["cost"] = before["cost"] + (now.cost or 0.0)
    return total
