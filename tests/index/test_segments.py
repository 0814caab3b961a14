"""An index that came to be by additions, removals and refreshing is the one that a single build makes."""

import json
import logging
import random
import signal
from pathlib import Path

import numpy as np
import pytest

from rebase_hf.errors import RowIndexError
from rebase_hf.index.encoders import PROBES
from rebase_hf.index.manifest import read_manifest
from rebase_hf.index.row_index import RowIndex
from tests.index.conftest import write_source
from tests.index.hashing_encoder import HashingEncoder
from tests.index.test_building import encoded, start_build

QUERIES = ["noun3 verb4", "kind noun1", "17", "the same words everywhere"]


def made_source(folder: Path, name: str, count: int, *, shift: int = 0, **about) -> str:
    rng = random.Random(f"{name}{shift}")
    rows = [
        {
            "title": f"noun{rng.randrange(30)} verb{rng.randrange(30)}",
            "body": f"noun{rng.randrange(60)} verb{rng.randrange(60)} {rng.randrange(5)}th time"
            if rng.random() < 0.8
            else "the same words everywhere",
            "count": n,
        }
        for n in range(count)
    ]
    return write_source(folder / name, rows, **about)


@pytest.fixture
def many(tmp_path):
    return [made_source(tmp_path / "bank", f"part{n}", 40 + 7 * n) for n in range(6)]


def texts_of(index):
    """Return each distinct text's vector, as it is stored."""
    found = {}
    for number in range(len(index._reader._names)):
        live = index._reader.segment(number)
        store = live.segment.rows
        for row in range(len(store)):
            if live.owners[store.pieces[row]] < 0:
                continue
            cells = range(int(store.cell_starts[row]), int(store.cell_starts[row + 1]))
            for cell, text in zip(cells, store.texts(row), strict=True):
                found[text] = live.segment.vectors.array[store.cell_vectors[cell]].tobytes()
    return found


def assert_same(one, other):
    """Both hold the same rows and vectors under the same keys, and find the same."""
    assert one.fingerprint == other.fingerprint
    assert one.sources == other.sources
    keys = range(len(other))
    assert one.rows(keys) == other.rows(keys)
    assert texts_of(one) == texts_of(other)
    np.testing.assert_array_equal(one.description_vectors, other.description_vectors)
    queries = HashingEncoder().encode(QUERIES)
    for ours, theirs in zip(one.best_cells(queries), other.best_cells(queries), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for query in queries:
        for k in (1, 5, 60, len(other)):
            for mine, fresh in zip(one.nearest_rows(query, k), other.nearest_rows(query, k), strict=True):
                np.testing.assert_array_equal(mine, fresh)
    for mode in ("dense", "lexical", "both"):
        assert_same_found(one.search(QUERIES, k=7, mode=mode), other.search(QUERIES, k=7, mode=mode))
    counted = ("rows", "cells", "junk_cells", "texts")
    assert [one.info()[name] for name in counted] == [other.info()[name] for name in counted]


def assert_same_found(ours, theirs):
    """The same rows in the same order; BM25 adds float32 numbers in an order that segments decide."""
    for found, expected in zip(ours, theirs, strict=True):
        assert [row.key for row in found] == [row.key for row in expected]
        assert [row.source for row in found] == [row.source for row in expected]
        for row, other in zip(found, expected, strict=True):
            assert row.score == other.score
            assert row.parts == pytest.approx(other.parts, rel=1e-5)


def files_of(index):
    """Return inode and time of every file of the segments."""
    found = {}
    for path in index.path.glob("segment-*/*"):
        about = path.stat()
        found[str(path.relative_to(index.path))] = (about.st_ino, about.st_mtime_ns)
    return found


def build(path, sources, **options):
    return RowIndex.build(path, sources, encoder=HashingEncoder(), **options)


def test_adding_sources_makes_the_index_that_a_single_build_makes(tmp_path, many):
    index = build(tmp_path / "index", many[:4])
    before = files_of(index)
    index = index.add(many[4:])
    assert len(read_manifest(index.path).segments) == 2
    assert before.items() <= files_of(index).items()  # what was there was not written again
    assert_same(index, build(tmp_path / "fresh", many))


def test_removing_sources_makes_the_index_that_a_single_build_makes(tmp_path, many):
    index = build(tmp_path / "index", many)
    before = files_of(index)
    index = index.remove("part1")
    assert files_of(index) == before  # its rows lie there still; only the words' statistics are made anew
    assert index.info()["dead_rows"] == 47
    assert_same(index, build(tmp_path / "fresh", [many[0], *many[2:]]))


def test_a_changed_source_is_read_again_in_its_place(tmp_path, many):
    log = tmp_path / "log"
    index = RowIndex.build(tmp_path / "index", many, encoder=HashingEncoder(log=log))
    folder = Path(many[2])
    (folder / "train.jsonl").write_text(json.dumps({"title": "a wholly new text", "body": None, "count": 1}) + "\n")
    known = len(encoded(log))
    index = RowIndex.open(index.path, encoder=HashingEncoder(log=log)).refresh()
    new = [text for text in encoded(log)[known:] if text not in PROBES]
    assert set(new) == {"a wholly new text", "1", index.sources[2].description} - set(encoded(log)[:known]) | {
        index.sources[2].description
    }
    assert [source.dataset for source in index.sources] == [f"part{n}" for n in range(6)]
    assert_same(index, build(tmp_path / "fresh", many))


def test_refreshing_what_has_not_changed_does_nothing(tmp_path, many):
    index = build(tmp_path / "index", many)
    written = (index.path / "manifest.json").stat().st_mtime_ns
    assert index.refresh().fingerprint == index.fingerprint
    assert index.refresh("part3").fingerprint == index.fingerprint
    assert (index.path / "manifest.json").stat().st_mtime_ns == written


def test_a_build_from_another_list_keeps_what_both_have(tmp_path, many):
    log = tmp_path / "log"
    index = build(tmp_path / "index", many[:4])
    RowIndex.build(index.path, [many[5], many[0], many[2], many[4]], encoder=HashingEncoder(log=log))
    read = {text for text in encoded(log) if text not in PROBES}
    index = RowIndex.open(index.path, encoder=HashingEncoder())
    fresh = build(tmp_path / "fresh", [many[5], many[0], many[2], many[4]])
    held = texts_of(build(tmp_path / "earlier", many[:4]))
    assert not read & set(held)
    assert_same(index, fresh)


def test_any_sequence_of_changes_ends_in_the_index_of_a_single_build(tmp_path, many):
    rng = random.Random(5)
    index = build(tmp_path / "index", many[:2], max_segment_texts=250)
    names = ["part0", "part1"]
    for step in range(12):
        absent = [n for n in range(6) if f"part{n}" not in names]
        if absent and (rng.random() < 0.6 or len(names) == 1):
            number = rng.choice(absent)
            index, names = index.add(many[number]), [*names, f"part{number}"]
        else:
            gone = rng.choice(names)
            index, names = index.remove(gone), [name for name in names if name != gone]
        assert [source.dataset for source in index.sources] == names, step
        assert 5 * index.info()["dead_rows"] <= len(index) + index.info()["dead_rows"]
        index.verify()
    fresh = build(tmp_path / "fresh", [many[int(name[4:])] for name in names], max_segment_texts=250)
    assert_same(index, fresh)


def test_equal_sources_do_not_get_in_each_others_way(tmp_path):
    rows = [{"text": f"a line about {n} geese"} for n in range(30)]
    one, two = (write_source(tmp_path / name, rows, about="The same.") for name in ("one", "two"))
    index = build(tmp_path / "index", [one]).add(two)
    assert [row.dataset for row in index.rows(range(60))] == ["one"] * 30 + ["two"] * 30
    assert_same(index, build(tmp_path / "fresh", [one, two]))
    assert_same(index.remove("one"), build(tmp_path / "second", [two]))


def test_segments_are_cut_and_search_sees_them_as_one(tmp_path, many):
    small = build(tmp_path / "small", many, max_segment_texts=250)
    assert len(read_manifest(small.path).segments) > 2
    assert_same(small, build(tmp_path / "one", many))


def test_a_large_source_is_cut_into_pieces(tmp_path, many):
    whole = build(tmp_path / "whole", many)
    cut = build(tmp_path / "cut", many, max_segment_texts=50)
    assert any(len(one.pieces) > 1 for one in cut._reader.catalog.sources)
    keys = range(len(whole))
    assert cut.rows(keys) == whole.rows(keys)
    assert texts_of(cut) == texts_of(whole)
    assert_same_found(cut.search(QUERIES, k=20, mode="both"), whole.search(QUERIES, k=20, mode="both"))
    some = np.arange(40)
    for column, mean in whole.column_scores(HashingEncoder().encode(QUERIES), some).items():
        np.testing.assert_allclose(cut.column_scores(HashingEncoder().encode(QUERIES), some)[column], mean, atol=1e-6)


@pytest.mark.slow
def test_a_build_killed_among_segments_goes_on_and_encodes_nothing_twice(tmp_path, many, snapshot):
    last = write_source(tmp_path / "bank" / "poison", [{"text": "The fatal line of a poem"}, {"text": "A calm line"}])
    log = tmp_path / "log"
    options = json.dumps({"max_segment_texts": 100})
    killed = start_build(tmp_path / "index", [*many, last], log=log, kill_at="fatal line", options=options)
    assert killed.wait(60) == -signal.SIGKILL
    assert len(list((tmp_path / "index.building").glob("segment-*"))) > 2
    before = len(encoded(log))
    index = RowIndex.build(tmp_path / "index", [*many, last], encoder=HashingEncoder(log=log), max_segment_texts=100)
    again = set(encoded(log)[before:]) - set(PROBES)
    assert again == {"The fatal line of a poem", "A calm line", index.sources[-1].description}
    undisturbed = build(tmp_path / "other", [*many, last], max_segment_texts=100)
    assert snapshot(index.path) == snapshot(undisturbed.path)


@pytest.mark.slow
def test_many_additions_do_not_make_many_segments(tmp_path):
    sources = [made_source(tmp_path / "bank", f"s{n}", 6) for n in range(20)]
    index = build(tmp_path / "index", sources[:1])
    most = 0
    for source in sources[1:]:
        index = index.add(source)
        most = max(most, len(read_manifest(index.path).segments))
    assert 4 < most < 10
    assert_same(index, build(tmp_path / "fresh", sources))


def test_a_segment_is_written_anew_when_a_fifth_of_it_is_gone(tmp_path, caplog):
    sources = [made_source(tmp_path / "bank", f"s{n}", 50) for n in range(10)]
    index = build(tmp_path / "index", sources)
    first = read_manifest(index.path).segments[0].rows.name
    index = index.remove(["s1", "s2"])
    assert (index.info()["dead_rows"], read_manifest(index.path).segments[0].rows.name) == (100, first)
    with caplog.at_level(logging.INFO, logger="rebase_hf"):
        index = index.remove("s3")
    assert f"Segment {first} is written anew" in caplog.text
    assert index.info()["dead_rows"] == 0
    assert not (index.path / first).exists()
    assert_same(index, build(tmp_path / "fresh", [sources[0], *sources[4:]]))


def test_approximate_recall_of_a_patchwork_is_that_of_a_fresh_build(tmp_path):
    sources = [made_source(tmp_path / "bank", f"s{n}", 300) for n in range(8)]
    patchwork = build(tmp_path / "index", sources[:3], exact_below=0)
    for source in sources[3:]:
        patchwork = patchwork.add(source)
    patchwork = patchwork.remove("s0")
    fresh = build(tmp_path / "fresh", sources[1:], exact_below=0)
    assert patchwork.approximate
    queries = HashingEncoder().encode([f"noun{n} verb{n * 7 % 30}" for n in range(30)])
    recalls = []
    for index in (patchwork, fresh):
        every = index.best_cells(queries)[0]
        found = [index.nearest_rows(query, 10)[1] for query in queries]
        recalls.append(
            np.mean([np.mean(own >= np.sort(column)[-10] - 1e-6) for own, column in zip(found, every.T, strict=True)])
        )
    assert abs(recalls[0] - recalls[1]) <= 0.005


def test_what_can_not_be_changed_says_so(tmp_path, many):
    index = build(tmp_path / "index", many[:2])
    with pytest.raises(RowIndexError, match=r"no source `parts1`.*as `part1`"):
        index.remove("parts1")
    with pytest.raises(RowIndexError, match="Nothing would be left"):
        index.remove(["part0", "part1"])
    with pytest.raises(RowIndexError, match=r"Nothing was added .*not_found"):
        index.add(str(tmp_path / "nowhere"))
    (index.path / "addresses.json").unlink()
    with pytest.raises(RowIndexError, match="Where `part0` was read from is not known"):
        index.refresh("part0")
    assert index.refresh().fingerprint == index.fingerprint


def test_an_addition_that_can_not_be_read_is_recorded_and_changes_nothing_else(tmp_path, many):
    index = build(tmp_path / "index", many[:2])
    secret = made_source(tmp_path / "bank", "secret", 5, license="cc-by-nc-4.0")
    index = index.add([secret, many[2]])
    assert [skip.reason for skip in index.skipped] == ["license_not_allowed"]
    assert [source.dataset for source in index.sources] == ["part0", "part1", "part2"]
    fresh = build(tmp_path / "fresh", [many[0], many[1], secret, many[2]])
    assert_same(index, fresh)


def test_a_source_killed_in_its_second_piece_goes_on_there(tmp_path, snapshot):
    rows = [{"text": f"a letter about goose number {n}"} for n in range(200)] + [{"text": "The fatal line"}]
    source = write_source(tmp_path / "bank" / "long", rows)
    log = tmp_path / "log"
    options = json.dumps({"max_segment_texts": 80})
    killed = start_build(tmp_path / "index", [source], log=log, kill_at="fatal line", options=options)
    assert killed.wait(60) == -signal.SIGKILL
    before = len(encoded(log))
    index = RowIndex.build(tmp_path / "index", [source], encoder=HashingEncoder(log=log), max_segment_texts=80)
    again = [text for text in encoded(log)[before:] if text not in PROBES]
    assert len(again) == 41 + 1  # of the third piece, and the description
    assert index.rows([0, 160, 200]) == build(tmp_path / "other", [source]).rows([0, 160, 200])
    assert snapshot(index.path) == snapshot(build(tmp_path / "third", [source], max_segment_texts=80).path)


def test_who_has_an_index_open_reads_on_when_it_is_changed(tmp_path, many):
    index = build(tmp_path / "index", many[:3])
    rows, found = index.rows(range(10)), index.search("noun3 verb4", k=5)
    index.remove(["part0", "part1"])
    assert (index.rows(range(10)), index.search("noun3 verb4", k=5)) == (rows, found)


def test_a_segment_that_has_gone_since_is_named(tmp_path):
    sources = [made_source(tmp_path / "bank", f"s{n}", 6) for n in range(18)]
    index = build(tmp_path / "index", sources, max_segment_texts=25)
    assert len(read_manifest(index.path).segments) > 16
    build(index.path, sources[:1])
    with pytest.raises(RowIndexError, match=r"has changed since it was opened \(segment-.* is gone\)"):
        index.search("noun3", k=3)
