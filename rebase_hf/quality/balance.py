"""How labels are shared out in a set, and cutting it to the shares that it should have."""

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rebase_hf.errors import TaskError

# A set whose shares are off by less in all is as it should be: 2 of 100 rows would have another label.
TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class LabelBalance:
    """How the rows of a set share out among labels.

    Attributes:
        counts: Rows by label, in the order of the task's labels.
        entropy: Of the shares, in bits.
        evenness: The entropy as a share of what equal shares of all labels would have: 1 for those, 0 for one label.
        missing: Labels without a row.
    """

    counts: Mapping[str, int]
    entropy: float
    evenness: float
    missing: tuple[str, ...]

    @property
    def shares(self) -> dict[str, float]:
        """The share of the rows that each label has."""
        total = sum(self.counts.values())
        return {label: count / total if total else 0.0 for label, count in self.counts.items()}

    def to_report(self) -> dict[str, Any]:
        """Return what a report says of it."""
        shares = {label: round(share, 4) for label, share in self.shares.items()}
        figures = {"entropy_bits": round(self.entropy, 4), "evenness": round(self.evenness, 4)}
        return {"counts": dict(self.counts), "shares": shares, **figures, "missing": list(self.missing)}


def label_balance(rows: Sequence[str], labels: Sequence[str]) -> LabelBalance:
    """Return how rows share out.

    Args:
        rows: Each row's label.
        labels: All labels of the task; others that rows have come after them.
    """
    found = Counter(rows)
    counts = {label: found[label] for label in (*labels, *sorted(found.keys() - set(labels)))}
    shares = [count / len(rows) for count in counts.values() if count]
    entropy = -sum(share * math.log2(share) for share in shares) + 0.0
    evenness = entropy / math.log2(len(counts)) if len(counts) > 1 else 1.0
    return LabelBalance(counts, entropy, evenness, tuple(label for label, count in counts.items() if not count))


def distance(shares: Mapping[str, float], target: Mapping[str, float]) -> float:
    """Return the share of rows that would need another label to turn one distribution into the other."""
    labels = shares.keys() | target.keys()
    return math.fsum(abs(shares.get(label, 0.0) - target.get(label, 0.0)) for label in sorted(labels)) / 2


def balanced_rows(
    rows: Sequence[str], target: Mapping[str, float] | None = None, *, tolerance: float = TOLERANCE, seed: int = 0
) -> list[bool]:
    """Return which rows to keep, as many as can be, so that labels have the shares of `target`.

    Rows are only left out, never repeated: the scarcest label decides how many stay. Those of a label are drawn by
    chance. A set that is within the tolerance stays as it is.

    Args:
        rows: Each row's label.
        target: Share or weight by label; labels that it does not name get none. None gives every label that a row has
            the same.
        tolerance: How far the shares may be from the target's (`distance`).

    Raises:
        TaskError: The target is none, a label that it names has no rows, or too few rows are there to come so near.
    """
    have = Counter(rows)
    wanted = _shares(dict.fromkeys(have, 1.0) if target is None else target)
    if not rows or distance({label: count / len(rows) for label, count in have.items()}, wanted) <= tolerance:
        return [True] * len(rows)
    missing = [label for label in wanted if not have[label]]
    if missing:
        raise TaskError(
            f"Balance: no row has {_quoted(missing)}, of which {wanted[missing[0]]:.1%} were asked for. Take what has "
            "no rows out of the target, or generate rows that have it."
        )
    keep = _counts(have, wanted)
    total = sum(keep.values())
    off = distance({label: count / total for label, count in keep.items()}, wanted) if total else 1.0
    if off > tolerance:
        scarce = min(wanted, key=lambda label: have[label] / wanted[label])
        raise TaskError(
            f"Balance: the nearest that {len(rows)} rows come to the target is {total} rows, {off:.1%} off; expected "
            f"at most {tolerance:.1%}. Generate more rows of `{scarce}`."
        )
    return _drawn(rows, keep, seed)


def _shares(target: Mapping[str, float]) -> dict[str, float]:
    total = math.fsum(target.values())
    if not all(math.isfinite(weight) and weight >= 0 for weight in target.values()) or (target and not total > 0):
        raise TaskError(f"Balance: the target is {dict(target)!r}; expected a share above zero for some label.")
    return {label: weight / total for label, weight in target.items() if weight}


def _counts(have: Mapping[str, int], wanted: Mapping[str, float]) -> dict[str, int]:
    """Return how many rows of each label make the largest set with the shares wanted, rounded to whole rows."""
    total = min(have[label] / share for label, share in wanted.items())
    exact = {label: total * share for label, share in wanted.items()}
    counts = {label: min(have[label], math.floor(count + 1e-9)) for label, count in exact.items()}
    # What rounding down left over goes where most of it was lost, as long as there are rows.
    for label in sorted(wanted, key=lambda label: (counts[label] - exact[label], label)):
        if sum(counts.values()) < math.floor(total + 1e-9) and counts[label] < min(have[label], exact[label]):
            counts[label] += 1
    return counts


def _drawn(rows: Sequence[str], keep: Mapping[str, int], seed: int) -> list[bool]:
    numbers: dict[str, list[int]] = {}
    for number, label in enumerate(rows):
        numbers.setdefault(label, []).append(number)
    stay: set[int] = set()
    for label in sorted(keep):
        # Each label draws by itself: what another one has does not change which rows of this one stay.
        stay.update(random.Random(f"{seed}:{label}").sample(numbers[label], keep[label]))
    return [number in stay for number in range(len(rows))]


def _quoted(labels: Sequence[str]) -> str:
    return ", ".join(f"`{label}`" for label in labels)
