import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rensa import RMinHash, RMinHashLSH

from rebase_hf.quality.duplicates import (
    BANDS,
    MAX_SHINGLES,
    PERMUTATIONS,
    NearDuplicates,
    jaccard,
    normalise,
    shared_shingles,
    shingles,
    words,
)

PASSAGE = (
    "The lighthouse at the northern cape was built in 1871 by two brothers who had never seen the open sea before"
)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("I was charged twice!", "i was  charged\ntwice"),
        ("Café", "Cafe\u0301"),
        ("ﬁne", "fine"),
        ("It is — they say — so", "It is they say so"),
        ("a well-known thing", "a well known thing"),
        ("and/or", "and or"),
        ("**bold** text", "bold text"),
        ("# Title", "Title"),
        ("Straße", "STRASSE"),
    ],
)
def test_case_punctuation_and_blanks_do_not_count(a, b):
    assert normalise(a) == normalise(b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("3 + 4", "3 * 4"),
        ("3+4", "3*4"),
        ("3 - 4", "3 + 4"),
        ("3 × 4", "3 ÷ 4"),
        ("-3", "3"),
        ("2 < 3", "2 > 3"),
        ("x + y", "x - y"),
        ("a*b", "a+b"),
        ("( 1", "1"),
        ("[ { (", "( { ["),
        ("not (true and false", "true and false"),
        ("猫が好き", "猫は好き"),
    ],
)
def test_what_changes_what_a_text_says_counts(a, b):
    assert normalise(a) != normalise(b)


def test_scripts_without_blanks_are_split_by_character():
    assert words("列を削除する") == list("列を削除する")
    assert len(words("ฉันรักคุณ")) == 9
    assert words("나는 너를") == ["나는", "너를"]


def test_shingles_are_runs_of_three_words():
    assert shingles("One two, three four") == {"one two three", "two three four"}
    assert shingles("One two") == {"one two"}
    assert shingles("") == {""}


def test_a_run_that_comes_again_counts_again():
    once, again = "not true and not true is", "not true and not true and not true is"
    assert len(shingles(again)) == len(shingles(once)) + 3
    assert jaccard(shingles(once), shingles(again)) == pytest.approx(4 / 7)
    seen = NearDuplicates()
    assert [seen.add(once), seen.add(again), seen.add(again + ".")] == [None, None, (1, 1.0)]


@pytest.mark.parametrize(
    ("a", "b", "similarity"), [("ab", "bc", 1 / 3), ("ab", "ab", 1.0), ("", "", 1.0), ("a", "", 0.0)]
)
def test_jaccard(a, b, similarity):
    assert jaccard(frozenset(a), frozenset(b)) == pytest.approx(similarity)


def test_what_all_texts_share_is_their_form():
    texts = ["Find a movie like Alien", "Find a movie like Brazil", "find a movie like alien!"]
    assert shared_shingles(texts) == {"find a movie", "a movie like"}
    assert shared_shingles(["Find a movie"] * 3) == frozenset()


def test_an_equal_text_is_found_with_its_number():
    seen = NearDuplicates()
    assert seen.add(PASSAGE) is None
    assert seen.add("Something else entirely, about boats") is None
    assert seen.add(PASSAGE.upper()) == (0, 1.0)
    assert len(seen) == 2


def test_a_nearly_equal_text_is_found_with_its_similarity():
    seen = NearDuplicates()
    seen.add(PASSAGE)
    again = PASSAGE.replace("1871", "1872")
    number, similarity = seen.find(again)
    assert number == 0
    assert similarity == pytest.approx(jaccard(shingles(PASSAGE), shingles(again)))
    assert 0.6 <= similarity < 1.0
    assert len(seen) == 1
    assert NearDuplicates(near=1.0).find(again) is None


def test_equal_texts_only():
    seen = NearDuplicates(near=1.0)
    seen.add(PASSAGE)
    assert seen.find(PASSAGE.replace("1871", "1872")) is None
    assert seen.find(PASSAGE.lower()) == (0, 1.0)


def test_two_questions_about_one_passage_are_no_duplicates():
    seen = NearDuplicates()
    seen.add(PASSAGE, "Who built the lighthouse at the northern cape?")
    assert seen.add(PASSAGE, "In which year was the building finished?") is None
    assert seen.add(PASSAGE, "Who built the lighthouse at the northern cape") == (0, 1.0)


def test_a_field_is_not_confused_with_its_neighbour():
    seen = NearDuplicates(near=1.0)
    seen.add("a b", "c")
    assert seen.find("a", "b c") is None


def test_shingles_of_the_form_do_not_count():
    head = "Complete the rest of the sequence and make sure that all parentheses are closed properly: "
    texts = [head + rest for rest in ("[ { (", "( ( <", "{ } [ [")]
    assert NearDuplicates(form=frozenset()).add(texts[0]) is None
    seen = NearDuplicates(form=shared_shingles(texts))
    assert [seen.add(text) for text in texts] == [None, None, None]
    assert seen.add(texts[1] + ".") == (1, 1.0)
    seen = NearDuplicates()
    assert seen.add(texts[0]) is None
    assert seen.add(texts[1]) is not None


def test_pairs_at_the_threshold_are_found():
    # 40 words of which the last ones differ: similarities from .6 up.
    vocabulary = [f"w{i}" for i in range(5000)]
    found = total = 0
    for start in range(0, 4000, 40):
        text = vocabulary[start : start + 40]
        other = [*text[:31], *(f"x{start}{i}" for i in range(9))]
        similarity = jaccard(shingles(" ".join(text)), shingles(" ".join(other)))
        assert similarity == pytest.approx(0.6, abs=0.03)
        seen = NearDuplicates(near=0.59)
        seen.add(" ".join(text))
        found += seen.find(" ".join(other)) is not None
        total += 1
    assert found / total >= 0.95


def test_innocent_texts_stay_though_minhash_proposes_them():
    vocabulary = [f"w{i}" for i in range(8000)]
    seen, proposing = NearDuplicates(), RMinHashLSH(threshold=0.6, num_perm=PERMUTATIONS, num_bands=BANDS)
    proposed = 0
    for start in range(0, 8000, 40):
        text = vocabulary[start : start + 40]
        other = [*text[:27], *(f"x{start}{i}" for i in range(13))]
        assert jaccard(shingles(" ".join(text)), shingles(" ".join(other))) == pytest.approx(0.5, abs=0.03)
        assert seen.add(" ".join(text)) is None
        proposing.insert(start, minhash(text))
        proposed += bool(proposing.query(minhash(other)))
        assert seen.find(" ".join(other)) is None
    assert proposed > 100


def minhash(words: list[str]) -> RMinHash:
    minhash = RMinHash(num_perm=PERMUTATIONS, seed=0)
    minhash.update(sorted(shingles(" ".join(words))))
    return minhash


def test_long_texts_are_compared_by_their_beginning_and_kept_small():
    long = " ".join(f"w{i}" for i in range(20_000))
    assert len(shingles(long)) == MAX_SHINGLES
    seen = NearDuplicates()
    seen.add(long)
    assert seen.find(long + " more")[0] == 0
    assert sum(map(sys.getsizeof, seen._exact)) < 1000


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=6))
def test_any_text_is_found_once_it_was_added(texts):
    seen = NearDuplicates()
    for text in texts:
        seen.add(text)
    assert all(seen.find(text) is not None for text in texts)
