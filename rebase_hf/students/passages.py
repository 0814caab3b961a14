"""Passages for a question: found by its words, put in order by a reranker where there is one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from rebase_hf.index.row_index import RowIndex
from rebase_hf.methods.grounded_text import PASSAGE_CHARS, passage_text
from rebase_hf.quality.contamination import MIN_CHARS, EvaluationGuard
from rebase_hf.quality.duplicates import normalise
from rebase_hf.rows import SourceRow

if TYPE_CHECKING:
    from rebase_hf.students.reranker import Reranker

# Whether a passage may be read.
Allowed = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Passage:
    """A row that was found for a question, as a student reads it.

    Attributes:
        score: What it was chosen by: the reranker's similarity (at most 1), or `bm25` where there is no reranker.
        bm25: How well its words fit the query.
        source: The row, with dataset, licence and position.
        key: The row's key in the index.
    """

    text: str
    score: float
    bm25: float
    source: SourceRow
    key: int


def found_passages(
    index: RowIndex, keys: Sequence[int], scores: Sequence[float], allowed: Allowed | None = None
) -> list[Passage]:
    """Return rows as passages in the order given: each text once, those without text or not allowed left out."""
    found: dict[str, Passage] = {}
    for key, score, row in zip(keys, scores, index.rows(keys), strict=True):
        text = passage_text(row)
        if text and text not in found and (allowed is None or allowed(text)):
            found[text] = Passage(text, float(score), float(score), row, int(key))
    return list(found.values())


def search_passages(index: RowIndex, query: str, k: int, allowed: Allowed | None = None) -> list[Passage]:
    """Return the passages among the k rows that fit a query's words best, by BM25."""
    [(keys, scores)] = index.words().search([query], k)
    return found_passages(index, keys.tolist(), scores.tolist(), allowed)


def rerank(reranker: "Reranker", question: str, passages: Sequence[Passage]) -> list[Passage]:
    """Return passages by the reranker's score for a question, best first; equal ones as they stood."""
    scores = reranker.scores(question, [passage.text for passage in passages]).tolist()
    scored = [
        Passage(one.text, score, one.bm25, one.source, one.key) for one, score in zip(passages, scores, strict=True)
    ]
    return sorted(scored, key=lambda passage: -passage.score)


def kept_apart(guard: EvaluationGuard) -> Allowed | None:
    """Return what lets pass every passage that gives away no evaluation row; None where there are no such rows.

    An index may hold the very rows that a student is scored by; their answers would stand beside them.
    """
    return cache(lambda text: not guard.equals(text) and guard.overlap(text) is None) if guard else None


def none_of(texts: Sequence[str], allowed: Allowed | None, *, question: str = "") -> Allowed:
    """Return what lets pass only passages that are none of these texts, do not hold the question, and are allowed.

    In an index of teacher-written texts, the nearest to a rationale is that rationale itself; where the index holds
    the row that a question comes from, it gives the answer away. Too short a question says nothing of that.
    """
    barred, own = {_plain(text) for text in texts}, normalise(question)

    def passes(text: str) -> bool:
        if _plain(text) in barred or (len(own) >= MIN_CHARS and own in normalise(text)):
            return False
        return allowed is None or allowed(text)

    return passes


def _plain(text: str) -> str:
    return " ".join(text.split())[:PASSAGE_CHARS].strip().casefold()
