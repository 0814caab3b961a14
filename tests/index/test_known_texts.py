import numpy as np

from rebase_hf.index.known_texts import KnownTexts, digest_table, text_digest


def table(texts):
    return digest_table(b"".join(text_digest(text) for text in texts))


def vectors(texts):
    return np.array([[len(text), sum(map(ord, text))] for text in texts], np.float16)


def add(known, texts):
    known.add(table(texts), lambda: vectors(texts))


def test_texts_are_found_wherever_they_were_added():
    known = KnownTexts()
    texts = [f"text {n}" for n in range(1000)]
    rng = np.random.default_rng(0)
    for start in range(0, 1000, 37):
        add(known, texts[start : start + 37])
    asked = [texts[n] for n in rng.permutation(1000)[:300]] + ["another", "and one more"]
    found, held = known.find(table(asked))
    assert found.tolist() == [True] * 300 + [False] * 2
    np.testing.assert_array_equal(held, vectors(asked[:300]))


def test_nothing_is_known_of_nothing():
    known = KnownTexts()
    add(known, [])
    found, held = known.find(table(["a text"]))
    assert found.tolist() == [False]
    assert held is None


def test_texts_beyond_the_limit_are_not_remembered():
    known = KnownTexts(max_texts=3)
    add(known, ["a", "b"])
    add(known, ["c", "d"])
    add(known, ["e"])
    assert known.find(table(["a", "b", "c", "d", "e"]))[0].tolist() == [True, True, False, False, True]


def test_texts_are_told_apart_by_both_halves_of_their_digests():
    known = KnownTexts()
    digests = table(["one"])
    add(known, ["one"])
    other = digests.copy()
    other[0, 1] ^= np.uint64(1)
    assert known.find(other)[0].tolist() == [False]
