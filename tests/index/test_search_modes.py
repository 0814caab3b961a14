"""Dense, lexical and fused search: what each finds, in which order, and that scores mean the same in all."""

import importlib.util
import math

import numpy as np
import pytest

from rebase_hf.errors import RowIndexError
from rebase_hf.index.row_index import RowIndex
from rebase_hf.index.searching import FUSED_DEPTH, FUSED_LEAST, FUSION_CONSTANT, Ranked, fuse
from tests.index.conftest import write_source
from tests.index.hashing_encoder import HashingEncoder

LETTERS = [f"A letter about noun{n % 17} and verb{n % 5}" for n in range(120)]


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    root = tmp_path_factory.mktemp("letters")
    rows = [
        {"question": text, "answer": f"answer {n % 7} with zebra{n % 11}", "n": n} for n, text in enumerate(LETTERS)
    ]
    more = [{"question": f"Is noun{n} a zebra{n}?", "answer": "perhaps not"} for n in range(30)]
    paths = [write_source(root / "one", rows), write_source(root / "two", more, license="apache-2.0")]
    return RowIndex.build(root / "index", paths, encoder=HashingEncoder(), max_segment_texts=300)


def best_cosine(row, text):
    cells = [cell for cell in row.source.cells.values() if not cell.isdigit()]
    return float(np.max(HashingEncoder().encode(cells) @ HashingEncoder().encode([text])[0]))


@pytest.mark.parametrize("mode", ["dense", "lexical", "both"])
def test_the_score_is_the_best_cells_cosine_in_every_mode(letters, mode):
    texts = ["noun3 zebra3", "a verb2"]
    for text, found in zip(texts, letters.search(texts, k=15, mode=mode), strict=True):
        assert len(found) == 15
        for row in found:
            assert row.score == row.parts["dense"]
            assert row.score == pytest.approx(best_cosine(row, text), abs=2e-3)


def test_each_mode_says_what_counted(letters):
    dense, lexical, both = (letters.search("noun3 zebra3", k=10, mode=mode) for mode in ("dense", "lexical", "both"))
    assert all(set(row.parts) == {"dense"} for row in dense)
    assert all(set(row.parts) == {"dense", "lexical"} for row in lexical)
    assert all({"dense", "fused"} <= set(row.parts) <= {"dense", "lexical", "fused"} for row in both)
    for rows, part in ((dense, "dense"), (lexical, "lexical"), (both, "fused")):
        counted = [row.parts[part] for row in rows]
        assert counted == sorted(counted, reverse=True)


def test_lexical_search_is_bm25_over_all_rows(letters):
    found = letters.search("zebra3 perhaps", k=150, mode="lexical")
    rows = [" ".join(row.cells.values()).lower().split() for row in letters.rows(range(len(letters)))]
    rows = [[word.strip("?") for word in row] for row in rows]
    average = sum(map(len, rows)) / len(rows)
    scores = {}
    for key, row in enumerate(rows):
        for word in ("zebra3", "perhaps"):
            holding = sum(word in other for other in rows)
            count = row.count(word)
            weight = math.log(1 + (len(rows) - holding + 0.5) / (holding + 0.5))
            gained = weight * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * len(row) / average))
            if gained:
                scores[key] = scores.get(key, 0.0) + gained
    assert {row.key for row in found} == set(scores)
    for row in found:
        assert row.parts["lexical"] == pytest.approx(scores[row.key], rel=0.02)


def test_fused_search_is_reciprocal_rank_fusion_of_both_lists(letters):
    text, k = "noun3 zebra3", 10
    depth = max(FUSED_DEPTH * k, FUSED_LEAST)
    lists = [[row.key for row in letters.search(text, k=depth, mode=mode)] for mode in ("dense", "lexical")]
    sums: dict[int, float] = {}
    for keys in lists:
        for rank, key in enumerate(keys, start=1):
            sums[key] = sums.get(key, 0.0) + 1 / (FUSION_CONSTANT + rank)
    expected = sorted(sums, key=lambda key: (-sums[key], key))[:k]
    found = letters.search(text, k=k, mode="both")
    assert [row.key for row in found] == expected
    assert [row.parts["fused"] for row in found] == pytest.approx([sums[key] for key in expected])


def test_fusing_keeps_what_only_one_list_knows():
    one = Ranked(np.array([5, 3]), {"dense": np.array([0.9, 0.8], np.float32)})
    other = Ranked(np.array([3, 8]), {"lexical": np.array([7.0, 2.0], np.float32)})
    fused = fuse([one, other], 3)
    assert fused.keys.tolist() == [3, 5, 8]
    assert np.isnan(fused.parts["lexical"][1]) and np.isnan(fused.parts["dense"][2])
    assert fuse([one, other], 1).keys.tolist() == [3]


@pytest.mark.parametrize("mode", ["lexical", "both"])
def test_words_are_searched_within_filters(letters, mode):
    rows = letters.search("zebra3 noun3", k=30, mode=mode, licenses="apache-2.0")
    assert len(rows) == (30 if mode == "both" else 1)
    assert {row.source.dataset for row in rows} == {"two"}
    rows = letters.search("zebra3", k=30, mode="lexical", roles="answer")
    assert {row.columns["text"] for row in rows} == {"answer"}
    assert {row.source.dataset for row in rows} == {"one"}
    assert len(rows) == sum(f"zebra{n % 11}" == "zebra3" for n in range(120))


def test_a_row_found_by_a_word_in_a_number_has_a_score(letters):
    row = letters.search("17", k=1, mode="lexical")[0]
    assert row.source.cells["n"] == "17"


def test_an_index_without_words_says_so(tmp_path, sources):
    index = RowIndex.build(tmp_path / "index", sources, encoder=HashingEncoder(), words=False)
    assert not index.info()["words"]
    with pytest.raises(RowIndexError, match="was built without its words"):
        index.search("film", mode="lexical")
    assert importlib.util.find_spec("tantivy") is not None  # as in every environment of the tests
    assert RowIndex.build(index.path, sources, encoder=HashingEncoder()).search("film", mode="lexical")
