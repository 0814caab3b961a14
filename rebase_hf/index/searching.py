"""Finding rows for texts: by meaning, by words, or by both.

Modes differ in which rows are found and in their order. `score` is the same in all: the cosine of the row's best cell
that may compete, computed exactly; so a threshold on it means the same however a row was found. What else counted
stands in `parts`: `dense` (that cosine), `lexical` (BM25 of the row's words), `fused`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import numpy as np

from rebase_hf.errors import RowIndexError
from rebase_hf.index.index_reading import IndexReader
from rebase_hf.index.row_filter import RowFilter
from rebase_hf.index.words import source_number
from rebase_hf.rows import RetrievedRow

Array = np.ndarray[Any, Any]

Mode = Literal["dense", "lexical", "both"]
MODES: tuple[Mode, ...] = ("dense", "lexical", "both")


class Search(TypedDict, total=False):
    """What a search may be asked for, by keyword."""

    k: int
    mode: Mode
    sources: str | Collection[str] | None
    licenses: str | Collection[str] | None
    languages: str | Collection[str] | None
    roles: str | Collection[str] | None


# Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods",
# SIGIR 2009: a row's rank r in a list counts 1 / (60 + r).
FUSION_CONSTANT = 60
# Each list is as long as this for k fused rows: what is in one list only could come before what is in both.
FUSED_DEPTH = 4
FUSED_LEAST = 100


@dataclass(frozen=True, slots=True)
class Ranked:
    """Rows in the order in which they were found, and what counted for each, float32; NaN where it does not know."""

    keys: Array
    parts: Mapping[str, Array]


def check_mode(mode: str, k: int) -> None:
    """Raise RowIndexError for a search that there is not."""
    if mode not in MODES:
        raise RowIndexError(f"`mode` is `{mode}`; expected one of {', '.join(MODES)}.")
    if not isinstance(k, int) or k < 1:
        raise RowIndexError(f"`k` is {k!r}; expected a whole number, 1 or more.")


def find_rows(
    reader: IndexReader,
    texts: Sequence[str],
    vectors: Array,
    junk: Sequence[bool],
    *,
    k: int,
    mode: Mode,
    chosen: RowFilter,
    exact: bool,
) -> list[list[RetrievedRow]]:
    """Return the k rows found for each text, best first.

    Args:
        vectors: float32 (texts, dimension).
        junk: Whether cells that say nothing by themselves compete, for each text.
        exact: Look at every vector.
    """
    depth = max(FUSED_DEPTH * k, FUSED_LEAST) if mode == "both" else k
    by_words = None if mode == "dense" else _lexical(reader, texts, depth, chosen)
    found = []
    for number, vector in enumerate(vectors):
        lists = []
        if mode != "lexical":
            keys, scores, _ = reader.nearest_rows(vector, depth, junk=junk[number], exact=exact, chosen=chosen)
            lists.append(Ranked(keys, {"dense": scores}))
        if by_words is not None:
            lists.append(by_words[number])
        ranked = fuse(lists, k) if mode == "both" else lists[0]
        found.append(_retrieved(reader, ranked, vector, junk=junk[number], chosen=chosen))
    return found


def fuse(lists: Sequence[Ranked], k: int) -> Ranked:
    """Return the k rows with the highest sums of 1 / (60 + rank) over the lists; equal ones by key."""
    keys, inverse = np.unique(np.concatenate([one.keys for one in lists]), return_inverse=True)
    weights = np.concatenate([1.0 / (FUSION_CONSTANT + 1 + np.arange(len(one.keys))) for one in lists])
    fused = np.bincount(inverse, weights=weights, minlength=len(keys))
    order = np.lexsort((keys, -fused))[:k]
    parts = {"fused": fused[order].astype(np.float32)}
    start = 0
    for one in lists:
        places = inverse[start : start + len(one.keys)]
        start += len(one.keys)
        for name, held in one.parts.items():
            every = np.full(len(keys), np.nan, np.float32)
            every[places] = held
            parts[name] = every[order]
    return Ranked(keys[order], parts)


def _lexical(reader: IndexReader, texts: Sequence[str], k: int, chosen: RowFilter) -> list[Ranked]:
    sources = None
    if chosen.sources is not None:
        sources = [source_number(reader.catalog.sources[number].key) for number in sorted(chosen.sources)]
    found = reader.words().search(texts, k, sources=sources, roles=chosen.roles)
    return [Ranked(keys, {"lexical": scores}) for keys, scores in found]


def _retrieved(
    reader: IndexReader, ranked: Ranked, vector: Array, *, junk: bool, chosen: RowFilter
) -> list[RetrievedRow]:
    scores, columns = reader.best_cells(vector[None], ranked.keys, junk=junk, chosen=chosen)
    if not junk and (silent := columns[:, 0] < 0).any():
        # A row found by its words may have no cell but numbers and ids; then these stand for it.
        keys = ranked.keys[silent]
        scores[silent], columns[silent] = reader.best_cells(vector[None], keys, junk=True, chosen=chosen)
    rows = reader.rows(ranked.keys)
    sources = reader.places.sources_of(ranked.keys)
    parts = [
        {"dense": float(score)} | {name: float(held[i]) for name, held in ranked.parts.items() if held[i] == held[i]}
        for i, score in enumerate(scores[:, 0])
    ]
    return [
        RetrievedRow(
            source=row,
            score=float(scores[i, 0]),
            parts=parts[i],
            columns={"text": reader.catalog.sources[int(sources[i])].source.columns[int(columns[i, 0])]},
            key=int(ranked.keys[i]),
        )
        for i, row in enumerate(rows)
    ]
