"""Which rows of a Parquet split are taken, and that these are the rows that streaming would give."""

import math
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebase_hf.index.parquet_split import ParquetSplit, RowGroup


def open_file(path: str) -> IO[bytes]:
    return Path(path).open("rb")


def split(sizes: list[int], max_bytes: int | None) -> ParquetSplit:
    groups, first = [], 0
    for number, rows in enumerate(sizes):
        groups.append(RowGroup(0, number, first, rows, rows * 10))
        first += rows
    return ParquetSplit(("a",), ("text",), tuple(groups), max_bytes, open_file)


def rows_of(planned: ParquetSplit, limit: int) -> list[int]:
    return [group.first_row + offset for group, offsets in planned.plan(limit).picks for offset in offsets]


@given(st.lists(st.integers(0, 60), max_size=30), st.integers(1, 200))
def test_without_a_limit_of_bytes_each_kth_row_is_taken(sizes, limit):
    total = sum(sizes)
    stride = max(1, math.ceil(total / limit))
    assert rows_of(split(sizes, None), limit) == list(range(0, total, stride))
    assert split(sizes, None).plan(limit).rows <= limit


@given(st.lists(st.integers(1, 60), min_size=1, max_size=30), st.integers(1, 200), st.integers(1, 5000))
def test_within_a_limit_of_bytes_rows_are_distinct_and_in_order_and_the_groups_fit(sizes, limit, max_bytes):
    plan = split(sizes, max_bytes).plan(limit)
    rows = rows_of(split(sizes, max_bytes), limit)
    assert rows == sorted(set(rows))
    assert 1 <= len(rows) <= limit
    if plan.sampling == "first_rows":
        assert sizes[0] * 10 > max_bytes
    else:
        assert sum(group.size for group, _ in plan.picks) <= max_bytes


def test_rows_may_lie_further_apart_than_a_batch(tmp_path: Path):
    pq.write_table(pa.table({"text": [f"row {i}" for i in range(2000)]}), tmp_path / "rows.parquet")
    found = ParquetSplit.open([str(tmp_path / "rows.parquet")], ["text"], open_file, None)
    read = [item for batch in found.sampled(2) for item in batch]
    assert read == [(0, {"text": "row 0"}), (1000, {"text": "row 1000"})]


@pytest.mark.parametrize("max_bytes", [None, 20_000, 1])
def test_the_rows_read_are_those_of_the_table(tmp_path: Path, max_bytes):
    rows = [{"text": f"row {i} " + "x" * 50, "meta": {"by": f"Ada {i}"}, "a.b": str(i), "n": i} for i in range(700)]
    table = pa.Table.from_pylist(rows)
    files = []
    for number, (start, count) in enumerate([(0, 300), (300, 0), (300, 400)]):
        files.append(str(tmp_path / f"{number}.parquet"))
        pq.write_table(table.slice(start, count), files[-1], row_group_size=90, compression="none")
    found = ParquetSplit.open(files, ["text", "meta", "a.b"], open_file, max_bytes)
    assert found.total_rows == 700
    read = [item for batch in found.sampled(50) for item in batch]
    assert [row for row, _ in read] == rows_of(found, 50)
    for row, record in read:
        assert record == {name: rows[row][name] for name in ("text", "meta", "a.b")}
    assert [row for batch in found.sampled(1) for row, _ in batch] == [0]
    assert found.plan(50).sampling == {None: "even", 20_000: "row_groups", 1: "first_rows"}[max_bytes]
