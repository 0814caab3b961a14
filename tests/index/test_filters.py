"""Searches that are held to sources, licences, languages and roles find k rows wherever k rows pass."""

import numpy as np
import pytest

from rebase_hf.errors import RowIndexError
from rebase_hf.index.row_index import RowIndex
from tests.index.conftest import write_source
from tests.index.hashing_encoder import HashingEncoder

LANGUAGES = ["en", "de", "en-GB", "fr"]
LICENSES = ["mit", "apache-2.0", "cc-by-4.0", "mit"]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Four sources about the same things, in several languages, licences and segments."""
    root = tmp_path_factory.mktemp("mixed")
    paths = []
    for part, (language, license_name) in enumerate(zip(LANGUAGES, LICENSES, strict=True)):
        rows = [
            {
                "question": f"Where is noun{n % 40} and verb{n % 23}?",
                "answer": f"noun{(n * 7) % 40} lies by verb{n % 11}",
                "label": f"kind{n % 3}",
            }
            for n in range(part * 20, part * 20 + 200)
        ]
        path = write_source(root / f"part{part}", rows, license=license_name)
        card = root / f"part{part}" / "README.md"
        card.write_text(card.read_text().replace("language: en", f"language: {language}"))
        paths.append(path)
    index = RowIndex.build(root / "index", paths, encoder=HashingEncoder(), max_segment_texts=900)
    return index.remove("part3").add(paths[3])


def expected(index, text, k, *, sources=None, columns=None):
    """Score every row by a plain loop over its cells."""
    query = HashingEncoder().encode([text])[0]
    best = {}
    for key, row in enumerate(index.rows(range(len(index)))):
        if sources is not None and row.dataset not in sources:
            continue
        cells = [cell for name, cell in row.cells.items() if columns is None or name in columns]
        if cells:
            best[key] = float(np.max(HashingEncoder().encode(cells) @ query))
    return sorted(best.items(), key=lambda item: (-round(item[1], 4), item[0]))[:k]


def check(index, text, k, expectation, **filters):
    found = index.search(text, k=k, **filters)
    assert len(found) == min(k, len(expectation))
    np.testing.assert_allclose([row.score for row in found], [score for _, score in expectation], atol=2e-3)
    return found


@pytest.mark.parametrize("k", [1, 10, 250])
@pytest.mark.parametrize(
    ("filters", "sources", "columns"),
    [
        ({}, None, None),
        ({"sources": "part1"}, {"part1"}, None),
        ({"sources": ["part0", "part2::train"]}, {"part0", "part2"}, None),
        ({"licenses": "mit"}, {"part0", "part3"}, None),
        ({"licenses": ["MIT", "apache-2.0"], "sources": ["part1", "part2"]}, {"part1"}, None),
        ({"languages": "en"}, {"part0", "part2"}, None),
        ({"languages": ["de", "fr"]}, {"part1", "part3"}, None),
        ({"roles": "answer"}, None, {"answer"}),
        ({"roles": ["question", "label"], "languages": "de"}, {"part1"}, {"question", "label"}),
    ],
)
def test_a_filtered_search_is_an_exact_search_of_what_passes(mixed, k, filters, sources, columns):
    for text in ("noun3 verb4", "kind1"):
        wanted = expected(mixed, text, k, sources=sources, columns=columns)
        found = check(mixed, text, k, wanted, **filters)
        assert sources is None or {row.source.dataset for row in found} <= sources
        assert columns is None or {row.columns["text"] for row in found} <= columns


def test_a_filtered_search_through_the_graph_loses_nothing_to_the_filter(mixed):
    graph = RowIndex.open(mixed.path, encoder=HashingEncoder(), exact_below=0)
    shares = []
    for text in [f"noun{n} verb{n % 23}" for n in range(0, 40, 3)]:
        for filters in ({"sources": "part1"}, {"roles": "answer"}, {"licenses": "mit", "roles": "question"}):
            exact = [row.score for row in mixed.search(text, k=10, **filters)]
            found = [row.score for row in graph.search(text, k=10, **filters)]
            assert len(found) == 10
            shares.append(np.mean(np.array(found) >= exact[-1] - 1e-5))
    assert np.mean(shares) >= 0.98


def test_what_passes_nothing_finds_nothing(mixed):
    assert mixed.search("noun3", languages="ja") == []
    assert mixed.search(["noun3", "noun4"], licenses="mit", sources="part1") == [[], []]


def test_filters_that_name_what_is_not_there_say_so(mixed):
    with pytest.raises(RowIndexError, match=r"no source `part9`.*as `part[0-3]`"):
        mixed.search("noun3", sources="part9")
    with pytest.raises(RowIndexError, match="`reply` is no column role"):
        mixed.search("noun3", roles="reply")
    with pytest.raises(RowIndexError, match="`mode` is `fuzzy`; expected one of dense, lexical, both"):
        mixed.search("noun3", mode="fuzzy")
    with pytest.raises(RowIndexError, match="`k` is 0; expected a whole number, 1 or more"):
        mixed.search("noun3", k=0)


def test_filters_are_remembered_without_growing(mixed):
    for n in range(60):
        mixed.search(f"noun{n}", k=3, sources=[f"part{n % 4}", f"part{n // 4 % 4}"], roles=["answer"])
    assert len(mixed._reader._filters) <= 8 * len(mixed._reader._names)
    assert mixed.search("noun3", k=3, sources="part1") == mixed.search("noun3", k=3, sources="part1")
