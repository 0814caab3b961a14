"""Rows over several folders, found as if they lay in one; and cells by their roles."""

import random
from pathlib import Path

import numpy as np
import pytest

from rebase_hf.errors import RowIndexError
from rebase_hf.index.lexical import LexicalIndex
from rebase_hf.index.lexical_building import build_lexical

ROWS = 1_500
ROLES = ("label", "question", "text")
SOURCES = [2**63 - 1 - 7 * n for n in range(30)]
QUERIES = ["w3 w90 w17", "w1 w2 w3 w4 w5 w6 w7 w8", "w0", "yes", "w140 w3 yes"]

Row = tuple[dict[str, str], int]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    rng = random.Random(3)
    words, weights = [f"w{n}" for n in range(200)], [1 / (n + 1) for n in range(200)]

    def some(most: int) -> str:
        return " ".join(rng.choices(words, weights, k=rng.randint(1, most)))

    made: list[Row] = []
    for n in range(ROWS):
        texts = {"text": some(20), "label": rng.choice(["yes", "no"])} if n % 5 else {"label": "yes"}
        made.append((texts | ({"question": some(6)} if n % 2 else {}), SOURCES[n * 30 // ROWS]))
    return made


def spread(folder: Path, rows: list[Row], folders: int, seed: int) -> LexicalIndex:
    """Return an index of rows dealt to folders at random; their keys of all folders are what they are in one."""
    rng = random.Random(seed)
    dealt = [rng.randrange(folders) for _ in rows]
    held = [np.array([n for n, its in enumerate(dealt) if its == number], dtype=np.int64) for number in range(folders)]
    for number, global_keys in enumerate(held):
        local = ((key, *rows[n]) for key, n in enumerate(global_keys))
        assert build_lexical(folder / str(number), local, ROLES) == len(global_keys)
    return LexicalIndex([folder / str(number) for number in range(folders)], row_keys=lambda n, keys: held[n][keys])


@pytest.fixture(scope="module")
def one(rows, tmp_path_factory) -> LexicalIndex:
    return spread(tmp_path_factory.mktemp("one"), rows, 1, 0)


@pytest.mark.parametrize("folders", [2, 5])
@pytest.mark.parametrize(
    "options",
    [{}, {"sources": SOURCES[:2]}, {"sources": SOURCES[3:20]}, {"roles": {"text"}}, {"roles": ("question", "label")}],
)
def test_how_rows_are_spread_over_folders_changes_nothing(one, rows, tmp_path, folders, options):
    index = spread(tmp_path, rows, folders, folders)
    assert len(index) == len(one) == ROWS
    for k in (1, 7, 60):
        for found, expected in zip(
            index.search(QUERIES, k, **options), one.search(QUERIES, k, **options), strict=True
        ):
            assert found[0].tolist() == expected[0].tolist()
            np.testing.assert_allclose(found[1], expected[1], rtol=1e-5)


def test_ties_stand_by_the_key_over_all_folders(tmp_path):
    for name in ("a", "b"):
        build_lexical(tmp_path / name, [(key, {"text": "the same"}, 0) for key in range(100)], ["text"])
    index = LexicalIndex([tmp_path / "a", tmp_path / "b"], row_keys=lambda n, keys: 2 * (99 - keys) + n)
    [(keys, _)] = index.search(["same"], 6)
    assert keys.tolist() == [0, 1, 2, 3, 4, 5]


def test_filters_take_numbers_of_sources_up_to_63_bits(one, rows):
    [(keys, _)] = one.search(["w0 w1 yes"], ROWS, sources=np.array([SOURCES[0], SOURCES[29]], dtype=np.int64))
    assert {rows[key][1] for key in keys} == {SOURCES[0], SOURCES[29]}
    assert one.search(["w0"], 5, sources=[SOURCES[0] - 1])[0][0].tolist() == []


def test_no_folders_and_empty_folders_find_nothing_and_change_nothing(one, rows, tmp_path):
    assert len(LexicalIndex([])) == 0
    for options in ({}, {"sources": [1]}, {"roles": ["text"]}):
        [(keys, scores)] = LexicalIndex([]).search(["anything"], 5, **options)
        assert (keys.dtype, scores.dtype, len(keys), len(scores)) == (np.int64, np.float32, 0, 0)
    assert LexicalIndex([]).words("Two parcels") == ["two", "parcel"]
    assert build_lexical(tmp_path / "empty", [], ROLES) == 0
    build_lexical(tmp_path / "all", ((key, *row) for key, row in enumerate(rows)), ROLES)
    index = LexicalIndex([tmp_path / "empty", tmp_path / "all"])
    for found, expected in zip(index.search(QUERIES, 9), one.search(QUERIES, 9), strict=True):
        assert found[0].tolist() == expected[0].tolist()


def test_a_role_is_searched_on_its_own(tmp_path):
    rows = [
        (0, {"question": "Where is my parcel?", "answer": "At the door"}, 0),
        (1, {"question": "Which door?", "answer": "The parcel is at the blue one"}, 0),
        (2, {"answer": "A parcel"}, 1),
    ]
    build_lexical(tmp_path / "lexical", rows, ["question", "answer"])
    index = LexicalIndex([tmp_path / "lexical"])

    def found(query: str, **options) -> set[int]:
        return set(index.search([query], 9, **options)[0][0].tolist())

    assert found("parcel") == {0, 1, 2}
    assert found("parcel", roles=["question"]) == {0}
    assert found("parcel", roles={"answer"}) == {1, 2}
    assert found("parcel", roles={"answer"}, sources=[1]) == {2}
    assert found("parcel door", roles=["question", "answer"]) == {0, 1, 2}
    assert found("parcel", roles=[]) == set()


def test_scores_of_several_roles_are_the_sums_of_their_scores(one):
    def scores(**options) -> dict[int, float]:
        [(keys, found)] = one.search(["w3 w40 yes"], ROWS, **options)
        return dict(zip(keys.tolist(), found.tolist(), strict=True))

    by_role = [scores(roles=[role]) for role in ("text", "label")]
    both = scores(roles=["text", "label"])
    assert both.keys() == by_role[0].keys() | by_role[1].keys()
    for key, score in both.items():
        assert score == pytest.approx(sum(found.get(key, 0) for found in by_role), rel=1e-5)
    assert scores() != both


def test_an_unknown_role_is_refused_by_name(one, tmp_path):
    with pytest.raises(RowIndexError, match="No role titel; expected some of: label, question, text"):
        one.search(["w1"], 3, roles=["text", "titel"])
    with pytest.raises(RowIndexError, match="Row 4 has the role titel; expected some of: title"):
        build_lexical(tmp_path / "lexical", [(4, {"titel": "a row"}, 0)], ["title"])
    assert not (tmp_path / "lexical").exists()


def test_folders_of_different_roles_are_not_opened_together(tmp_path):
    for name in ("title", "text"):
        build_lexical(tmp_path / name, [(0, {name: "a row"}, 0)], [name])
    with pytest.raises(RowIndexError, match="has the roles text, .*title title; expected the same"):
        LexicalIndex([tmp_path / "title", tmp_path / "text"])


def test_a_damaged_meta_file_is_refused(tmp_path):
    build_lexical(tmp_path / "lexical", [(0, {"text": "a row"}, 0)], ["text"])
    meta = tmp_path / "lexical" / "meta.json"
    meta.write_text(meta.read_text().replace('"rows"', '"row"'))
    with pytest.raises(RowIndexError, match="damaged"):
        LexicalIndex([tmp_path / "lexical"])
