"""Words to rows: BM25 over one or several folders, memory-mapped, filtered by source inside the search.

tantivy holds the postings and is kept from what would harm: its query parser is never called (a query is words, never
syntax) and it never writes into a finished folder. What a word is: `lexical_words`. How rows get into a folder:
`lexical_building`. How the best are found without adding up all: `lexical_ranking`.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rebase_hf.errors import RowIndexError
from rebase_hf.index.lexical_parts import open_parts, read_contents
from rebase_hf.index.lexical_ranking import (
    HIGHEST_PART,
    Filter,
    Hit,
    Term,
    best_hits,
    best_within,
    score_of,
    score_query,
)
from rebase_hf.index.lexical_words import KEY, SOURCE, TEXT, analyser, plain, role_field

Keys = NDArray[np.int64]
Scores = NDArray[np.float32]

# A query's further words would cost time and change nothing: what it is about is said by then.
MAX_QUERY_WORDS = 256
MAX_QUERY_CHARS = 20_000
# One term query a source up to here, beyond it a set: slower for few, but it hardly grows with them.
MAX_SOURCE_TERMS = 64
# A filter that lets so great a share of the rows pass is applied to what is found, a narrower one is in the query.
WIDE_FILTER = 0.1
# Sums of the same float32 scores differ by so much with the order in which they are added; it is no difference.
SAME_SCORE = 2e-6
# A word in more than this share of the rows is worth one walk through its list for the most a row gets for it.
COMMON_WORD = 1 / 200


class LexicalIndex:
    """One or several folders opened as one index; nothing is written into them. Reading is thread-safe.

    Scores are BM25 (k1 1.2, b 0.75, lengths as Lucene rounds them) by the word statistics of all folders together: how
    rows are spread over folders changes nothing. A filter changes which rows are returned, never their scores.

    ```python
    rows = [(0, {"text": "The parcel never arrived"}, 7), (1, {"text": "Charged twice in May"}, 7)]
    build_lexical(folder, rows, roles=["text"])
    [(keys, scores)] = LexicalIndex([folder]).search(["parcels"], 10)
    ```

    Args:
        folders: What `build_lexical` wrote, with the same roles; verify them first, as tantivy trusts what it maps. Of
            none, nothing is found.
        row_keys: From (number of a folder, int64 keys in it) to the int64 keys of the same rows over all folders; by
            default keys are what they are in the folder.

    Raises:
        RowIndexError: A folder is no such index, of another version, or of other roles than the first.
    """

    def __init__(self, folders: Sequence[Path], *, row_keys: Callable[[int, Keys], Keys] | None = None) -> None:
        held = [read_contents(folder) for folder in folders]
        for folder, contents in zip(folders, held, strict=True):
            if contents.form != held[0].form:
                raise RowIndexError(
                    f"{folder} has the roles {', '.join(contents.roles)}, {folders[0]} {', '.join(held[0].roles)}; "
                    "expected the same. Build it again."
                )
        self._roles = held[0].roles if held else ()
        self._row_keys = row_keys
        self._folder_of = np.array([n for n, contents in enumerate(held) for _ in contents.parts], dtype=np.int64)
        self._folders = len(held)
        self._sources: Counter[int] = Counter()
        for contents in held:
            self._sources.update(contents.sources)
        self._rows = self._sources.total()
        self._most: dict[tuple[str, str], float] = {}
        self._analyser = analyser()
        if held:
            self._searcher, self._schema = open_parts([p for contents in held for p in contents.parts], held[0].form)

    def __len__(self) -> int:
        return self._rows

    def search(
        self,
        texts: Sequence[str],
        k: int,
        *,
        sources: Collection[int] | NDArray[np.int64] | None = None,
        roles: Collection[str] | None = None,
    ) -> list[tuple[Keys, Scores]]:
        """Return for each text (keys, scores) of the k rows that share its weightiest words, best first.

        Any text is safe: it is words, without syntax. Rows without any of them are not returned, so that there may be
        fewer than k. Rows of equal score stand by key, also where k cuts them.

        Args:
            sources: Only rows of the sources of these numbers: the k best of them, none is lost to filtering.
            roles: Only words in cells of these roles; a score is then the sum over the roles of the BM25 of the role's
                text, each by statistics of its own. By default a row is all its cells together.

        Returns:
            int64 keys and float32 scores, one pair a text.

        Raises:
            RowIndexError: A role is unknown.
        """
        if self._folders and roles is not None and (unknown := set(roles) - set(self._roles)):
            raise RowIndexError(f"No role {', '.join(sorted(unknown))}; expected some of: {', '.join(self._roles)}.")
        fields = [TEXT] if roles is None else [role_field(role) for role in self._roles if role in roles]
        allowed = None if sources is None else {source for source in map(int, sources) if source in self._sources}
        if allowed is not None and len(allowed) == len(self._sources):
            allowed = None
        return [self._search(text, min(k, self._rows), fields, allowed) for text in texts]

    def search_scored(self, text: str, k: int, *, scored_by: str) -> tuple[Keys, Scores]:
        """Return the k rows that `search` finds for a text, in its order, with the scores they have for another text.

        The scores are the BM25 that `search` gives these rows for the other text; 0 where they hold none of its words.

        Returns:
            int64 keys and float32 scores.
        """
        k = min(k, self._rows)
        terms = self._terms(text, [TEXT]) if k > 0 else []
        if not terms:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        hits = self._hits(terms, k, None)
        found, places = np.array([score for score, _ in hits], np.float32), [address for _, address in hits]
        held = self._keys(places)
        keys, _ = _ordered(held, found, k)
        address_of = dict(zip(held.tolist(), places, strict=True))
        scoring = score_query(self._terms(scored_by, [TEXT]))
        scores = [score_of(self._searcher, scoring, address_of[key]) for key in keys.tolist()]
        return keys, np.array(scores, dtype=np.float32)

    def words(self, text: str) -> list[str]:
        """Return the words of a text as the index knows them, in order."""
        words: list[str] = self._analyser.analyze(plain(text))
        return words

    def _search(self, text: str, k: int, fields: Sequence[str], allowed: set[int] | None) -> tuple[Keys, Scores]:
        terms = self._terms(text, fields) if k > 0 and allowed != set() else []
        if not terms:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        hits = self._hits(terms, k, allowed)
        scores = np.array([score for score, _ in hits], dtype=np.float32)
        return _ordered(self._keys([address for _, address in hits]), scores, k)

    def _terms(self, text: str, fields: Sequence[str]) -> list[Term]:
        """Return what is to be added up."""
        from tantivy import Query

        counts = list(Counter(self.words(text[:MAX_QUERY_CHARS])).items())[:MAX_QUERY_WORDS]
        terms = []
        for field in fields:
            for word, count in counts:
                if rows := self._searcher.doc_freq(field, word):
                    query = Query.term_query(self._schema, field, word, "freq")
                    most = self._most_for(field, word, rows, query) * count
                    terms.append(Term(Query.boost_query(query, float(count)) if count > 1 else query, rows, most))
        return terms

    def _most_for(self, field: str, word: str, rows: int, query: Any) -> float:
        """Return what no row's score for a word exceeds: found once for a common word, at hand for any other."""
        if rows <= COMMON_WORD * self._rows:
            return HIGHEST_PART * math.log(1 + (self._rows - rows + 0.5) / (rows + 0.5))
        if (field, word) not in self._most:
            self._most[field, word] = float(self._searcher.search(query, 1, count=False).hits[0][0])
        return self._most[field, word]

    def _hits(self, terms: Sequence[Term], k: int, allowed: set[int] | None) -> list[Hit]:
        if allowed is None:
            return best_hits(self._searcher, terms, k) or []
        share = sum(self._sources[source] for source in allowed) / self._rows
        if share >= WIDE_FILTER:
            hits = best_hits(self._searcher, terms, k, Filter(self._keeper(allowed), share))
            if hits is not None:
                return hits
        return best_within(self._searcher, terms, k, self._clause(allowed))

    def _keeper(self, allowed: set[int]) -> Callable[[Sequence[Hit]], list[Hit]]:
        def keep(hits: Sequence[Hit]) -> list[Hit]:
            sources = self._searcher.fast_field_values(SOURCE, [address for _, address in hits])
            return [hit for hit, source in zip(hits, sources, strict=True) if source in allowed]

        return keep

    def _clause(self, allowed: set[int]) -> Any:
        """Return the clause that lets only rows of these sources pass."""
        from tantivy import Occur, Query

        barred = self._sources.keys() - allowed
        if len(barred) < len(allowed):  # leaving out few is faster than asking for many
            return Occur.MustNot, self._of(barred)
        return Occur.Must, Query.const_score_query(self._of(allowed), 0.0)

    def _of(self, sources: Collection[int]) -> Any:
        from tantivy import Occur, Query

        if len(sources) > MAX_SOURCE_TERMS:
            return Query.term_set_query(self._schema, SOURCE, sorted(sources))
        terms = [Query.term_query(self._schema, SOURCE, source) for source in sorted(sources)]
        return Query.boolean_query([(Occur.Should, term) for term in terms])

    def _keys(self, addresses: Sequence[Any]) -> Keys:
        keys = np.array(self._searcher.fast_field_values(KEY, addresses), dtype=np.int64)
        if self._row_keys is None or not len(keys):
            return keys
        folders = self._folder_of[[address.segment_ord for address in addresses]]
        for folder in np.unique(folders):
            its = folders == folder
            keys[its] = self._row_keys(int(folder), keys[its])
        return keys


def _ordered(keys: Keys, scores: Scores, k: int) -> tuple[Keys, Scores]:
    """Return the k best; scores that differ by rounding only are one score, and stand by key."""
    falls = scores[:-1] - scores[1:] > scores[:-1] * SAME_SCORE
    groups = np.concatenate([[0], np.cumsum(falls)]) if len(scores) else np.zeros(0, np.int64)
    order = np.lexsort((keys, groups))[:k]
    first = np.searchsorted(groups, groups[order])  # `groups` rises, and lexsort keeps it so
    return keys[order], scores[first]
