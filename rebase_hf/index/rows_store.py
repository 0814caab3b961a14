"""Rows on disk: one blob of texts with offsets, and flat arrays of cells, memory-mapped, read by key.

A row is a JSON list of its cells' texts, a zstd frame of its own in `rows.bin`, compressed by a dictionary that is
trained on a sample of all rows: about the size of Parquet, and scattered rows are still read in a few microseconds
each (`benchmarks/index_rows.py`).
"""

import json
import mmap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from rebase_hf.errors import RowIndexError
from rebase_hf.index.durable import read_array

Array = np.ndarray[Any, Any]

BLOB = "rows.bin"
DICTIONARY = (
    "rows.dict"  # the zstd dictionary after its head; nothing after it where there are too few rows to train one
)
OFFSETS = "row_offsets.npy"  # uint64 (rows + 1): where a row's bytes begin
NUMBERS = "row_numbers.npy"  # int64 (rows): position in the source split
PIECES = "row_pieces.npy"  # int32 (rows): which piece, never falling
CELL_STARTS = "cell_starts.npy"  # int64 (rows + 1): where a row's cells begin
CELL_COLUMNS = "cell_columns.npy"  # int32 (cells): which of the source's columns
CELL_VECTORS = "cell_vectors.npy"  # uint32 (cells): which vector
CELL_JUNK = "cell_junk.npy"  # bool (cells): says nothing by itself
VECTOR_STARTS = "vector_starts.npy"  # int64 (vectors + 1): where a vector's cells begin
VECTOR_CELLS = "vector_cells.npy"  # uint32 (cells): the cells that hold a vector's text

FILES = (
    BLOB,
    DICTIONARY,
    OFFSETS,
    NUMBERS,
    PIECES,
    CELL_STARTS,
    CELL_COLUMNS,
    CELL_VECTORS,
    CELL_JUNK,
    VECTOR_STARTS,
    VECTOR_CELLS,
)


_DECODER = json.JSONDecoder()
# A row's JSON is never longer; what claims to be is not unpacked.
MAX_ROW_BYTES = 1 << 26
DICTIONARY_HEAD = b"rebase_hf zstd dictionary\n"


def _dictionary_in(raw: memoryview, path: Path) -> zstandard.ZstdCompressionDict | None:
    head, content = bytes(raw[: len(DICTIONARY_HEAD)]), bytes(raw[len(DICTIONARY_HEAD) :])
    if head != DICTIONARY_HEAD:
        raise RowIndexError(f"Index file {path} is no dictionary of rows. Build the index again.")
    try:
        return zstandard.ZstdCompressionDict(content, dict_type=zstandard.DICT_TYPE_FULLDICT) if content else None
    except zstandard.ZstdError as error:
        raise RowIndexError(f"Index file {path} is no dictionary of rows: {error}. Build the index again.") from error


def map_bytes(path: Path) -> memoryview:
    """Return a file's bytes, memory-mapped."""
    if not path.stat().st_size:
        return memoryview(b"")
    with path.open("rb") as stream:
        return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))


class RowsStore:
    """The rows of an index; reading is thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.offsets = np.asarray(read_array(folder / OFFSETS, np.uint64))
        self.numbers = np.asarray(read_array(folder / NUMBERS, np.int64))
        self.pieces = np.asarray(read_array(folder / PIECES, np.int32))
        self.cell_starts = np.asarray(read_array(folder / CELL_STARTS, np.int64))
        self.cell_columns = np.asarray(read_array(folder / CELL_COLUMNS, np.int32))
        self.cell_vectors = np.asarray(read_array(folder / CELL_VECTORS, np.uint32))
        self.cell_junk = np.asarray(read_array(folder / CELL_JUNK, np.bool_))
        self.vector_starts = np.asarray(read_array(folder / VECTOR_STARTS, np.int64))
        self.vector_cells = np.asarray(read_array(folder / VECTOR_CELLS, np.uint32))
        self._blob = map_bytes(folder / BLOB)
        self._raw_dictionary = map_bytes(folder / DICTIONARY)
        self._own = threading.local()

    def __len__(self) -> int:
        return len(self.numbers)

    def texts(self, key: int) -> list[str]:
        """Return the texts of a row's cells, in order.

        Raises:
            RowIndexError: What is stored is no row.
        """
        return self._read_texts(key, self.raw(key))

    def _read_texts(self, key: int, raw: bytes) -> list[str]:
        try:
            texts: list[str]
            # json.loads would look for other encodings and for blanks around first.
            texts, end = _DECODER.raw_decode(content := raw.decode("utf-8"))
            if end != len(content):
                raise ValueError(f"{len(content) - end} characters behind its end")
        except ValueError as error:
            raise RowIndexError(f"Row {key} of {self._folder} is damaged: {error}. Build the index again.") from error
        return texts

    def read(self, keys: Array) -> Iterator[tuple[int, list[int], list[str]]]:
        """Yield of each row its position in the source split, its cells' columns, and their texts.

        What can be looked up for all rows at once is.

        Raises:
            RowIndexError: What is stored is no row.
        """
        numbers = self.numbers[keys].tolist()
        starts, stops = self.cell_starts[keys], self.cell_starts[keys + 1]
        owners = np.repeat(starts - np.concatenate([[0], np.cumsum(stops - starts)[:-1]]), stops - starts)
        columns = self.cell_columns[owners + np.arange(len(owners))].tolist()
        at, unpack = 0, self._decompressor().decompress
        counts = (stops - starts).tolist()
        places = self.offsets[keys].tolist(), self.offsets[keys + 1].tolist()
        for key, start, stop, number, count in zip(keys.tolist(), *places, numbers, counts, strict=True):
            texts = self._read_texts(key, self._unpack(key, self._blob[start:stop], unpack))
            if len(texts) != count:
                raise RowIndexError(
                    f"Row {key} of {self._folder} has {len(texts)} texts for {count} cells. Build the index again."
                )
            yield number, columns[at : at + count], texts
            at += count

    def raw(self, key: int) -> bytes:
        """Return a row as it was before it was compressed: a JSON list of its cells' texts.

        Raises:
            RowIndexError: What is stored is no row.
        """
        content = self._blob[self.offsets.item(key) : self.offsets.item(key + 1)]
        return self._unpack(key, content, self._decompressor().decompress)

    def _unpack(self, key: int, content: memoryview, unpack: Callable[..., bytes]) -> bytes:
        try:
            # The frame says its length, and zstd makes room for it: it must not be believed.
            if zstandard.get_frame_parameters(content, zstandard.FORMAT_ZSTD1_MAGICLESS).content_size > MAX_ROW_BYTES:
                raise RowIndexError(f"Row {key} of {self._folder} claims over {MAX_ROW_BYTES} bytes; build it again.")
            return unpack(content, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise RowIndexError(f"Row {key} of {self._folder} is damaged: {error}. Build the index again.") from error

    def _decompressor(self) -> zstandard.ZstdDecompressor:
        """Return this thread's decompressor: one can't be used by two at a time."""
        own: zstandard.ZstdDecompressor | None = getattr(self._own, "decompressor", None)
        if own is None:
            dictionary = _dictionary_in(self._raw_dictionary, self._folder / DICTIONARY)
            own = zstandard.ZstdDecompressor(dict_data=dictionary, format=zstandard.FORMAT_ZSTD1_MAGICLESS)
            self._own.decompressor = own
        return own

    def columns(self, key: int) -> Array:
        """Return which of its source's columns the row's cells are of, in order."""
        return self.cell_columns[int(self.cell_starts[key]) : int(self.cell_starts[key + 1])]

    def cell_rows(self, cells: Array) -> Array:
        """Return which row each cell is of."""
        return np.searchsorted(self.cell_starts, cells, side="right") - 1

    def check(self, *, pieces: int, vectors: int) -> None:
        """Check that the arrays fit each other, so that no key can lead nowhere, or to another row.

        Raises:
            RowIndexError: They don't; names the file.
        """
        rows, cells = len(self), len(self.cell_columns)
        _dictionary_in(self._raw_dictionary, self._folder / DICTIONARY)
        lengths = {
            OFFSETS: (self.offsets, rows + 1),
            PIECES: (self.pieces, rows),
            CELL_STARTS: (self.cell_starts, rows + 1),
            CELL_VECTORS: (self.cell_vectors, cells),
            CELL_JUNK: (self.cell_junk, cells),
            VECTOR_STARTS: (self.vector_starts, vectors + 1),
            VECTOR_CELLS: (self.vector_cells, cells),
        }
        for name, (held, length) in lengths.items():
            if held.shape != (length,):
                raise RowIndexError(f"{name} has shape {held.shape}, expected {(length,)}; it is of another index.")
        ends = {OFFSETS: (self.offsets, len(self._blob)), CELL_STARTS: (self.cell_starts, cells)}
        ends[VECTOR_STARTS] = (self.vector_starts, cells)
        for name, (held, end) in ends.items():
            if int(held[0]) != 0 or int(held[-1]) != end or bool(np.any(held[1:] < held[:-1])):
                raise RowIndexError(f"{name} does not lead through what it points into; it is of another index.")
        bounds = {PIECES: (self.pieces, pieces), CELL_VECTORS: (self.cell_vectors, vectors)}
        bounds[VECTOR_CELLS] = (self.vector_cells, cells)
        for name, (held, limit) in bounds.items():
            if len(held) and (int(held.min()) < 0 or int(held.max()) >= limit):
                raise RowIndexError(f"{name} points beyond the {limit} there are; it is of another index.")
