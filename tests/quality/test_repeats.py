from collections.abc import Sequence

import numpy as np
import pytest

from rebase_hf.quality.duplicates import NearDuplicates
from rebase_hf.quality.repeats import Repetition, find_repeats

PASSAGE = (
    "The lighthouse at the northern cape was built in 1871 by two brothers who had never seen the open sea before"
)
PARAPHRASE = "Two brothers without any experience of the ocean erected the beacon on that headland in 1871"
OTHER = "Nobody knows why the ferry was cancelled on the third of March"


class MeaningEncoder:
    """Knows two texts to mean the same; counts what it is asked for."""

    name, dimension = "meaning", 3

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        places = [0 if text in (PASSAGE, PARAPHRASE) else 1 if "ferry" in text else 2 for text in texts]
        return np.eye(3, dtype=np.float32)[places]


def test_the_same_text_the_same_words_and_the_same_meaning_are_told_apart():
    encoder = MeaningEncoder()
    rows = [PASSAGE, OTHER, PASSAGE.upper(), PASSAGE.replace("1871", "1872"), PARAPHRASE]
    found = find_repeats([(row,) for row in rows], semantic=0.95, encoder=encoder)
    assert found[2] == Repetition(0, 1.0, "exact")
    assert found[3].of == 0 and found[3].kind == "near" and 0.6 <= found[3].similarity < 1
    assert found[4] == Repetition(0, 1.0, "semantic")
    assert set(found) == {2, 3, 4}
    assert encoder.asked == [PASSAGE, OTHER, PARAPHRASE]


def test_each_kind_can_be_left_out():
    rows = [(row,) for row in (PASSAGE, PASSAGE.upper(), PASSAGE.replace("1871", "1872"), PARAPHRASE)]
    assert set(find_repeats(rows)) == {1, 2}
    assert set(find_repeats(rows, near=1.0)) == {1}
    assert find_repeats(rows, near=None) == {}
    assert set(find_repeats([rows[0], rows[3]], near=None, semantic=0.9, encoder=MeaningEncoder())) == {1}


def test_rows_are_numbered_as_they_were_given():
    rows = [(OTHER,), (OTHER,), (PASSAGE,), (PASSAGE,), (PARAPHRASE,)]
    found = find_repeats(rows, semantic=0.95, encoder=MeaningEncoder())
    assert {row: repeat.of for row, repeat in found.items()} == {1: 0, 3: 2, 4: 2}


def test_every_field_must_be_repeated():
    encoder = MeaningEncoder()
    rows = [(PASSAGE, "When?"), (PARAPHRASE, "Why was the ferry late?"), (PARAPHRASE, "Who?")]
    assert set(find_repeats(rows, semantic=0.95, encoder=encoder)) == {2}


def test_the_decisions_are_the_gate_s():
    rows = [(f"{PASSAGE.replace('1871', str(1871 + i % 7))} {' and so on' * (i % 5)}",) for i in range(60)]
    seen = NearDuplicates()
    assert set(find_repeats(rows)) == {i for i, row in enumerate(rows) if seen.add(*row) is not None}


def test_meaning_needs_an_encoder():
    with pytest.raises(ValueError, match=r"semantic=0\.9 needs an encoder"):
        find_repeats([(PASSAGE,)], semantic=0.9)
