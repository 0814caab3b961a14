"""What a dataset is like: how much its texts differ, where they come from, how near they are to the evaluation texts.

All of it is taken of a sample of stated size, drawn by a seed, because every figure depends on how many texts it is
taken of: two datasets compare when both are reported at the number of rows of the smaller. Nothing here decides which
examples are kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rebase_hf.quality.diversity_text import UNIQUE_BELOW, distinct_n, self_bleu, unique_share
from rebase_hf.quality.mauve import Vectors, mauve
from rebase_hf.quality.spread import Spread, entity_spread

# Texts that figures are taken of, where nobody says otherwise: all of them together take seconds.
ROWS = 1000
# Fewer than these say nothing about a dataset.
MIN_ROWS = 20
DIGITS = 4

Encode = Callable[[Sequence[str]], Vectors]


@dataclass(frozen=True, slots=True)
class Nearness:
    """How near texts are to the evaluation texts. A diagnostic, and never a criterion to select rows by.

    Attributes:
        rows: How many texts of either side were compared.
        nearest: The cosine of a text with the evaluation text nearest to it, averaged over the texts.
        mauve: See `mauve.py`; it depends on the encoder and on `rows`.
    """

    rows: int
    nearest: float
    mauve: float


@dataclass(frozen=True, slots=True)
class Diversity:
    """A diversity report. Higher is more diverse, but for `self_bleu` and `pairwise_similarity`.

    Attributes:
        rows: How many texts it is taken of, drawn from `of`.
        self_bleu: Self-BLEU-1 to 5.
        distinct: Distinct-1 to 3.
        unique_share: Share of texts with a ROUGE-L below 0.7 with every one kept before.
        entities: By kind of entity, as patterns tell them (`spread.entity_spread`).
        sources: Over the source datasets; None where nothing was retrieved.
        pairwise_similarity: Mean cosine of two different texts; None without an encoder.
        evaluation: None without an encoder or without enough evaluation texts.
    """

    rows: int
    of: int
    seed: int
    self_bleu: tuple[float, ...]
    distinct: tuple[float, ...]
    unique_share: float
    entities: dict[str, Spread]
    sources: Spread | None = None
    pairwise_similarity: float | None = None
    evaluation: Nearness | None = None

    def to_report(self) -> dict[str, Any]:
        """Return it as `report.json` holds it."""
        near = self.evaluation
        return {
            "rows": self.rows,
            "of": self.of,
            "seed": self.seed,
            "self_bleu": {str(order): _short(value) for order, value in enumerate(self.self_bleu, start=1)},
            "distinct": {str(order): _short(value) for order, value in enumerate(self.distinct, start=1)},
            "unique_share": _short(self.unique_share),
            "unique_below": UNIQUE_BELOW,
            "entities": {kind: _spread(spread) for kind, spread in self.entities.items()},
            "sources": None if self.sources is None else _spread(self.sources),
            "pairwise_similarity": None if self.pairwise_similarity is None else _short(self.pairwise_similarity),
            "evaluation": None
            if near is None
            else {"rows": near.rows, "nearest": _short(near.nearest), "mauve": _short(near.mauve)},
        }


def diversity_report(
    texts: Sequence[str],
    *,
    sources: Sequence[str] | None = None,
    encode: Encode | None = None,
    evaluation: Sequence[str] = (),
    rows: int = ROWS,
    vector_rows: int = ROWS,
    seed: int = 0,
) -> Diversity:
    """Return what texts are like, at a stated number of rows.

    Args:
        sources: For each text the dataset that its row comes from; None where nothing was retrieved.
        encode: Returns float32 vectors of unit length for texts, such as an encoder's `encode`; None leaves out what
            needs vectors.
        evaluation: What the student will be evaluated on; looked at only to say how near the texts are to it.
        rows: How many texts to take it of, at most. Datasets compare at the same number.
        vector_rows: How many of them, and of the evaluation texts, are encoded at most.
        seed: Draws the sample.

    Raises:
        ValueError: `sources` are not as many as the texts.
    """
    if sources is not None and len(sources) != len(texts):
        raise ValueError(f"{len(sources)} sources were given for {len(texts)} texts; expected one each.")
    chosen = sample_rows(len(texts), rows, seed)
    taken = [texts[row] for row in chosen]
    similar, near = None, None
    if encode is not None and len(taken) > 1:
        vectors = encode([taken[row] for row in sample_rows(len(taken), vector_rows, seed)])
        similar = mean_similarity(vectors)
        near = _nearness(vectors, evaluation, encode, seed)
    return Diversity(
        rows=len(taken),
        of=len(texts),
        seed=seed,
        self_bleu=self_bleu(taken),
        distinct=distinct_n(taken),
        unique_share=unique_share(taken),
        entities=entity_spread(taken),
        sources=None if sources is None else Spread.of([sources[row] for row in chosen]),
        pairwise_similarity=similar,
        evaluation=near,
    )


def sample_rows(count: int, rows: int, seed: int) -> list[int]:
    """Return the numbers of at most `rows` of `count` rows, drawn by a seed, in order."""
    drawn: list[int] = np.random.default_rng(seed).permutation(count)[:rows].tolist()
    return sorted(drawn)


def mean_similarity(vectors: Vectors) -> float:
    """Return the mean cosine of two different rows of unit length: exact, in one pass."""
    count = len(vectors)
    total = vectors.astype(np.float64).sum(axis=0)
    own = (vectors.astype(np.float64) ** 2).sum()
    return float((total @ total - own) / (count * (count - 1)))


def _nearness(vectors: Vectors, evaluation: Sequence[str], encode: Encode, seed: int) -> Nearness | None:
    """Compare as many texts as evaluation texts: MAUVE is lower where one side has fewer."""
    rows = min(len(vectors), len(evaluation))
    if rows < MIN_ROWS:
        return None
    ours = vectors[sample_rows(len(vectors), rows, seed)]
    theirs = encode([evaluation[row] for row in sample_rows(len(evaluation), rows, seed)])
    return Nearness(rows, float(_nearest(ours, theirs).mean()), mauve(ours, theirs, seed=seed))


def _nearest(ours: Vectors, theirs: Vectors) -> NDArray[np.float32]:
    return np.asarray((ours @ theirs.T).max(axis=1))


def _spread(spread: Spread) -> dict[str, float]:
    return {
        "count": spread.count,
        "kinds": spread.kinds,
        "entropy": _short(spread.entropy),
        "effective": _short(spread.effective),
    }


def _short(value: float) -> float:
    return round(value, DIGITS)
