"""The k best rows for a sum of words, exactly, without adding up every row of every word (after MaxScore).

tantivy could prune by itself (block-max WAND), but not from Python: its `Searcher.search` collects through a
MultiCollector, which is handed every row that holds any of the words. So it is asked one word after the other, from
the rarest to the commonest, each time for the best of the rows that hold this word. To them the words still to come
are added by skipping through their lists, not by walking them. Rows without a rare word can't score high, so that the
k-th score found so far, the bar, soon does two things (Turtle & Flood 1995, 10.1016/0306-4573(95)00020-H):

- where all words still to come can give less together, there is nothing more to find;
- a word without which they give less is one that the rows asked for must hold too.

What is missed is below the bar. Only when to stop being clever and add up everything is a matter of estimates.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

# The highest that tf / (tf + ...) * (k1 + 1) can come to, with tantivy's k1.
HIGHEST_PART = 2.2
# Sums of the same float32 scores differ by less than so much with the order in which they are added.
ROUNDING = 1e-5
# Estimates, tried out with benchmarks/index_lexical.py: to look a word up for a row takes as long as to add up so many
# of its postings, and longer by so much for every word looked up around it; where rows must hold several words, such a
# share of those met does. Twice or half of each changes little.
LOOK_UP, LOOK_UP_WITHIN, HOLD_ALL = 2, 0.25, 0.2
# Of more words than that, none is worth enough to leave others out: all is added up at once.
MOST_TERMS = 20
# Hits asked for beyond the k best, which show where these end; and those at which it is faster to filter first.
FETCHED_BESIDE, MOST_FETCHED = 20, 4_096
_MORE = 8

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
class Filter:
    """Which hits count.

    Attributes:
        keep: Picks them of those found.
        share: Of all rows, about how many it keeps.
    """

    keep: Callable[[Sequence[Hit]], Sequence[Hit]]
    share: float


@dataclass(slots=True)
class _Found:
    """The hits so far by their address, and what a row must score to be among the k best."""

    k: int
    hits: dict[tuple[int, int], Hit] = field(default_factory=dict)
    bar: float = 0.0

    def add(self, hits: Sequence[Hit]) -> None:
        """Take hits; a row that was met before was met with all its words that count, and stays as it is."""
        for hit in hits:  # best first
            if hit[0] < self.bar:
                break
            self.hits.setdefault((hit[1].segment_ord, hit[1].doc), hit)
        if len(self.hits) >= self.k:
            self.bar = self.best()[self.k - 1][0] * (1 - ROUNDING)

    def best(self) -> list[Hit]:
        return sorted(self.hits.values(), key=lambda hit: -hit[0])


def best_hits(searcher: Any, terms: Sequence[Term], k: int, only: Filter | None = None) -> list[Hit] | None:
    """Return the k best hits and all that equal the k-th, best first; rows of lower scores may follow.

    Returns:
        None where the filter drops so much of what is found that `best_within` is the faster way.
    """
    terms = sorted(terms, key=lambda term: term.rows)
    found, spent = _Found(k), 0.0
    for number in range(len(terms)):
        rest = terms[number:]
        if _most(rest) < found.bar:
            break
        needed, added = _shared_out(rest, found.bar)
        spent += _effort(needed, added)
        everything = len(terms) > MOST_TERMS or spent >= sum(term.rows for term in rest)
        if not _fetch(searcher, _any_of(rest) if everything else _all_of(needed, added), found, only):
            return None
        if everything:
            break
    return found.best()


def best_within(searcher: Any, terms: Sequence[Term], k: int, clause: Any) -> list[Hit]:
    """Return the same as `best_hits`, of the rows that a tantivy clause lets pass; all of their words are added up."""
    from tantivy import Occur, Query

    found = _Found(k)
    _fetch(searcher, Query.boolean_query([(Occur.Must, _any_of(terms)), clause]), found, None)
    return found.best()


def score_query(terms: Sequence[Term]) -> Any:
    """Return the query by which `score_of` scores any row for a sum of words, also one that holds none of them."""
    from tantivy import Occur, Query

    parts = [(Occur.Should, term.query) for term in terms]
    return Query.boolean_query([(Occur.Must, Query.const_score_query(Query.all_query(), 0.0)), *parts])


def score_of(searcher: Any, query: Any, address: Any) -> float:
    """Return the score of one row, which need not be among the best: what tantivy explains of it."""
    return float(json.loads(query.explain(searcher, address).to_json())["value"])


def _fetch(searcher: Any, query: Any, found: _Found, only: Filter | None) -> bool:
    """Take all hits of a query that reach the bar; return whether a filter left that possible."""
    limit = found.k + FETCHED_BESIDE
    if only is not None:
        limit = int(limit / only.share)
    while True:
        hits: Sequence[Hit] = searcher.search(query, limit, count=False).hits
        lowest = hits[-1][0] if len(hits) == limit else None
        found.add(hits if only is None else only.keep(hits))
        if lowest is None or lowest < found.bar:
            return True
        limit *= _MORE
        if only is not None and limit > MOST_FETCHED:
            return False


def _shared_out(terms: Sequence[Term], bar: float) -> tuple[list[Term], list[Term]]:
    """Return which terms a row with the first of them must hold to reach the bar, and which it may hold."""
    most, others = _most(terms), terms[1:]
    needed = [terms[0], *(term for term in others if most - term.most < bar)]
    return needed, [term for term in others if most - term.most >= bar]


def _effort(needed: Sequence[Term], added: Sequence[Term]) -> float:
    """Return about how many postings could be added up in the time that it takes to ask for these rows."""
    met, holding = min(term.rows for term in needed), HOLD_ALL if len(needed) > 1 else 1
    look_ups = len(needed) - 1 + holding * len(added)
    return met * (1 + look_ups * LOOK_UP + holding * len(added) ** 2 * LOOK_UP_WITHIN)


def _most(terms: Sequence[Term]) -> float:
    return sum(term.most for term in terms) * (1 + ROUNDING)


def _any_of(terms: Sequence[Term]) -> Any:
    from tantivy import Occur, Query

    return Query.boolean_query([(Occur.Should, term.query) for term in terms])


def _all_of(needed: Sequence[Term], added: Sequence[Term]) -> Any:
    from tantivy import Occur, Query

    query = Query.boolean_query([(Occur.Must, term.query) for term in needed])
    for term in added:  # one inside the other: side by side, tantivy would walk their lists
        query = Query.boolean_query([(Occur.Must, query), (Occur.Should, term.query)])
    return query
