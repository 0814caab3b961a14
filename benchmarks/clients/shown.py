"""What was counted, in words and with as many digits as it is worth."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any


def shown_of(scenario: str, found: Mapping[str, Any]) -> str:
    """Return what a scenario counted, in a line."""
    if "failed" in found:
        return str(found["failed"])
    if scenario == "cpu":
        return f"{spread(found['milliseconds'], 2)} ms a row"
    if scenario == "throughput":
        return f"{spread(found['asking'], 0)} rows/s while asking, {spread(found['call'], 0)} of the call"
    if scenario == "defaults":
        return f"{found['rows_per_second']:.0f} rows/s, {found['most_at_once']} at once"
    if scenario == "killed":
        again = f"{found['asked_before']} asked before, {found['asked_after']} after"
        return f"{again}; {found['right']} of {found['rows']} rows, {ended(found['exit_code'])}"
    rows = f"{spread(found['missing'], 0)} of {found['rows']} rows missing, {spread(found['null'], 0)} null"
    ends = " or ".join(dict.fromkeys(ended(code) for code in found["exit_code"]))
    return f"{spread(found['asking'], 1)} s, {spread(found['wasted'], 0)} wasted; {rows}; {ends}"


def spread(figures: Sequence[float], digits: int) -> str:
    """Return the median of some figures, and the least and the most of them where they differ."""
    middle, least, most = (f"{one:.{digits}f}" for one in (statistics.median(figures), min(figures), max(figures)))
    return middle if least == most else f"{middle} ({least}-{most})"


def ended(exit_code: int | None) -> str:
    """Return how a process came to its end; None is one that did not."""
    return "does not end" if exit_code is None else f"exit code {exit_code}"


def rounded(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return figures with as many digits as they are worth."""
    return {key: [_rounded(one) for one in v] if isinstance(v, list) else _rounded(v) for key, v in found.items()}


def _rounded(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value
