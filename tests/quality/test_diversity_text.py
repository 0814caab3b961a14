import math
import random
from collections import Counter

import pytest

from rebase_hf.quality.diversity_text import distinct_n, self_bleu, unique_share

WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "in", "mat", "house", "red", "big", "and", "then"]


def made_texts(count: int, *, longest: int = 12, seed: int = 0) -> list[str]:
    chance = random.Random(seed)
    return [" ".join(chance.choices(WORDS, k=chance.randint(1, longest))) for _ in range(count)]


def grams(text: list[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(text[i : i + order]) for i in range(len(text) - order + 1))


def sentence_bleu(text: list[str], others: list[list[str]], orders: int) -> float:
    """BLEU by its definition, one text against its references: Papineni et al. 2002, smoothed as NLTK's method1."""
    product = 1.0
    for order in range(1, orders + 1):
        counts = grams(text, order)
        hits = sum(min(count, max(grams(other, order)[gram] for other in others)) for gram, count in counts.items())
        if order == 1 and not hits:
            return 0.0
        product *= (hits or 0.1) / max(1, counts.total())
    nearest = min((len(other) for other in others), key=lambda length: (abs(length - len(text)), length))
    return min(1.0, math.exp(1 - nearest / len(text))) * product ** (1 / orders)


def test_self_bleu_of_two_short_texts_by_hand():
    # Of `the cat sat`: 2 of 3 words, 1 of 2 pairs, none of 1 triple (0.1), and no four words (0.1 of 1).
    by_hand = [2 / 3, (2 / 3 / 2) ** (1 / 2), (2 / 3 / 2 * 0.1) ** (1 / 3), (2 / 3 / 2 * 0.01) ** (1 / 4)]
    assert self_bleu(["the cat sat", "the cat ran"], 4) == pytest.approx(by_hand)


def test_a_shorter_text_is_penalised():
    # `the cat` has all its words in the other, and half its length: exp(1 - 4 / 2). The longer one has 2 of 4.
    assert self_bleu(["the cat", "the cat sat down"], 1)[0] == pytest.approx((math.exp(-1) + 2 / 4) / 2)


def test_self_bleu_is_what_the_definition_gives_text_by_text():
    texts = made_texts(25)
    said = [text.split() for text in texts]
    for orders, found in enumerate(self_bleu(texts), start=1):
        each = [sentence_bleu(text, said[:i] + said[i + 1 :], orders) for i, text in enumerate(said)]
        assert found == pytest.approx(sum(each) / len(each))


def test_self_bleu_tells_copies_from_texts_that_share_nothing():
    assert self_bleu(["one two three four five"] * 10) == pytest.approx((1.0,) * 5)
    assert self_bleu(["one two three", "four five six"]) == (0.0,) * 5
    assert self_bleu(["alone"]) == self_bleu([]) == (0.0,) * 5
    assert self_bleu(["", "word", "word"], 1)[0] == pytest.approx(2 / 3)


def test_distinct_n_counts_different_runs_of_words_among_all():
    assert distinct_n(["the cat sat", "The cat ran!"], 3) == pytest.approx((4 / 6, 3 / 4, 1.0))
    assert distinct_n(["word"]) == (1.0, 0.0, 0.0)
    assert distinct_n([]) == (0.0, 0.0, 0.0)


def longest_common(first: list[str], second: list[str]) -> int:
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, word in enumerate(first):
        for j, other in enumerate(second):
            table[i + 1][j + 1] = table[i][j] + 1 if word == other else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


@pytest.mark.parametrize("below", [0.4, 0.7, 0.95])
def test_unique_share_is_what_comparing_all_with_those_kept_gives(below):
    texts = made_texts(120, longest=9)
    kept: list[list[str]] = []
    for text in (text.split() for text in texts):
        if all(2 * longest_common(text, other) / (len(text) + len(other)) < below for other in kept):
            kept.append(text)
    assert 1 < len(kept) < len(texts)
    assert unique_share(texts, below) == pytest.approx(len(kept) / len(texts))


def test_the_order_of_words_counts_for_unique_texts():
    forwards = "one two three four five six seven eight"
    assert unique_share([forwards, " ".join(reversed(forwards.split()))]) == 1.0
    assert unique_share([forwards, forwards.upper() + "."]) == 0.5
    assert unique_share([]) == 0.0
