"""Passages for a question or for the reasoning about one: found by their words (BM25), as KARD finds them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rebase_hf.index.row_index import RowIndex
from rebase_hf.methods.excluded import closest_cells, held_vectors, overlap
from rebase_hf.quality.contamination import MIN_CHARS, EvaluationGuard
from rebase_hf.quality.duplicates import normalise
from rebase_hf.rows import RetrievedRow

# Rows found beyond those wanted, since some may have to be left out; where that is not enough, four times as many.
SPARE = 4


def passages_for(
    index: RowIndex,
    queries: Sequence[str],
    k: int,
    guard: EvaluationGuard | None = None,
    *,
    own: Sequence[str] | None = None,
    family: frozenset[int] = frozenset(),
) -> list[list[RetrievedRow]]:
    """Return for each query the k rows that share most with it by words, best first, without those that give answers.

    For KARD's training the queries are the teacher's rationales with their answers, at inference questions; with the
    teacher's rationales of the test questions it is the paper's silver mode, an upper bound that nobody can deploy.

    Args:
        guard: Rows that overlap the evaluation set are left out.
        own: For each query the text of its question: a row that holds it is where the question comes from, and would
            give its answer away.
        family: Numbers of the sources that hold the task's own data, by their names: none of their rows.

    Returns:
        Rows with `parts["lexical"]` as BM25 and `score` as the cosine of the best cell; fewer where the index has no
        more that share a word with the query.

    Raises:
        RowIndexError: The index has no words.
        MissingExtraError: tantivy is not installed.
    """
    if not queries:
        return []
    first = index.search(list(queries), k=k + SPARE, mode="lexical")
    owned = own if own is not None else [""] * len(queries)
    return [
        _allowed(index, query, k, rows, _Barred(index, guard, normalise(question), family))
        for query, rows, question in zip(queries, first, owned, strict=True)
    ]


def nearness(rows: Sequence[RetrievedRow]) -> float:
    """Return how near what was found for a query comes to it: the highest BM25, 0 where nothing was found.

    Not the cosine: whoever asks at inference knows passages by their words, and need not load an encoder.
    """
    return max((row.parts["lexical"] for row in rows), default=0.0)


@dataclass(frozen=True, slots=True)
class _Barred:
    """Which rows are no passages for a question."""

    index: RowIndex
    guard: EvaluationGuard | None
    own: str
    family: frozenset[int]

    def __call__(self, row: RetrievedRow) -> bool:
        if _holds(row, self.own):
            return True
        key = np.array([row.key])
        if self.family and int(self.index.sources_of(key)[0]) in self.family:
            return True
        if not self.guard:
            return False
        near = float(closest_cells(self.index, key, held_vectors(self.index, self.guard))[0])
        return overlap(row, self.guard, near) is not None


def _allowed(index: RowIndex, query: str, k: int, rows: list[RetrievedRow], barred: _Barred) -> list[RetrievedRow]:
    limit = k + SPARE
    while True:
        allowed: list[RetrievedRow] = []
        for row in rows:
            if len(allowed) < k and not barred(row):
                allowed.append(row)
        if len(allowed) >= k or len(rows) < limit:
            return allowed[:k]
        limit *= 4
        rows = index.search(query, k=limit, mode="lexical")


def _holds(row: RetrievedRow, own: str) -> bool:
    return len(own) >= MIN_CHARS and any(own in normalise(text) for text in row.source.cells.values())
