"""The k best rows for a sum of words, exactly, without adding up every row of every word (MaxScore).

tantivy could prune by itself (block-max WAND), but not from Python: its `Searcher.search` collects through a
MultiCollector, which is handed every row that holds any of the words. So the query itself is made to meet fewer rows.
From the rarest word to the commonest (Turtle & Flood 1995, https://doi.org/10.1016/0306-4573(95)00020-H), words are

- required: a row must hold one of them to be met at all;
- added: their part is looked up for the rows so met, by skipping through their lists;
- left out: the commonest of all, whose lists are the longest to walk and whose part is the smallest. It is asked for
  only for the few rows that it could lift among the k best.

What is so missed has at most the sum of the most that any row gets for each of the other words. Where that reaches the
k-th score found, the query is asked again: with as many required words as this score, by now known, calls for.
"""

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rebase_hf.index.lexical_words import KEY

# Sums of the same float32 scores differ by so much with the order in which they are added; it is no difference.
SAME_SCORE = 2e-6
# The highest that tf / (tf + ...) * (k1 + 1) can come to, with tantivy's k1.
HIGHEST_PART = 2.2
# Up to so many postings in all, to add up everything takes a quarter of a millisecond: no plan is cheaper.
FEW_POSTINGS = 50_000
REQUIRED_SHARE = 0.01
LEFT_OUT_SHARE, LEFT_OUT_ROWS = 0.2, 100_000
# To look a word up for a row takes as long as to add up so many postings.
LOOK_UP = 3
# Rows asked for by their keys: from so many (k, folders) on, it is cheaper to add the words that were left out.
MAX_BY_KEY_K, MAX_BY_KEY_FOLDERS = 50, 8
FETCHED = 200

Hit = tuple[float, Any]  # score and tantivy DocAddress


@dataclass(frozen=True, slots=True)
class Term:
    """A word of a query in one field.

    Attributes:
        query: The tantivy query that scores it.
        rows: How many rows hold it.
        most: No row's score for it is above.
    """

    query: Any
    rows: int
    most: float


@dataclass(frozen=True, slots=True)
class Plan:
    """How many of the terms, rarest first, are required, and how many are added up; the others are left out."""

    required: int
    added: int


@dataclass(frozen=True, slots=True)
class Ranking:
    """Terms to rank the rows of a searcher by.

    Attributes:
        searcher, schema: Of tantivy.
        terms: The rarest first.
        folders: How many rows may share a key.
        keep: Picks hits that a filter lets pass; None for all.
        within: A tantivy query that rows must match, of score 0; an alternative to `keep`.
    """

    searcher: Any
    schema: Any
    terms: Sequence[Term]
    folders: int = 1
    keep: Callable[[Sequence[Hit]], list[Hit]] | None = None
    within: Any = None


def best(ranking: Ranking, k: int, fetched: int = FETCHED) -> list[Hit] | None:
    """Return the hits of all rows that may be among the k best, best first, rows equal to the k-th included.

    None where `ranking.keep` dropped so many that asking on would cost more than to ask `ranking.within`.
    """
    terms, limit = ranking.terms, max(fetched, 2 * k)
    plan = _first_plan(ranking, k)
    while True:
        hits: list[Hit] = ranking.searcher.search(_query(ranking, plan), limit, count=False).hits
        lowest = hits[-1][0] if len(hits) == limit else None
        if ranking.keep is not None:
            hits = ranking.keep(hits)
        left_out = _most(terms[plan.added :])
        if plan.added < len(terms):
            hits = _completed(ranking, hits, k, left_out)
        bar = _bar(hits, k)
        unmet = plan.required < len(terms) and _most(terms[plan.required :]) >= bar
        cut = lowest is not None and lowest + left_out >= bar
        if not unmet and not cut:
            return hits
        if cut and plan.added == len(terms):
            if ranking.keep is not None:
                return None
            limit *= 8
        plan = _next_plan(terms, plan, bar if unmet else None, everything=cut)


def _bar(hits: Sequence[Hit], k: int) -> float:
    """Return what a row must reach to be among the k best, as far as is known."""
    return float(hits[k - 1][0]) * (1 - SAME_SCORE) if len(hits) >= k else 0.0


def _most(terms: Sequence[Term]) -> float:
    return sum(term.most for term in terms) * (1 + SAME_SCORE)


def _first_plan(ranking: Ranking, k: int) -> Plan:
    terms, rows = ranking.terms, ranking.searcher.num_docs
    count = len(terms)
    if ranking.within is not None or sum(term.rows for term in terms) <= FEW_POSTINGS:
        return Plan(count, count)
    required = max(1, sum(term.rows <= REQUIRED_SHARE * rows for term in terms))
    added = count
    if k <= MAX_BY_KEY_K and ranking.folders <= MAX_BY_KEY_FOLDERS:
        common = max(LEFT_OUT_SHARE * rows, LEFT_OUT_ROWS)
        added = max(required, sum(term.rows <= common for term in terms))
    return _if_cheaper(terms, Plan(required, added))


def _next_plan(terms: Sequence[Term], plan: Plan, bar: float | None, *, everything: bool) -> Plan:
    required = plan.required
    if bar is not None:
        required = len(terms)
        while required > plan.required + 1 and _most(terms[required - 1 :]) < bar:
            required -= 1
    return _if_cheaper(terms, Plan(required, len(terms) if everything else max(required, plan.added)))


def _if_cheaper(terms: Sequence[Term], plan: Plan) -> Plan:
    """Return the plan, or the one that adds up everything where that costs no more."""
    met = sum(term.rows for term in terms[: plan.required])
    if met * (1 + LOOK_UP * (plan.added - plan.required)) < sum(term.rows for term in terms):
        return plan
    return Plan(len(terms), len(terms))


def _query(ranking: Ranking, plan: Plan) -> Any:
    from tantivy import Occur, Query

    query = _any_of([term.query for term in ranking.terms[: plan.required]])
    if ranking.within is not None:
        query = Query.boolean_query([(Occur.Must, query), ranking.within])
    return _adding(query, ranking.terms[plan.required : plan.added])


def _adding(query: Any, terms: Sequence[Term]) -> Any:
    """Return a query for the same rows that scores the terms too: one inside the other, each is skipped through."""
    from tantivy import Occur, Query

    for term in terms:
        query = Query.boolean_query([(Occur.Must, query), (Occur.Should, term.query)])
    return query


def _any_of(queries: Sequence[Any]) -> Any:
    from tantivy import Occur, Query

    return queries[0] if len(queries) == 1 else Query.boolean_query([(Occur.Should, query) for query in queries])


def _completed(ranking: Ranking, hits: Sequence[Hit], k: int, left_out: float) -> list[Hit]:
    """Return the hits that may be among the k best with all terms added, best first; all where they are too few."""
    if len(hits) < k:
        return list(hits)
    sure = 2 * k
    completed = _by_key(ranking, hits[:sure])
    reach = _bar(completed, k) - left_out
    end = bisect.bisect_right(hits, -reach, key=lambda hit: -hit[0])
    if end > sure:
        completed = sorted(completed + _by_key(ranking, hits[sure:end]), key=lambda hit: -hit[0])
    return completed


def _by_key(ranking: Ranking, hits: Sequence[Hit]) -> list[Hit]:
    """Return the hits with their scores for all terms, best first."""
    from tantivy import Query

    keys = ranking.searcher.fast_field_values(KEY, [address for _, address in hits])
    rows = _any_of([Query.term_query(ranking.schema, KEY, key) for key in keys])
    query = _adding(Query.const_score_query(rows, 0.0), ranking.terms)
    found = ranking.searcher.search(query, len(hits) * ranking.folders, count=False).hits
    wanted = {(address.segment_ord, address.doc) for _, address in hits}
    return [(score, address) for score, address in found if (address.segment_ord, address.doc) in wanted]
