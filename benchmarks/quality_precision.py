"""How often a check is right about the rows that it takes out: samples read by hand. Needs REBASE_KIT.

`quality_reading` writes the samples for reading, `quality_read.json` holds what was read: a verdict on each row under
its digest. Here they are drawn anew and joined with the verdicts; a row without one stops it. The share is of the rows
read, of which each task has as many; an unclear one counts against the check. The interval is Wilson's, of 95 %.
Weighted, every task counts as much as it has rows that the check takes out.
"""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

from benchmarks.claims import Line, parser, report
from benchmarks.quality_reading import gathered
from benchmarks.quality_samples import KEPT, Sampled
from benchmarks.quality_verdicts import Verdict, read_verdicts

TARGET = 0.8
# Of the samples, those of what no default check does.
ON_REQUEST = ("semantic_copy", "semantic_duplicate", "near_evaluation_set", "label_contradicted", "hard_to_learn")
_95 = 1.959964


def main() -> None:
    """Join, show and write the figures."""
    made = parser(__doc__)
    options = made.parse_args()
    sampler = gathered()
    samples, verdicts = sampler.drawn(), read_verdicts()
    stop_at_unread(samples, verdicts)
    lines = [
        line_of(check, [(row, verdicts[check][row.digest]) for row in rows], sampler.counts[check])
        for check, rows in samples.items()
    ]
    report("quality_precision", made, options, lines)


def stop_at_unread(samples: Mapping[str, Sequence[Sampled]], verdicts: Mapping[str, Mapping[str, Verdict]]) -> None:
    """Leave where a row of a sample has no verdict."""
    unread = {
        check: missing
        for check, rows in samples.items()
        if (missing := sum(row.digest not in verdicts.get(check, {}) for row in rows))
    }
    if unread:
        told = ", ".join(f"{count} of {check}" for check, count in unread.items())
        sys.exit(
            f"Nobody has read {told}. Write them with `python -m benchmarks.quality_reading OUT --unread`, read them, "
            "and put the verdicts into benchmarks/quality_read.json."
        )


def line_of(check: str, read: Sequence[tuple[Sampled, Verdict]], counts: Mapping[str, int]) -> Line:
    """Return the share of rows that a check was right about; of the kept ones, the share without a fault."""
    said = Counter(verdict.said for _, verdict in read)
    low, high = wilson(said["right"], len(read))
    share = said["right"] / len(read)
    details: dict[str, Any] = {
        "read": len(read),
        **{word: said[word] for word in ("right", "wrong", "unclear")},
        "low": round(low, 4),
        "high": round(high, 4),
        "rows": sum(counts.values()),
        "weighted": round(weighted(read, counts), 4),
        "tasks": dict(Counter(row.task for row, _ in read)),
        "why": dict(Counter(v.why for _, v in read if v.said != "right" and v.why).most_common()),
    }
    shown = f"{share:.2f} ({low:.2f} to {high:.2f}), {said['right']} of {len(read)} read"
    if check in (KEPT, *ON_REQUEST):
        return Line(check, check, shown, details=details)
    return Line(check, check, shown, f"at least {TARGET:g}", share >= TARGET, details)


def wilson(right: int, of: int) -> tuple[float, float]:
    """Return Wilson's interval of 95 % for a share; `of` must not be 0."""
    share, square = right / of, _95**2 / of
    middle = share + square / 2
    half = _95 * sqrt(share * (1 - share) / of + square / (4 * of))
    return max(0.0, (middle - half) / (1 + square)), min(1.0, (middle + half) / (1 + square))


def weighted(read: Sequence[tuple[Sampled, Verdict]], counts: Mapping[str, int]) -> float:
    """Return the share by what each task read has of such rows."""
    of, right = Counter[str](), Counter[str]()
    for row, verdict in read:
        of[row.task] += 1
        right[row.task] += verdict.said == "right"
    return sum(counts[task] * right[task] / of[task] for task in of) / sum(counts[task] for task in of)


if __name__ == "__main__":
    main()
