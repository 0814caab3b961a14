"""Rows on disk: one blob of texts with offsets, and flat arrays of cells, memory-mapped, read by key.

A row is a JSON list of its cells' texts in `rows.bin`. 1,000 scattered rows of such a store take 0.5 ms
(PERFORMANCE.md section 5); Parquet takes 800.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.errors import RowIndexError
from rebase_hf.index.durable import read_array, sync_file, write_array

Array = np.ndarray[Any, Any]

BLOB = "rows.bin"
OFFSETS = "row_offsets.npy"  # uint64 (rows + 1): where a row's bytes begin
NUMBERS = "row_numbers.npy"  # int64 (rows): position in the source split
SOURCES = "row_sources.npy"  # int32 (rows): which source, never falling
CELL_STARTS = "cell_starts.npy"  # int64 (rows + 1): where a row's cells begin
CELL_COLUMNS = "cell_columns.npy"  # int32 (cells): which of the source's columns
CELL_VECTORS = "cell_vectors.npy"  # uint32 (cells): which vector
CELL_JUNK = "cell_junk.npy"  # bool (cells): says nothing by itself
VECTOR_STARTS = "vector_starts.npy"  # int64 (vectors + 1): where a vector's cells begin
VECTOR_CELLS = "vector_cells.npy"  # uint32 (cells): the cells that hold a vector's text

FILES = (
    BLOB,
    OFFSETS,
    NUMBERS,
    SOURCES,
    CELL_STARTS,
    CELL_COLUMNS,
    CELL_VECTORS,
    CELL_JUNK,
    VECTOR_STARTS,
    VECTOR_CELLS,
)


class BlobWriter:
    """Appends rows to a blob, and keeps the offsets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stream = (folder / BLOB).open("wb")
        self._offsets = [0]

    def append(self, texts: Sequence[str]) -> None:
        """Write one row's cells."""
        content = json.dumps(list(texts), ensure_ascii=False, separators=(",", ":")).encode()
        self._stream.write(content)
        self._offsets.append(self._offsets[-1] + len(content))

    def close(self) -> None:
        """Have blob and offsets put on the disk."""
        self._stream.close()
        sync_file(self.folder / BLOB)
        write_array(self.folder / OFFSETS, np.array(self._offsets, dtype=np.uint64))


class RowsStore:
    """The rows of an index; reading is thread-safe."""

    def __init__(self, folder: Path) -> None:
        self.offsets = read_array(folder / OFFSETS, np.uint64)
        self.numbers = read_array(folder / NUMBERS, np.int64)
        self.sources = read_array(folder / SOURCES, np.int32)
        self.cell_starts = read_array(folder / CELL_STARTS, np.int64)
        self.cell_columns = read_array(folder / CELL_COLUMNS, np.int32)
        self.cell_vectors = read_array(folder / CELL_VECTORS, np.uint32)
        self.cell_junk = read_array(folder / CELL_JUNK, np.bool_)
        self.vector_starts = read_array(folder / VECTOR_STARTS, np.int64)
        self.vector_cells = read_array(folder / VECTOR_CELLS, np.uint32)
        blob = folder / BLOB
        self._blob: Array = np.memmap(blob, dtype=np.uint8, mode="r") if blob.stat().st_size else np.zeros(0, np.uint8)

    def __len__(self) -> int:
        return len(self.numbers)

    def texts(self, key: int) -> list[str]:
        """Return the texts of a row's cells, in order."""
        content = self._blob[int(self.offsets[key]) : int(self.offsets[key + 1])].tobytes()
        texts: list[str] = json.loads(content)
        return texts

    def columns(self, key: int) -> Array:
        """Return which of its source's columns the row's cells are of, in order."""
        return self.cell_columns[int(self.cell_starts[key]) : int(self.cell_starts[key + 1])]

    def cell_rows(self, cells: Array) -> Array:
        """Return which row each cell is of."""
        return np.searchsorted(self.cell_starts, cells, side="right") - 1

    def check(self, *, sources: int, vectors: int) -> None:
        """Check that the arrays fit each other, so that no key can lead nowhere, or to another row.

        Raises:
            RowIndexError: They don't; names the file.
        """
        rows, cells = len(self), len(self.cell_columns)
        lengths = {
            OFFSETS: (self.offsets, rows + 1),
            SOURCES: (self.sources, rows),
            CELL_STARTS: (self.cell_starts, rows + 1),
            CELL_VECTORS: (self.cell_vectors, cells),
            CELL_JUNK: (self.cell_junk, cells),
            VECTOR_STARTS: (self.vector_starts, vectors + 1),
            VECTOR_CELLS: (self.vector_cells, cells),
        }
        for name, (array, length) in lengths.items():
            if array.shape != (length,):
                raise RowIndexError(f"{name} has shape {array.shape}, expected {(length,)}; it is of another index.")
        ends = {OFFSETS: (self.offsets, len(self._blob)), CELL_STARTS: (self.cell_starts, cells)}
        ends[VECTOR_STARTS] = (self.vector_starts, cells)
        for name, (array, end) in ends.items():
            if int(array[0]) != 0 or int(array[-1]) != end or bool(np.any(array[1:] < array[:-1])):
                raise RowIndexError(f"{name} does not lead through what it points into; it is of another index.")
        bounds = {SOURCES: (self.sources, sources), CELL_VECTORS: (self.cell_vectors, vectors)}
        bounds[VECTOR_CELLS] = (self.vector_cells, cells)
        for name, (array, limit) in bounds.items():
            if len(array) and (int(array.min()) < 0 or int(array.max()) >= limit):
                raise RowIndexError(f"{name} points beyond the {limit} there are; it is of another index.")
