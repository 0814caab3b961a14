import hashlib
import math
import os
import random
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rebase_hf.errors import RowIndexError
from rebase_hf.index.lexical import LexicalIndex
from rebase_hf.index.lexical_building import build_lexical
from rebase_hf.index.lexical_parts import META, list_files

LETTERS = [
    (0, "The parcel never arrived and nobody answers", 0),
    (1, "I was charged twice in May", 0),
    (2, "A wonderful film about a lighthouse keeper", 1),
    (5, "The courier left both parcels in the rain", 1),
    (9, "Der Leuchtturmwärter wohnt in Köln", 2),
    (10, "灯台守は大阪に住んでいる", 2),
]


def build(folder: Path, rows: list[tuple[int, str, int]], **options) -> LexicalIndex:
    assert build_lexical(
        folder, [(key, {"text": text}, source) for key, text, source in rows], ["text"], **options
    ) == len(rows)
    return LexicalIndex([folder])


@pytest.fixture
def letters(tmp_path: Path) -> LexicalIndex:
    return build(tmp_path / "letters", LETTERS)


@pytest.fixture(scope="module")
def many() -> list[tuple[int, str, int]]:
    rng = random.Random(2)
    words = [f"w{n}" for n in range(400)]
    weights = [1 / (n + 1) for n in range(400)]
    return [(n, " ".join(rng.choices(words, weights, k=rng.randint(3, 30))), n // 100) for n in range(3_000)]


@pytest.fixture(scope="module")
def index(many, tmp_path_factory) -> LexicalIndex:
    return build(tmp_path_factory.mktemp("many") / "lexical", many)


def search(index: LexicalIndex, text: str, k: int = 10, **options) -> list[int]:
    [(keys, scores)] = index.search([text], k, **options)
    assert keys.dtype == np.int64
    assert scores.dtype == np.float32
    assert len(keys) == len(scores)
    return keys.tolist()


def bm25(rows: list[tuple[int, str, int]], query: str) -> dict[int, float]:
    """BM25 written out, with the lengths of documents as Lucene rounds them (exact up to 40 words)."""
    counts = {key: Counter(text.split()) for key, text, _ in rows}
    mean = sum(sum(words.values()) for words in counts.values()) / len(rows)
    scores: dict[int, float] = {}
    for word in query.split():
        holders = [key for key, words in counts.items() if word in words]
        weight = math.log(1 + (len(rows) - len(holders) + 0.5) / (len(holders) + 0.5))
        for key in holders:
            often, length = counts[key][word], sum(counts[key].values())
            scores[key] = scores.get(key, 0) + weight * 2.2 * often / (often + 1.2 * (0.25 + 0.75 * length / mean))
    return scores


def test_rows_are_found_by_any_form_of_their_words(letters):
    assert search(letters, "PARCELS?") == [0, 5]
    assert search(letters, "charging") == [1]
    assert search(letters, "koln") == []
    assert search(letters, "ko\u0308ln") == [9]  # o and two dots, not the one letter
    assert search(letters, "大阪") == [10]


def test_scores_are_bm25(index, many):
    for query in ("w3 w90 w17", "w300", "w1 w2 w3 w4 w5 w6 w7 w8", "w5 w5 w6"):
        expected = bm25(many, query)
        [(keys, scores)] = index.search([query], 50)
        best = sorted(expected, key=lambda key: -expected[key])[:50]
        np.testing.assert_allclose(scores, [expected[key] for key in best], rtol=1e-4)
        np.testing.assert_allclose(scores, [expected[key] for key in keys.tolist()], rtol=1e-4)


@pytest.mark.parametrize(
    "sources", [{3}, {3, 17, 4}, set(range(0, 30, 2)), set(range(1, 30)), set(range(30)), {7, 99}]
)
def test_a_filter_returns_the_best_of_its_sources_with_the_scores_they_have_without_it(index, sources):
    [(all_keys, all_scores)] = index.search(["w1 w20 w33 w2"], 3_000)
    of_them = np.isin(all_keys // 100, list(sources))
    [(keys, scores)] = index.search(["w1 w20 w33 w2"], 25, sources=sources)
    np.testing.assert_allclose(scores, all_scores[of_them][:25], rtol=1e-5)
    assert set(keys // 100) <= sources
    assert search(index, "w1 w20 w33 w2", 25, sources=np.array(sorted(sources))) == keys.tolist()


def test_rows_found_by_one_text_are_scored_by_another(index, many):
    found_by, scored_by = "w20 w31 w7", "w45 w45 w60"
    keys, scores = index.search_scored(found_by, 50, scored_by=scored_by)
    assert keys.tolist() == search(index, found_by, 50)
    expected = bm25(many, scored_by)
    assert [float(score) for score in scores] == pytest.approx([expected.get(key, 0.0) for key in keys], rel=1e-3)
    assert (scores == 0.0).any()
    assert (scores > 0.0).any()


def test_nothing_found_has_no_scores(index, tmp_path):
    for empty in (index, LexicalIndex([])):
        keys, scores = empty.search_scored("nowhere", 5, scored_by="w1")
        assert (len(keys), len(scores)) == (0, 0)


def test_a_filter_of_many_sources_works_too(tmp_path):
    index = build(tmp_path / "lexical", [(n, f"word row{n}", n) for n in range(500)])
    assert search(index, "word", 200, sources=range(100, 250)) == list(range(100, 250))
    assert search(index, "word", 500, sources=range(100, 500)) == list(range(100, 500))


def test_no_source_allowed_finds_nothing(index):
    assert search(index, "w1", sources=[]) == []
    assert search(index, "w1", sources=[12345]) == []


def test_equal_scores_stand_by_key_also_where_k_cuts_them(tmp_path):
    rows = [(key, "yes indeed" if key % 3 else "no", key // 50) for key in range(900)]
    for index in (build(tmp_path / "one", rows), build(tmp_path / "parts", rows, part_chars=1_400)):
        assert search(index, "yes", 7) == [key for key in range(900) if key % 3][:7]
        assert search(index, "indeed yes no", 7, sources=[3]) == [key for key in range(150, 200) if not key % 3][:7]


def test_the_same_rows_make_the_same_files(tmp_path, many):
    for name in ("one", "two"):
        build(tmp_path / name, many, part_chars=100_000)
    first, second = (
        {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / name).iterdir()}
        for name in ("one", "two")
    )
    assert first == second
    assert sorted(first) == list(list_files(tmp_path / "one"))
    assert len(first) > 1 + 6 * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_cut_into_parts_it_finds_the_same(index, tmp_path, many):
    parts = build(tmp_path / "parts", many, part_chars=40_000)
    queries = ["w3 w90 w17", "w1 w2 w3 w4 w5 w6 w7 w8", "w0"]
    for one, other in zip(index.search(queries, 40), parts.search(queries, 40), strict=True):
        assert one[0].tolist() == other[0].tolist()
        np.testing.assert_allclose(one[1], other[1], rtol=1e-5)


@pytest.mark.slow
def test_rows_that_overflow_the_writers_memory_are_found_in_order(tmp_path):
    # 15 MB is the least tantivy takes; words that are all different fill it several times.
    rows = [(key, " ".join(["same", *(f"v{key * 60 + n:x}" for n in range(60))]), key) for key in range(12_000)]
    index = build(tmp_path / "lexical", rows, writer_bytes=15_000_000)
    assert len(list_files(tmp_path / "lexical")) > 1 + 6
    assert search(index, "same", 30) == list(range(30))
    assert search(index, f"v{5_999 * 60:x}") == [5_999]


@pytest.mark.parametrize(
    "query",
    ["text:[* TO *]", "key:0", "source:1 OR *", '"parcel" AND (', "\x00\x00", "\ud800", "", " ", "?!", "a" * 100_000]
    + ["/.*/", "w" * 70_000 + " parcel-less", "\u202e\u0000\ufeff"],
)
def test_a_query_is_words_and_never_syntax(letters, query):
    assert set(search(letters, query)) <= {0, 5, 2}  # `parcel` and `a`


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(st.text(st.characters()), st.integers(0, 20))
def test_any_text_is_a_safe_query(letters, query, k):
    assert len(search(letters, query, k)) <= k


def test_rows_of_any_text_can_be_held_and_found_by_their_own_words(tmp_path):
    rng = random.Random(0)
    texts = ["".join(chr(rng.randrange(0x11000)) for _ in range(60)) for _ in range(200)]
    index = build(tmp_path / "lexical", [(key, f"{text} row{key}", 0) for key, text in enumerate(texts)])
    for key, text in enumerate(texts):
        assert search(index, f"{text} row{key}", 1) == [key]


def test_long_queries_are_cut_and_answered(index):
    assert len(search(index, " ".join(f"w{n}" for n in range(400)) * 50, 10)) == 10


def test_an_index_of_no_rows_finds_nothing(tmp_path):
    index = build(tmp_path / "lexical", [])
    assert list_files(tmp_path / "lexical") == (META,)
    assert search(index, "anything") == search(index, "anything", sources=[1], roles=["text"]) == []
    assert len(index) == 0


@pytest.mark.parametrize("keys", [(0, 0), (3, 2)])
def test_keys_that_do_not_rise_are_refused_and_leave_no_index(tmp_path, keys):
    with pytest.raises(RowIndexError, match="expected keys that rise"):
        build(tmp_path / "lexical", [(key, "a row", 0) for key in keys])
    assert not (tmp_path / "lexical").exists()


def test_opening_and_searching_write_nothing(letters, tmp_path):
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "letters").iterdir()}
    search(LexicalIndex([tmp_path / "letters"]), "parcel")
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "letters").iterdir()} == before
    assert sorted(before) == list(list_files(tmp_path / "letters"))


@pytest.mark.skipif(
    sys.platform != "linux" or subprocess.run(["unshare", "-rm", "true"], check=False).returncode != 0,
    reason="needs a name space to mount in",
)
def test_it_opens_on_a_read_only_disk(letters, tmp_path):
    folder = tmp_path / "letters"
    code = (
        "import sys; from pathlib import Path; from rebase_hf.index.lexical import LexicalIndex\n"
        "try: (Path(sys.argv[1]) / 'new').touch()\n"
        "except OSError: pass\n"
        "else: sys.exit('the disk takes files')\n"
        "print(LexicalIndex([Path(sys.argv[1])]).search(['parcel'], 5)[0][0].tolist())"
    )
    mount = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "-rm", "sh", "-c", mount, "sh", str(folder), sys.executable, code]
    told = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": "."})
    assert told.stdout.strip() == "[0, 5]"


def test_many_threads_find_what_one_finds(index):
    queries = [f"w{n} w{n * 3 % 400} w{n * 7 % 400}" for n in range(200)]
    expected = [keys.tolist() for keys, _ in index.search(queries, 10)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda query: search(index, query), queries)) == expected


def test_what_is_no_lexical_index_is_refused_by_its_name(letters, tmp_path):
    with pytest.raises(RowIndexError, match="nowhere is no lexical index"):
        LexicalIndex([tmp_path / "nowhere"])
    meta = tmp_path / "letters" / META
    meta.write_text(meta.read_text().replace("words.1", "words.0"))
    with pytest.raises(RowIndexError, match="of another version of the lexical index"):
        LexicalIndex([tmp_path / "letters"])


def test_a_part_that_is_missing_is_refused(letters, tmp_path):
    (tmp_path / "letters" / list_files(tmp_path / "letters")[0]).unlink()
    with pytest.raises(RowIndexError, match=r"letters can't be opened"):
        LexicalIndex([tmp_path / "letters"])
