"""A segment that is read: rows and vectors of some pieces, and the scores of its rows."""

from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.errors import RowIndexError
from rebase_hf.index import pieces as piece_files
from rebase_hf.index import rows_store
from rebase_hf.index.durable import read_array
from rebase_hf.index.rows_store import RowsStore
from rebase_hf.index.segment_writing import TEXT_DIGESTS, read_facts
from rebase_hf.index.vectors import VectorStore

Array = np.ndarray[Any, Any]


class Segment:
    """A segment's rows and vectors, memory-mapped; reading is thread-safe.

    Attributes:
        pieces: What it holds, in the order of its rows.
    """

    def __init__(self, folder: Path) -> None:
        facts = read_facts(folder)
        self.folder = folder
        self.pieces, self.dimension, self.scale = facts.pieces, facts.dimension, facts.scale
        self.rows = RowsStore(folder)
        self.vectors = VectorStore(folder, scale=facts.scale)
        self.piece_starts: Array = np.concatenate([[0], np.cumsum([piece.rows for piece in self.pieces])]).astype(
            np.int64
        )

    def __len__(self) -> int:
        return len(self.rows)

    def check(self) -> None:
        """Check that its files fit each other, so that no key can lead nowhere, or to another row.

        Raises:
            RowIndexError: They don't; names the file.
        """
        self.rows.check(pieces=len(self.pieces), vectors=len(self.vectors))
        held = np.bincount(np.asarray(self.rows.pieces), minlength=len(self.pieces))
        if held.tolist() != [piece.rows for piece in self.pieces] or np.any(np.diff(self.rows.pieces) < 0):
            raise RowIndexError(f"{rows_store.PIECES} is not of the pieces of {self.folder}; it is of another index.")
        if len(self.vectors) and self.vectors.array.shape[1] != self.dimension:
            raise RowIndexError(f"The vectors of {self.folder} have another dimension; they are of another index.")
        if self.text_digests.shape != (len(self.vectors), 2):
            raise RowIndexError(f"{TEXT_DIGESTS} has shape {self.text_digests.shape}; it is of another index.")

    @property
    def text_digests(self) -> Array:
        """Which text each vector is of, uint64 (vectors, 2)."""
        return read_array(self.folder / TEXT_DIGESTS, np.uint64)

    def piece(self, number: int) -> "SegmentPiece":
        """Return a piece, to be written into another segment."""
        return SegmentPiece(self, number)


class SegmentPiece:
    """A piece that lies in a segment."""

    def __init__(self, segment: Segment, number: int) -> None:
        self.record = segment.pieces[number]
        self._segment = segment
        self._rows = slice(int(segment.piece_starts[number]), int(segment.piece_starts[number + 1]))
        starts = segment.rows.cell_starts
        self._cells = slice(int(starts[self._rows.start]), int(starts[self._rows.stop]))
        held = np.asarray(segment.rows.cell_vectors[self._cells])
        vectors, first, inverse = np.unique(held, return_index=True, return_inverse=True)
        order = np.argsort(first, kind="stable")  # texts are numbered by first appearance
        self._vectors = vectors[order].astype(np.int64)
        ranks = np.empty(len(order), np.uint32)
        ranks[order] = np.arange(len(order), dtype=np.uint32)
        self._cell_texts = ranks[inverse]

    def __len__(self) -> int:
        return self.record.rows

    @property
    def raw_rows(self) -> "SegmentPiece":
        """Its rows."""
        return self

    def close(self) -> None:
        """Do nothing: the segment stays open."""

    def row(self, number: int) -> bytes:
        """Return one row as it was before it was compressed."""
        return self._segment.rows.raw(self._rows.start + number)

    def array(self, name: str) -> Array:
        """Return one of its arrays."""
        rows = self._segment.rows
        if name == piece_files.CELL_TEXTS:
            return self._cell_texts
        if name == piece_files.TEXT_DIGESTS:
            return np.asarray(self._segment.text_digests[self._vectors])
        if name == rows_store.NUMBERS:
            return np.asarray(rows.numbers[self._rows])
        if name == rows_store.CELL_STARTS:
            return np.asarray(rows.cell_starts[self._rows.start : self._rows.stop + 1]) - self._cells.start
        held = {rows_store.CELL_COLUMNS: rows.cell_columns, rows_store.CELL_JUNK: rows.cell_junk}[name]
        return np.asarray(held[self._cells])

    def text_vectors(self, texts: Array) -> Array:
        """Return the vectors of some of its texts."""
        return np.asarray(self._segment.vectors.array[self._vectors[texts]])
