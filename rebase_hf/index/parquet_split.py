"""A split in Parquet files, sampled without reading more of it than the row groups and columns that are needed."""

import itertools
import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

READ_BATCH = 256
# Row groups are fetched together, in as few requests as possible, and held, up to this size; a larger one is read
# through buffers, a column and a piece at a time.
_FETCHED_AT_ONCE = 32_000_000
_BUFFER = 4_000_000


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A row group: in which file, which one there, where its rows begin in the split, bytes of the text columns."""

    file: int
    number: int
    first_row: int
    rows: int
    size: int


Pick = tuple[RowGroup, range]


@dataclass(frozen=True, slots=True)
class Plan:
    """Which rows are taken.

    Attributes:
        sampling: As in IndexedSource.
        picks: Row groups with the offsets within them, in the order of the split.
    """

    sampling: str
    picks: tuple[Pick, ...]

    @property
    def rows(self) -> int:
        """How many rows are taken."""
        return sum(len(offsets) for _, offsets in self.picks)


@dataclass(frozen=True, slots=True)
class ParquetSplit:
    """The files of a split.

    Attributes:
        files: Their paths, in the order of the split.
        columns: Those to read.
        groups: All row groups, in order.
        max_bytes: Most bytes that sampling may read; None for any number.
        opener: Opens one for random access.
    """

    files: tuple[str, ...]
    columns: tuple[str, ...]
    groups: tuple[RowGroup, ...]
    max_bytes: int | None
    opener: Callable[[str], IO[bytes]] = field(repr=False)

    @classmethod
    def open(
        cls, files: Sequence[str], columns: Sequence[str], opener: Callable[[str], IO[bytes]], max_bytes: int | None
    ) -> "ParquetSplit":
        """Return the split after reading the files' footers."""
        import pyarrow.parquet

        groups: list[RowGroup] = []
        first_row = 0
        for number, file in enumerate(files):
            with opener(file) as handle:
                footer = pyarrow.parquet.ParquetFile(handle).metadata
            for group in range(footer.num_row_groups):
                about = footer.row_group(group)
                groups.append(RowGroup(number, group, first_row, about.num_rows, _size(about, columns)))
                first_row += about.num_rows
        return cls(tuple(files), tuple(columns), tuple(groups), max_bytes, opener)

    @property
    def total_rows(self) -> int:
        """How many rows the split has."""
        return sum(group.rows for group in self.groups)

    def plan(self, limit: int) -> Plan:
        """Return which rows are taken: at most `limit`, evenly spread.

        Row i is taken when i % ceil(rows / limit) == 0. Where the row groups that hold these are larger than
        `max_bytes`, the same rule is applied to the rows of every m-th row group, with the smallest m that fits; where
        not even one row group fits, its first rows are taken.
        """
        even = _spread(self.groups, limit)
        if self.max_bytes is None or sum(group.size for group, _ in even) <= self.max_bytes:
            return Plan("even", even)
        for step in range(2, len(self.groups) + 1):
            chosen = self.groups[::step]
            if sum(group.size for group in chosen) <= self.max_bytes:
                return Plan("row_groups", _spread(chosen, limit))
        first = self.groups[0]
        return Plan("first_rows", ((first, range(min(limit, first.rows))),))

    def sampled(self, limit: int) -> Iterator[list[tuple[int, dict[str, Any]]]]:
        """Yield batches of (row in the split, its columns)."""
        import pyarrow.parquet

        for file, picks in itertools.groupby(self.plan(limit).picks, key=lambda pick: pick[0].file):
            with self.opener(self.files[file]) as handle:
                footer = pyarrow.parquet.read_metadata(handle)
                for run in _runs(picks):
                    at_once = sum(group.size for group, _ in run) <= _FETCHED_AT_ONCE
                    parquet = pyarrow.parquet.ParquetFile(
                        handle, metadata=footer, pre_buffer=at_once, buffer_size=0 if at_once else _BUFFER
                    )
                    yield from self._picked(parquet, run)

    def _picked(self, parquet: Any, run: Sequence[Pick]) -> Iterator[list[tuple[int, dict[str, Any]]]]:
        places, rows, before = [], [], 0
        for group, offsets in run:
            places += [before + offset for offset in offsets]
            rows += [group.first_row + offset for offset in offsets]
            before += group.rows
        start = taken = 0
        numbers = [group.number for group, _ in run]
        for batch in parquet.iter_batches(READ_BATCH, row_groups=numbers, columns=list(self.columns)):
            end = bisect_left(places, start + batch.num_rows)
            here = [place - start for place in places[taken:end]]
            records = batch.take(here).to_pylist() if here else []
            # Empty ones are yielded too: they let a reader that nobody waits for any more notice it.
            yield list(zip(rows[taken:end], records, strict=True))
            start += batch.num_rows
            taken = end
            if taken == len(places):
                return


def _runs(picks: Iterable[Pick]) -> Iterator[list[Pick]]:
    """Yield row groups that are read together: neighbours are fetched by one request, and a request is slow."""
    run: list[Pick] = []
    for pick in picks:
        if run and sum(group.size for group, _ in run) + pick[0].size > _FETCHED_AT_ONCE:
            yield run
            run = []
        run.append(pick)
    if run:
        yield run


def _spread(groups: Sequence[RowGroup], limit: int) -> tuple[Pick, ...]:
    """Return each k-th row of row groups taken as one sequence; groups without such a row are left out."""
    total = sum(group.rows for group in groups)
    stride = max(1, math.ceil(total / limit))
    picks, before = [], 0
    for group in groups:
        offsets = range(-before % stride, group.rows, stride)
        if offsets:
            picks.append((group, offsets))
        before += group.rows
    return tuple(picks)


def _size(group: Any, columns: Sequence[str]) -> int:
    """Return the compressed bytes of these top-level columns."""
    inner = tuple(f"{name}." for name in columns)
    chunks = (group.column(number) for number in range(group.num_columns))
    return sum(
        int(chunk.total_compressed_size)
        for chunk in chunks
        if chunk.path_in_schema in columns or chunk.path_in_schema.startswith(inner)
    )
