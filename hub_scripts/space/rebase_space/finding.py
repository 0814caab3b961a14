"""The rows that a run would ask its teacher about."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from rebase_hf import RowIndex, Task
from rebase_hf.methods.rebase_options import ReBaseOptions
from rebase_hf.methods.taking import taken_rows
from rebase_hf.quality.contamination import EvaluationGuard
from rebase_hf.rows import Dropped, RetrievedRow

SHOWN_ROWS = 30


@dataclass(frozen=True, slots=True)
class Found:
    """Rows, best first, and how many better ones were left out on the way, by reason."""

    rows: tuple[RetrievedRow, ...]
    left_out: Mapping[str, int]


def find_rows(task: Task, index: RowIndex, num_examples: int, limit: int = SHOWN_ROWS) -> Found:
    """Return the first rows that a run for so many examples would ask about.

    Raises:
        RowIndexError: The index can't be read.
    """
    rows: list[RetrievedRow] = []
    left_out: Counter[str] = Counter()
    guard = EvaluationGuard(task, [], [])
    for taken in taken_rows(task, index, guard, ReBaseOptions(), num_examples=num_examples):
        if isinstance(taken, Dropped):
            left_out[taken.reason] += 1
            continue
        rows.append(taken)
        if len(rows) == limit:
            break
    return Found(tuple(rows), dict(left_out))
