import pickle
import threading
from dataclasses import replace

import numpy as np
import pytest

from rebase_hf.errors import RowIndexError
from rebase_hf.index.addresses import ADDRESSES
from rebase_hf.index.manifest import MANIFEST, read_manifest
from rebase_hf.index.row_index import RowIndex
from tests.index.conftest import COMPLAINTS
from tests.index.hashing_encoder import HashingEncoder


def index_files(index):
    """Return the files that the index consists of; where its sources were read from is no part of it."""
    return sorted(path for path in index.path.rglob("*") if path.is_file() and path.name != ADDRESSES)


def naive_best_cells(index, queries, *, junk):
    """Score every row by the vectors of its cells, one at a time."""
    segment = index._reader.segment(0).segment
    store, vectors = segment.rows, segment.vectors.array
    scores = np.full((len(index), len(queries)), -1.0, np.float32)
    columns = np.full((len(index), len(queries)), -1)
    for row in range(len(index)):
        for cell in range(store.cell_starts[row], store.cell_starts[row + 1]):
            if store.cell_junk[cell] and not junk:
                continue
            own = queries @ vectors[store.cell_vectors[cell]].astype(np.float32)
            better = own > scores[row]
            scores[row][better] = own[better]
            columns[row][better] = store.cell_columns[cell]
    return scores, columns


def test_rows_come_back_as_they_were(index):
    row = index.rows([1])[0]
    assert dict(row.cells) == {
        "id": "c-002",
        "text": "I was charged twice in May",
        "team": "billing",
        "urgent": "False",
    }
    assert (row.dataset, row.split, row.row, row.license) == ("complaints", "train", 1, "mit")
    assert (row.description, row.language) == ("Complaints of customers to a shop.", ("en",))
    assert len(row.revision) == 40
    assert [row.dataset for row in index.rows([6, 0])] == ["film_reviews", "complaints"]
    assert index.sources_of(range(7)).tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert index.source_keys(1) == range(4, 7)


@pytest.mark.parametrize("key", [-1, 7])
def test_a_key_without_a_row_is_refused(index, key):
    with pytest.raises(RowIndexError, match="keys go from 0 to 6"):
        index.rows([key])


def test_search_finds_the_row_of_the_nearest_cell(index):
    found = index.search("charged twice", k=2)
    assert [row.source.cells.get("id", "review") for row in found] == ["c-002", "review"]
    assert found[0].columns == {"text": "text"}
    assert found[1].columns == {"text": "review"}
    assert found[0].score == found[0].parts["dense"] > 0.5
    assert index.rows([found[0].key])[0] == found[0].source
    assert index.search(["charged twice", "a film"], k=2)[0] == found
    assert index.search([]) == []
    assert len(index.search("film", k=100)) == 7


def test_a_number_is_compared_with_numbers_only_when_it_is_searched_for(index):
    assert index.search("5", k=1)[0].columns == {"text": "stars"}
    assert all(row.columns["text"] in ("text", "team", "review") for row in index.search("five stars", k=7))


def test_description_vectors_are_those_of_the_descriptions(index, encoder):
    expected = encoder.encode([source.description for source in index.sources])
    np.testing.assert_allclose(index.description_vectors, expected, atol=1e-6)


@pytest.mark.parametrize("junk", [False, True])
def test_best_cells_are_those_of_a_plain_loop(large_index, junk):
    queries = HashingEncoder().encode(["noun3 verb4", "kind noun1", "17"])
    scores, columns = large_index.best_cells(queries, junk=junk)
    expected_scores, expected_columns = naive_best_cells(large_index, queries, junk=junk)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-5)
    assert (columns == expected_columns).mean() > 0.999  # equal up to ties in the last digit
    assert (scores.dtype, columns.dtype) == (np.float32, np.int32)


def test_best_cells_of_some_rows_are_those_rows_of_all(large_index):
    queries = HashingEncoder().encode(["noun3 verb4"])
    keys = np.array([3999, 5, 5, 1200])
    some, columns = large_index.best_cells(queries, keys)
    every, all_columns = large_index.best_cells(queries)
    np.testing.assert_allclose(some, every[keys], atol=1e-6)
    assert (columns == all_columns[keys]).all()
    assert large_index.best_cells(queries, np.array([], dtype=np.int64))[0].shape == (0, 1)


def test_a_row_without_a_competing_cell_scores_minus_one(tmp_path, encoder):
    from tests.index.conftest import write_source

    path = write_source(tmp_path / "rows", [{"a": "A letter to Ada", "n": 7}, {"a": None, "n": 8}, {"a": "A song"}])
    index = RowIndex.build(tmp_path / "index", [path], encoder=encoder)
    scores, columns = index.best_cells(encoder.encode(["a letter"]))
    assert (scores[1, 0], columns[1, 0]) == (-1.0, -1)
    keys, _, floor = index.nearest_rows(encoder.encode(["a letter"])[0], 3)
    assert (keys.tolist(), floor) == ([0, 2], -1.0)


@pytest.mark.parametrize("k", [1, 10, 300])
def test_nearest_rows_are_the_best_and_the_floor_holds(large_index, k):
    for text in ("noun3 verb4", "kind noun1", "something else"):
        query = HashingEncoder().encode([text])[0]
        keys, scores, floor = large_index.nearest_rows(query, k)
        every = large_index.best_cells(query)[0][:, 0]
        np.testing.assert_allclose(scores, np.sort(every)[::-1][:k], atol=1e-5)
        np.testing.assert_allclose(scores, every[keys], atol=1e-5)
        others = np.delete(every, keys)
        assert others.max() <= floor + 1e-5


def test_the_graph_finds_nearly_what_exact_search_finds(large_index):
    graph = RowIndex.open(large_index.path, encoder=HashingEncoder(), exact_below=0)
    assert graph.approximate
    assert not large_index.approximate
    shares = []
    for text in [f"noun{n} verb{n * 7 % 60}" for n in range(0, 80, 4)]:
        query = HashingEncoder().encode([text])[0]
        keys, scores, floor = graph.nearest_rows(query, 20)
        every = large_index.best_cells(query)[0][:, 0]
        np.testing.assert_allclose(scores, every[keys], atol=1e-5)  # exact scores, whatever the graph's codes say
        shares.append((scores >= np.sort(every)[::-1][19] - 1e-5).mean())
        assert floor <= scores[-1] + 1e-6
    assert np.mean(shares) > 0.98


def test_the_graph_skips_junk_cells_and_still_fills_k(large_index):
    graph = RowIndex.open(large_index.path, encoder=HashingEncoder(), exact_below=0)
    query = HashingEncoder().encode(["17"])[0]  # nearest to it are numbers, which do not compete
    keys, _, _ = graph.nearest_rows(query, 25)
    assert len(set(keys.tolist())) == 25
    assert graph.best_cells(query, graph.nearest_rows(query, 1, junk=True)[0], junk=True)[0][0, 0] > 0.99


def test_another_encoder_is_refused_with_both_names(index):
    with pytest.raises(RowIndexError, match=r"`hashing` \(48 dimensions.*`other` \(32 dimensions"):
        RowIndex.open(index.path, encoder=HashingEncoder(32, name="other"))

    class Impostor(HashingEncoder):
        def encode(self, texts):
            return -super().encode(texts)

    with pytest.raises(RowIndexError, match="built with encoder `hashing`"):
        RowIndex.open(index.path, encoder=Impostor())


def test_an_encoder_of_another_name_that_gives_the_same_vectors_is_the_same(index):
    assert RowIndex.open(index.path, encoder=HashingEncoder(name="renamed")).search("film", k=1)


def test_opening_needs_no_encoder_until_a_text_is_encoded(index):
    opened = RowIndex.open(index.path)
    assert len(opened.rows([0, 1])) == 2
    with pytest.raises(RowIndexError, match="Encoder `hashing` is neither a folder here nor a model"):
        opened.search("film")


def test_info_says_what_is_in_it(index):
    info = index.info()
    expected = {"rows": 7, "cells": 22, "vectors": 17, "sources": 2, "skipped": 0, "junk_cells": 11}
    assert {name: len(info[name]) if isinstance(info[name], list) else info[name] for name in expected} == expected
    assert info["encoder"]["name"] == "hashing"
    assert info["fingerprint"] == index.fingerprint
    assert info["licenses"] == {"cc-by-4.0": 3, "mit": 4}
    assert info["languages"] == ["en"]
    assert info["parameters"]["max_rows_per_source"] == 1000
    assert info["sources"][0]["columns"] == ("id", "text", "team", "urgent")
    assert info["bytes"] == sum(p.stat().st_size for p in index.path.glob("*-*/*"))


def test_what_is_no_index_says_so(tmp_path):
    with pytest.raises(RowIndexError, match="is no index: it has no manifest.json"):
        RowIndex.open(tmp_path)
    (tmp_path / MANIFEST).write_text("{}")
    with pytest.raises(RowIndexError, match="is no manifest of an index"):
        RowIndex.open(tmp_path)


def test_an_index_of_another_format_version_says_so(index):
    path = index.path / MANIFEST
    path.write_text(path.read_text().replace('"version": 4', '"version": 9'))
    with pytest.raises(RowIndexError, match="format version 9; this release reads version 4"):
        RowIndex.open(index.path)


def test_a_bit_flipped_anywhere_is_refused_by_the_files_name(index):
    rng = np.random.default_rng(0)
    for path in index_files(index):
        whole = path.read_bytes()
        for position in rng.integers(0, len(whole), 6):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << int(rng.integers(8))
            path.write_bytes(bytes(damaged))
            with pytest.raises(RowIndexError, match=path.name):
                RowIndex.open(index.path)
        path.write_bytes(whole)
    RowIndex.open(index.path).verify()


@pytest.mark.parametrize("keep", [0, 0.5, 0.99])
def test_a_truncated_file_is_refused_by_its_name(index, keep):
    for path in index_files(index):
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * keep)])
        with pytest.raises(RowIndexError, match=path.name):
            RowIndex.open(index.path)
        path.write_bytes(whole)


def test_missing_and_swapped_files_are_refused_by_name(index):
    folder = next(index.path.glob("segment-*"))
    (folder / "cell_junk.npy").rename(folder / "aside")
    with pytest.raises(RowIndexError, match=r"cell_junk.npy is missing"):
        RowIndex.open(index.path)
    (folder / "aside").rename(folder / "cell_junk.npy")
    one, other = folder / "cell_starts.npy", folder / "row_numbers.npy"
    content = one.read_bytes(), other.read_bytes()
    one.write_bytes(content[1])
    other.write_bytes(content[0])
    with pytest.raises(RowIndexError, match=r"(cell_starts|row_numbers).npy is damaged"):
        RowIndex.open(index.path)


def test_verify_reads_the_files_again(index):
    index.verify()
    path = next(index.path.glob("segment-*/rows.bin"))
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(RowIndexError, match=r"rows.bin is damaged: its sha256"):
        index.verify()


@pytest.mark.parametrize("name", ["../outside", "/etc", "segment-0123456789ab/../..", "segment-XYZ", ""])
def test_a_manifest_can_not_lead_out_of_its_folder(index, name):
    manifest = read_manifest(index.path)
    rows = replace(manifest.segments[0].rows, name=name)
    replace(manifest, segments=(replace(manifest.segments[0], rows=rows),)).write(index.path)
    with pytest.raises(RowIndexError, match="nothing outside of it is read"):
        RowIndex.open(index.path)


def test_a_manifest_that_names_other_files_is_refused(index):
    manifest = read_manifest(index.path)
    part = manifest.catalog
    more = replace(part, files={**part.files, "../secret": {"size": 1, "sha256": "0"}})
    replace(manifest, catalog=more).write(index.path)
    with pytest.raises(RowIndexError, match="nothing outside of it is read"):
        RowIndex.open(index.path)


def forge(index, name, array):
    """Replace an array, and make the manifest vouch for it."""
    from rebase_hf.index.manifest import describe_files

    manifest = read_manifest(index.path)
    rows = manifest.segments[0].rows
    with (index.path / rows.name / name).open("wb") as stream:
        np.save(stream, array, allow_pickle=True)
    rows = replace(rows, files=describe_files(index.path / rows.name, rows.files))
    replace(manifest, segments=(replace(manifest.segments[0], rows=rows),)).write(index.path)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("cell_vectors.npy", np.full(22, 10**6, np.uint32)),
        ("cell_columns.npy", np.zeros(3, np.int32)),
        ("row_pieces.npy", np.full(7, 9, np.int32)),
        ("row_offsets.npy", np.arange(8, dtype=np.uint64)),
        ("cell_starts.npy", np.array([0, 5, 3, 12, 16, 18, 20, 22])),
    ],
)
def test_arrays_that_do_not_fit_each_other_are_refused(index, name, array):
    forge(index, name, array)
    with pytest.raises(RowIndexError, match="of another index"):
        RowIndex.open(index.path)


class Canary:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_nothing_is_ever_unpickled(index, tmp_path):
    canary = tmp_path / "canary"
    forge(index, "row_numbers.npy", np.array([Canary(str(canary))] * 7, dtype=object))
    with pytest.raises(RowIndexError, match=r"row_numbers.npy"):
        RowIndex.open(index.path)
    assert not canary.exists()
    pickle.loads(pickle.dumps(Canary(str(canary))))  # noqa: S301 - the canary does sing when unpickled
    assert canary.exists()


def test_reading_from_many_threads_gives_what_one_thread_reads(large_index):
    graph = RowIndex.open(large_index.path, encoder=HashingEncoder(), exact_below=0)
    texts = [f"noun{n} verb{n}" for n in range(12)]
    expected = [graph.search(text, k=5) for text in texts]
    found: dict[int, list] = {}

    def read(number):
        found[number] = [graph.search(text, k=5) for text in texts]

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[number] == expected for number in range(4))


def test_the_rows_of_the_fixture_are_the_rows_of_the_index(index):
    assert [row.cells["text"] for row in index.rows(range(4))] == [row["text"] for row in COMPLAINTS]
