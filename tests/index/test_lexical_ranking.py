"""What LexicalIndex finds beside BM25 written out for every row: whatever it skips, nothing that ranks is missed."""

import math
import random
from collections import Counter

import numpy as np
import pytest

from rebase_hf.index.lexical import LexicalIndex
from rebase_hf.index.lexical_building import build_lexical

WORDS = [f"w{n}" for n in range(300)]
ROWS = 4_000
SOURCES = 40


class Bm25:
    """Scores of all rows, by the formula; rows are shorter than 40 words, whose lengths tantivy keeps exactly."""

    def __init__(self, texts: list[str]) -> None:
        self.counts = [Counter(text.split()) for text in texts]
        self.lengths = np.array([sum(count.values()) for count in self.counts])
        self.part = 1.2 * (0.25 + 0.75 * self.lengths / self.lengths.mean())

    def scores(self, query: str) -> np.ndarray:
        scores = np.zeros(len(self.counts))
        for word in query.split():
            often = np.array([count[word] for count in self.counts])
            holders = np.count_nonzero(often)
            weight = math.log(1 + (len(often) - holders + 0.5) / (holders + 0.5))
            scores += weight * 2.2 * often / (often + self.part)
        return scores


def expect_best(found: tuple[np.ndarray, np.ndarray], scores: np.ndarray, k: int) -> None:
    keys, theirs = found
    best = np.sort(scores[scores > 0])[::-1][:k]
    np.testing.assert_allclose(theirs, best, rtol=1e-4)
    np.testing.assert_allclose(scores[keys], best, rtol=1e-4)
    assert len(set(keys.tolist())) == len(keys)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Rows of some of 900 sentences each, so that a query taken from a row has several rows that hold all of it."""
    rng = random.Random(5)
    weights = [1 / (n + 1) for n in range(len(WORDS))]
    sentences = [" ".join(rng.choices(WORDS, weights, k=rng.randint(4, 12))) for _ in range(900)]
    return [" ".join(rng.sample(sentences, rng.randint(1, 3))) for _ in range(ROWS)]


@pytest.fixture(scope="module")
def written_out(texts) -> Bm25:
    return Bm25(texts)


@pytest.fixture(scope="module")
def index(texts, tmp_path_factory) -> LexicalIndex:
    folder = tmp_path_factory.mktemp("ranking") / "lexical"
    build_lexical(folder, ((n, {"text": text}, n % SOURCES) for n, text in enumerate(texts)), ["text"])
    return LexicalIndex([folder])


def queries(texts: list[str], words: int, count: int) -> list[str]:
    rng = random.Random(words)
    held = [text.split() for text in rng.sample(texts, count)]
    return [" ".join(row[:words]) for row in held] + [" ".join(rng.choices(WORDS, k=words)) for _ in range(count)]


@pytest.mark.parametrize("words", [1, 2, 3, 8, 30])
@pytest.mark.parametrize("k", [1, 10, 200])
def test_the_best_are_those_of_bm25_for_every_row(index, texts, written_out, words, k):
    asked = queries(texts, words, 15)
    for query, found in zip(asked, index.search(asked, k), strict=True):
        expect_best(found, written_out.scores(query), k)


@pytest.mark.parametrize("allowed", [range(1), range(3), range(4), range(20), range(1, SOURCES)])
def test_a_filter_of_any_width_loses_nothing(index, texts, written_out, allowed):
    asked = queries(texts, 6, 10)
    passes = np.isin(np.arange(ROWS) % SOURCES, list(allowed))
    for query, found in zip(asked, index.search(asked, 10, sources=allowed), strict=True):
        expect_best(found, written_out.scores(query) * passes, 10)


def test_a_wide_filter_finds_rows_far_below_all_that_it_drops(tmp_path):
    # 6,000 of the 9,000 rows beat every row that the filter lets pass.
    texts = ["rare rare word" if n % 3 else "a word among others here" for n in range(9_000)]
    build_lexical(tmp_path / "lexical", ((n, {"text": text}, n % 3) for n, text in enumerate(texts)), ["text"])
    index = LexicalIndex([tmp_path / "lexical"])
    [(keys, _)] = index.search(["rare word"], 5, sources=[0])
    assert keys.tolist() == [0, 3, 6, 9, 12]


def test_thousands_of_equal_rows_stand_by_key(tmp_path):
    texts = ["yes of course" if n % 2 else f"no never {n}" for n in range(20_000)]
    build_lexical(tmp_path / "lexical", ((n, {"text": text}, 0) for n, text in enumerate(texts)), ["text"])
    index = LexicalIndex([tmp_path / "lexical"], row_keys=lambda _, keys: 19_999 - keys)
    for query in ("yes", "course yes", "yes of course yes"):
        [(keys, scores)] = index.search([query], 8)
        assert keys.tolist() == [0, 2, 4, 6, 8, 10, 12, 14]
        assert len(set(scores.tolist())) == 1


def test_a_query_asked_again_finds_the_same(index, texts):
    asked = queries(texts, 8, 10)
    first, second = index.search(asked, 10), index.search(asked, 10)
    for one, other in zip(first, second, strict=True):
        assert one[0].tolist() == other[0].tolist()
        assert one[1].tolist() == other[1].tolist()
