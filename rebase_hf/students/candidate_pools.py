"""What a reranker learns from: for each rationale the passages to choose among, and how well each fits the rationale.

KARD, section 3.3 (arXiv 2305.18395): the passages found by the rationale's words, which nobody has at inference, and
those found by the question's, which are what is to be chosen from there. All are scored by BM25 against the rationale.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rebase_hf.index.row_index import RowIndex
from rebase_hf.students.passages import Allowed, found_passages

FOUND_BY_EACH = 32
DRAWN_OF_EACH = 4


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and the rationale that answers it.

    Attributes:
        rationale: With the answer, as the query that training passages are found by.
        allowed: Which passages may stand in its pool; None for all.
    """

    question: str
    rationale: str
    allowed: Allowed | None = None


@dataclass(frozen=True, slots=True)
class Pool:
    """The passages that one rationale teaches a reranker to put in order.

    Attributes:
        texts: Each passage once: those found by the rationale, best first, then those found by the question alone.
        keys: Their rows' keys in the index.
        relevance: BM25 of each against the rationale.
        by_rationale: How many were found by the rationale.
    """

    question: str
    texts: tuple[str, ...]
    keys: tuple[int, ...]
    relevance: tuple[float, ...]
    by_rationale: int


def make_pools(index: RowIndex, asked: Sequence[Asked], *, found: int = FOUND_BY_EACH) -> list[Pool]:
    """Return a pool for each question with its rationale; one passage alone teaches nothing, and makes no pool.

    Args:
        found: How many rows are asked for by the rationale, and as many by the question. A row that both find counts
            as found by the rationale, and its score is the same either way. (The official code joins the two lists as
            they are, so that such a passage stands in the softmax twice.)
    """
    words = index.words()
    pools = []
    for one in asked:
        [(keys, scores)] = words.search([one.rationale], found)
        others, other_scores = words.search_scored(one.question, found, scored_by=one.rationale)
        new = ~np.isin(others, keys)
        first = found_passages(index, keys.tolist(), scores.tolist(), one.allowed)
        rest = found_passages(index, others[new].tolist(), other_scores[new].tolist(), one.allowed)
        known = {passage.text for passage in first}
        passages = [*first, *(passage for passage in rest if passage.text not in known)]
        if len(passages) > 1:
            pools.append(
                Pool(
                    one.question,
                    texts=tuple(passage.text for passage in passages),
                    keys=tuple(passage.key for passage in passages),
                    relevance=tuple(passage.bm25 for passage in passages),
                    by_rationale=len(first),
                )
            )
    return pools


def draw(pool: Pool, rng: np.random.Generator, *, of_each: int = DRAWN_OF_EACH) -> list[int]:
    """Return the places of the passages of one step: so many of each kind, more of one where the other is short."""
    first = rng.permutation(pool.by_rationale)
    rest = pool.by_rationale + rng.permutation(len(pool.texts) - pool.by_rationale)
    of_first = min(len(first), max(of_each, 2 * of_each - len(rest)))
    return sorted(int(place) for place in (*first[:of_first], *rest[: 2 * of_each - of_first]))
