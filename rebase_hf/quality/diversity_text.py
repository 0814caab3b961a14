"""How much the texts of a dataset differ from each other, by their words alone.

Every figure here depends on how many texts it is taken of: more texts share more with each other. So figures compare
at equal row counts only (`diversity.py` sees to it). Tokens are words without case and punctuation, as duplicates are
found by; papers that count spaCy's tokens get other values of the same measures.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rebase_hf.quality.duplicates import words

BLEU_ORDERS = 5
# NLTK's SmoothingFunction.method1, which SynthesizRR's metric takes: a count of none is counted as this.
SMOOTHING = 0.1
DISTINCT_ORDERS = 3
# Self-Instruct's bound (arXiv 2212.10560, section 2.2), which ReBase's share of unique data goes by as well.
UNIQUE_BELOW = 0.7
# What of a longer text is looked at for the longest common subsequence, which takes the square of a text's length.
MAX_WORDS = 400

Gram = tuple[str, ...]


def self_bleu(texts: Sequence[str], orders: int = BLEU_ORDERS) -> tuple[float, ...]:
    """Return self-BLEU-1 to self-BLEU-`orders`: each text's BLEU against all others, averaged over the texts.

    BLEU-n is the geometric mean of the clipped precisions of 1- to n-grams, times the brevity penalty for the other
    text that is nearest in length: NLTK's `sentence_bleu` with equal weights and smoothing `method1`, as SynthesizRR
    measures it (arXiv 2405.10040). Lower is more diverse. Time and memory grow with the number of n-grams, not with
    the number of pairs of texts. Fewer than two texts have no others: zeros.

    Example:
        >>> [round(value, 3) for value in self_bleu(["the cat sat", "the cat ran"], 2)]
        [0.667, 0.577]
    """
    said = [words(text) for text in texts]
    if len(said) < 2:
        return (0.0,) * orders
    logs = np.zeros(len(said))
    penalty, shares_a_word = _brevity_penalties(said), np.ones(len(said), dtype=bool)
    scores = []
    for order in range(1, orders + 1):
        hits, counts = _clipped_counts([_grams(text, order) for text in said])
        if order == 1:
            shares_a_word = hits > 0
        logs += np.log(np.where(hits > 0, hits, SMOOTHING) / np.maximum(counts, 1))
        scores.append(float(np.mean(np.where(shares_a_word, penalty * np.exp(logs / order), 0.0))))
    return tuple(scores)


def _grams(text: Sequence[str], order: int) -> Counter[Gram]:
    return Counter(zip(*(text[start:] for start in range(order)), strict=False))


def _clipped_counts(texts: Sequence[Counter[Gram]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return for each text how many of its n-grams another text has as often, and how many it has."""
    # Of every n-gram the text that has it most often, how often, and how often the next one has it.
    most: dict[Gram, tuple[int, int, int]] = {}
    for number, grams in enumerate(texts):
        for gram, count in grams.items():
            owner, first, second = most.get(gram, (-1, 0, 0))
            most[gram] = (number, count, first) if count > first else (owner, first, max(second, count))
    hits, counts = np.zeros(len(texts)), np.zeros(len(texts))
    for number, grams in enumerate(texts):
        for gram, count in grams.items():
            owner, first, second = most[gram]
            hits[number] += min(count, second if owner == number else first)
        counts[number] = grams.total()
    return hits, counts


def _brevity_penalties(texts: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """Return for each text the penalty for being shorter than the other text that is nearest in length."""
    lengths = np.array([len(text) for text in texts], dtype=np.float64)
    order = np.argsort(lengths, kind="stable")
    ranked = np.concatenate([[-np.inf], lengths[order], [np.inf]])
    own, below, above = ranked[1:-1], ranked[:-2], ranked[2:]
    nearest = np.where(own - below <= above - own, below, above)  # of two as near, the shorter, as NLTK
    penalties = np.empty(len(texts))
    penalties[order] = np.where(own == 0, 0.0, np.exp(np.minimum(0.0, 1 - nearest / np.maximum(own, 1))))
    return penalties


def distinct_n(texts: Sequence[str], orders: int = DISTINCT_ORDERS) -> tuple[float, ...]:
    """Return distinct-1 to distinct-`orders`: different n-grams by all n-grams of all texts (arXiv 1510.03055).

    Higher is more diverse; 0 where no text has so many words.
    """
    said = [words(text) for text in texts]
    shares = []
    for order in range(1, orders + 1):
        found = [gram for text in said for gram in zip(*(text[start:] for start in range(order)), strict=False)]
        shares.append(len(set(found)) / len(found) if found else 0.0)
    return tuple(shares)


def unique_share(texts: Sequence[str], below: float = UNIQUE_BELOW) -> float:
    """Return the share of texts whose ROUGE-L (F1) with every text kept before is less than `below`.

    In the order given; a text that is too much alike one kept before is not kept. Of longer texts the first 400 words
    count. 0 where there are no texts.
    """
    kept = _Kept()
    for text in texts:
        said = words(text)[:MAX_WORDS]
        if not kept.has_like(said, below):
            kept.add(said)
    return len(kept) / len(texts) if texts else 0.0


class _Kept:
    """Texts kept so far, asked whether one of them is like another text.

    Two texts can't have more words in common in order than they have in common at all, which is counted for all texts
    at once; only those that may come near enough are compared word by word.
    """

    def __init__(self) -> None:
        self._texts: list[list[str]] = []
        self._lengths: list[int] = []
        self._holders: dict[tuple[str, int], list[int]] = {}  # by a word and which of its times: who has it so often

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: list[str]) -> None:
        for part in _numbered(text):
            self._holders.setdefault(part, []).append(len(self._texts))
        self._texts.append(text)
        self._lengths.append(len(text))

    def has_like(self, text: list[str], below: float) -> bool:
        if not self._texts:
            return False
        found = [holders for part in _numbered(text) if (holders := self._holders.get(part))]
        shared = np.bincount([number for holders in found for number in holders], minlength=len(self._texts))
        lengths = len(text) + np.array(self._lengths)
        near = np.flatnonzero(2 * shared >= below * lengths)
        most_first = near[np.argsort(-shared[near] / np.maximum(lengths[near], 1), kind="stable")]
        positions = _positions(text)
        return any(
            2 * _common_subsequence(positions, len(text), self._texts[number]) >= below * lengths[number]
            for number in most_first.tolist()
        )


def _numbered(text: Sequence[str]) -> list[tuple[str, int]]:
    """Return a text's words, each with how often it has come before."""
    times: Counter[str] = Counter()
    numbered = []
    for word in text:
        numbered.append((word, times[word]))
        times[word] += 1
    return numbered


def _positions(text: Sequence[str]) -> dict[str, int]:
    """Return for each word of a text the places where it stands, as the bits of a number."""
    places: dict[str, int] = {}
    for place, word in enumerate(text):
        places[word] = places.get(word, 0) | 1 << place
    return places


def _common_subsequence(positions: dict[str, int], length: int, other: Sequence[str]) -> int:
    """Return the length of the longest common subsequence, a row of the table at a time (Hyyrö 2004).

    The table grows along a row by nothing or one: the bits say where it does not.
    """
    full = (1 << length) - 1
    row = full
    for word in other:
        matches = row & positions.get(word, 0)
        row = ((row + matches) | (row - matches)) & full
    return length - row.bit_count()
