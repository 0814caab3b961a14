"""How long answers took, counted so that the counts of several processes add up.

They are counted in steps of which each is 9 % longer than the one before: what is told of them is right to 5 %,
whether there are ten or a million.
"""

import math
from collections.abc import Mapping

STEPS_PER_DOUBLING = 8
FIRST_SECONDS = 0.001
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}

Durations = dict[str, int]


def note_duration(counts: Durations, seconds: float) -> None:
    """Count one more answer that took so many seconds; a key of `counts` is the number of a step, as JSON wants it."""
    step = math.floor(STEPS_PER_DOUBLING * math.log2(max(seconds, FIRST_SECONDS) / FIRST_SECONDS))
    counts[str(step)] = counts.get(str(step), 0) + 1


def add_durations(counts: Mapping[str, int], others: Mapping[str, int]) -> Durations:
    """Return the counts of two processes together."""
    return {step: counts.get(step, 0) + others.get(step, 0) for step in sorted({*counts, *others}, key=int)}


def latency_report(counts: Mapping[str, int]) -> dict[str, float] | None:
    """Return how many answers were timed, and within how many seconds half, 90 % and 99 % of them came.

    None where none was: all were known, or nobody was asked over a line.
    """
    total = sum(counts.values())
    if not total:
        return None
    return {"answers": total, **{name: _within(counts, math.ceil(share * total)) for name, share in SHARES.items()}}


def _within(counts: Mapping[str, int], wanted: int) -> float:
    """Return in how many seconds so many answers came: the middle of the step that holds the last of them."""
    seen, step = 0, 0
    for step in sorted(map(int, counts)):
        seen += counts[str(step)]
        if seen >= wanted:
            break
    return float(f"{FIRST_SECONDS * 2 ** ((step + 0.5) / STEPS_PER_DOUBLING):.3g}")
