import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zstandard

from rebase_hf.errors import RowIndexError
from rebase_hf.index import rows_store
from rebase_hf.index.durable import write_array
from rebase_hf.index.rows_store import RowsStore
from rebase_hf.index.rows_writing import LEVEL, BlobWriter, StagedRows, compress_rows

PLACES = ["Ulm", "Köln", "大阪", "São Paulo", "Łódź"]


def made_rows(count: int) -> list[list[str]]:
    rng = random.Random(4)
    words = [f"word{n}" for n in range(500)]
    return [[f"Letter {n} from {rng.choice(PLACES)}", " ".join(rng.choices(words, k=20))] for n in range(count)]


def staged(folder: Path, rows: list[list[str]]) -> Path:
    folder.mkdir(parents=True)
    blob = BlobWriter(folder)
    for row in rows:
        blob.append(row)
    blob.close()
    return folder


def compressed(folder: Path, *parts: list[list[str]], seed: int = 0) -> Path:
    """Write a store of rows that have no cells to search."""
    stages = [staged(folder / f"stage{number}", part) for number, part in enumerate(parts)]
    staged_rows = [StagedRows(stage, len(part)) for stage, part in zip(stages, parts, strict=True)]
    compress_rows(staged_rows, folder, seed=seed)
    count = sum(map(len, parts))
    write_array(folder / rows_store.NUMBERS, np.arange(count))
    write_array(folder / rows_store.PIECES, np.zeros(count, np.int32))
    write_array(folder / rows_store.CELL_STARTS, np.zeros(count + 1, np.int64))
    write_array(folder / rows_store.CELL_COLUMNS, np.zeros(0, np.int32))
    write_array(folder / rows_store.CELL_VECTORS, np.zeros(0, np.uint32))
    write_array(folder / rows_store.CELL_JUNK, np.zeros(0, np.bool_))
    write_array(folder / rows_store.VECTOR_STARTS, np.zeros(1, np.int64))
    write_array(folder / rows_store.VECTOR_CELLS, np.zeros(0, np.uint32))
    return folder


def put(folder: Path, frame: bytes) -> RowsStore:
    """Have the store hold this in the place of its only row."""
    (folder / rows_store.BLOB).write_bytes(frame)
    write_array(folder / rows_store.OFFSETS, np.array([0, len(frame)], np.uint64))
    return RowsStore(folder)


def test_rows_of_several_stages_come_back_in_order(tmp_path):
    rows = made_rows(3_000)
    store = RowsStore(compressed(tmp_path / "store", rows[:1_000], [], rows[1_000:]))
    assert [store.texts(key) for key in range(3_000)] == rows


def test_a_dictionary_makes_many_rows_smaller_than_each_alone(tmp_path):
    rows = made_rows(3_000)
    folder = compressed(tmp_path / "store", rows)
    size = sum((folder / name).stat().st_size for name in (rows_store.BLOB, rows_store.DICTIONARY))
    alone = zstandard.ZstdCompressor(level=LEVEL)
    assert size < 0.8 * sum(len(alone.compress(json.dumps(row).encode())) for row in rows)


@pytest.mark.parametrize("rows", [[], [["one row"]], [["", "ü", '\x00\n"\\'], ["x" * 100_000], []], [["same"]] * 40])
def test_too_few_rows_for_a_dictionary_are_stored_all_the_same(tmp_path, rows):
    store = RowsStore(compressed(tmp_path / "store", rows))
    assert [store.texts(key) for key in range(len(rows))] == rows


def test_the_same_rows_make_the_same_bytes_however_they_are_staged(tmp_path):
    rows = made_rows(3_000)
    once = compressed(tmp_path / "once", rows)
    again = compressed(tmp_path / "again", rows[:700], rows[700:])
    for name in (rows_store.BLOB, rows_store.DICTIONARY, rows_store.OFFSETS):
        assert (once / name).read_bytes() == (again / name).read_bytes()


def test_many_threads_read_what_one_reads(tmp_path):
    rows = made_rows(2_000)
    store = RowsStore(compressed(tmp_path / "store", rows))
    keys = random.Random(1).choices(range(2_000), k=20_000)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(store.texts, keys)) == [rows[key] for key in keys]


def test_a_row_that_claims_to_be_huge_is_refused_before_room_is_made_for_it(tmp_path):
    folder = compressed(tmp_path / "store", [["one"]])
    parameters = zstandard.ZstdCompressionParameters.from_level(
        3, write_content_size=True, format=zstandard.FORMAT_ZSTD1_MAGICLESS
    )
    bomb = zstandard.ZstdCompressor(compression_params=parameters).compress(bytes(rows_store.MAX_ROW_BYTES + 1))
    assert len(bomb) < 10_000
    with pytest.raises(RowIndexError, match=r"Row 0 of .* claims over 67108864 bytes"):
        put(folder, bomb).texts(0)


def test_a_row_that_does_not_say_its_length_is_refused(tmp_path):
    folder = compressed(tmp_path / "store", [["one"]])
    parameters = zstandard.ZstdCompressionParameters.from_level(
        3, write_content_size=False, format=zstandard.FORMAT_ZSTD1_MAGICLESS
    )
    with pytest.raises(RowIndexError, match="Row 0 of"):
        put(folder, zstandard.ZstdCompressor(compression_params=parameters).compress(b'["one"]')).texts(0)


@pytest.mark.parametrize("frame", [b"", b"\x00", b"no frame at all", b"\xff" * 40])
def test_bytes_that_are_no_row_are_refused_with_the_rows_key(tmp_path, frame):
    with pytest.raises(RowIndexError, match="Row 0 of .* Build the index again"):
        put(compressed(tmp_path / "store", [["one"]]), frame).texts(0)


def test_a_row_of_another_dictionary_is_never_read_as_a_row(tmp_path):
    folder = compressed(tmp_path / "store", made_rows(2_000))
    (folder / rows_store.DICTIONARY).write_bytes(
        (compressed(tmp_path / "other", [["one"]]) / rows_store.DICTIONARY).read_bytes()
    )
    with pytest.raises(RowIndexError, match="damaged"):
        RowsStore(folder).texts(1_000)


def test_a_file_that_is_no_dictionary_is_refused_by_its_name(tmp_path):
    folder = compressed(tmp_path / "store", made_rows(10))
    (folder / rows_store.DICTIONARY).write_bytes(b"something else")
    with pytest.raises(RowIndexError, match=r"rows.dict is no dictionary"):
        RowsStore(folder).texts(0)
