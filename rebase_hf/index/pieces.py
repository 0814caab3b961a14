"""Pieces: a source's rows, cells and vectors in a folder of their own, from which segments are made.

A source is one piece, or several where it is large, so that neither a build's memory nor a file of the index grows
with it. A piece is there whole or not at all, and stands on its own: its vectors are those of its distinct texts, by
first appearance; texts that another piece or an older segment holds are copied from there rather than encoded.
"""

import hashlib
import json
import os
import shutil
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rebase_hf.index import rows_store
from rebase_hf.index.durable import sync_file, sync_folder, write_array, write_bytes
from rebase_hf.index.encoders import Encoder, encode_texts
from rebase_hf.index.junk import ColumnJudge, is_junk
from rebase_hf.index.known_texts import KnownTexts, digest_table, text_digest
from rebase_hf.index.rows_writing import BlobWriter, RawRows, StagedRows
from rebase_hf.index.source_records import SourceUnusable

Array = np.ndarray[Any, Any]

# Texts are told apart and embedded by so much of them: MiniLM reads 256 tokens, about 1,200 characters.
EMBEDDED_CHARS = 2_000
ENCODE_BATCH = 2_048
PIECE_TEXTS = 500_000
PIECE_BYTES = 1 << 30
CELL_TEXTS = "cell_texts.npy"  # uint32 (cells): which of the piece's texts
TEXT_DIGESTS = "text_digests.npy"  # uint64 (texts, 2)
TEXT_VECTORS = "text_vectors.f16"  # float16 (texts, dimension), raw
DONE = "piece.json"
_MAPPED_FROM = 1 << 22
_NAME = "piece-"


@dataclass(frozen=True, slots=True)
class PieceRecord:
    """What an index knows of a piece.

    Attributes:
        source: The key of its source.
        part: Which of the source's pieces.
        content: Digest of its rows, cells and vectors.
        texts: How many distinct texts it has.
        bytes: Of its rows before they are compressed.
        junk_cells: How many of its cells say nothing by themselves.
    """

    source: str
    part: int
    content: str
    rows: int
    cells: int
    junk_cells: int
    texts: int
    bytes: int


class Piece(Protocol):
    """What a segment is made of."""

    @property
    def record(self) -> PieceRecord:
        """What the index knows of it."""
        ...

    @property
    def raw_rows(self) -> RawRows:
        """Its rows."""
        ...

    def array(self, name: str) -> Array:
        """Return one of its arrays: row numbers, cell starts from 0, columns, junk, texts; or the texts' digests."""
        ...

    def text_vectors(self, texts: Array) -> Array:
        """Return the vectors of some of its texts, float16."""
        ...


class StagedPiece:
    """A finished piece of a build."""

    def __init__(self, folder: Path, dimension: int) -> None:
        about = json.loads((folder / DONE).read_text(encoding="utf-8"))
        self.folder = folder
        self.columns: tuple[str, ...] = tuple(about.pop("columns"))
        self.seen = int(about.pop("seen"))  # rows of the source that it goes through, those without text counted
        self.record = PieceRecord(**about)
        self._dimension = dimension

    @property
    def raw_rows(self) -> RawRows:
        """Its rows, memory-mapped while they are read."""
        return StagedRows(self.folder, self.record.rows)

    def array(self, name: str) -> Array:
        """Return one of its arrays; memory-mapped only where it is large: many pieces would be as many open files."""
        path = self.folder / name
        large = path.stat().st_size > _MAPPED_FROM
        held: Array = np.load(path, mmap_mode="r" if large else None, allow_pickle=False)
        return held

    def open_vectors(self) -> Array:
        """Return the vectors of its texts, float16 (texts, dimension), memory-mapped."""
        if not self.record.texts:
            return np.zeros((0, self._dimension), np.float16)
        return np.memmap(self.folder / TEXT_VECTORS, dtype=np.float16, mode="r").reshape(-1, self._dimension)

    def text_vectors(self, texts: Array) -> Array:
        """Return the vectors of some of its texts."""
        return self.open_vectors()[texts]


class PieceWriter:
    """Writes a piece, a batch at a time.

    Args:
        folder: Where it goes when it is finished.
        columns: Numbers of the source's columns so far; new ones are added.
        max_texts: The piece is full when it has so many distinct texts.
    """

    def __init__(
        self,
        folder: Path,
        encoder: Encoder,
        known: KnownTexts,
        columns: dict[str, int],
        *,
        max_texts: int = PIECE_TEXTS,
    ) -> None:
        self._target, self._folder = folder, folder.with_name(f"{folder.name}.part")
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        self._encoder, self._known, self._columns, self._max_texts = encoder, known, columns, max_texts
        self._blob = BlobWriter(self._folder)
        self._vectors = (self._folder / TEXT_VECTORS).open("wb")
        self._numbers, self._cell_starts = array("q"), array("q", [0])
        self._cell_columns, self._cell_texts = array("i"), array("I")
        self._junk = bytearray()
        self._judge = ColumnJudge()
        self._texts: dict[bytes, int] = {}
        self._digests = bytearray()
        self._waiting: list[str] = []

    @property
    def full(self) -> bool:
        """Whether the next row belongs into another piece."""
        return len(self._texts) >= self._max_texts or self._blob.bytes >= PIECE_BYTES

    def append(self, row: int, cells: dict[str, str]) -> None:
        """Take one row.

        Raises:
            SourceUnusable: It is longer than an index holds.
        """
        if self._blob.append(list(cells.values())) > rows_store.MAX_ROW_BYTES:
            raise SourceUnusable("row_too_large", f"row {row} takes over {rows_store.MAX_ROW_BYTES:,} bytes")
        self._numbers.append(row)
        for name, text in cells.items():
            self._cell_columns.append(self._columns.setdefault(name, len(self._columns)))
            junk = is_junk(text)
            self._junk.append(junk)
            self._judge.see(name, text, junk=junk)
            embedded = text[:EMBEDDED_CHARS]
            digest = text_digest(embedded)
            if digest not in self._texts:
                self._texts[digest] = len(self._texts)
                self._digests += digest
                self._waiting.append(embedded)
            self._cell_texts.append(self._texts[digest])
        self._cell_starts.append(len(self._cell_columns))
        if len(self._waiting) >= ENCODE_BATCH:
            self._encode()

    def close(self, seen: int) -> StagedPiece:
        """Put all on the disk; return the piece.

        Args:
            seen: Rows of the source that were gone through up to here.
        """
        self._encode()
        self._vectors.close()
        sync_file(self._folder / TEXT_VECTORS)
        self._blob.close()
        names, columns = list(self._columns), np.array(self._cell_columns, dtype=np.int32)
        junk = np.frombuffer(bytes(self._junk), dtype=np.bool_).copy()
        junk |= np.isin(columns, [self._columns[name] for name in sorted(self._judge.junk_columns())])
        arrays: dict[str, Array] = {
            rows_store.NUMBERS: np.array(self._numbers, dtype=np.int64),
            rows_store.CELL_STARTS: np.array(self._cell_starts, dtype=np.int64),
            rows_store.CELL_COLUMNS: columns,
            rows_store.CELL_JUNK: junk,
            CELL_TEXTS: np.array(self._cell_texts, dtype=np.uint32),
            TEXT_DIGESTS: digest_table(self._digests),
        }
        for name, held in arrays.items():
            write_array(self._folder / name, held)
        about = {
            "source": self._target.parent.name,
            "part": int(self._target.name.removeprefix(_NAME)),
            "content": self._content(arrays),
            "rows": len(self._numbers),
            "cells": len(columns),
            "junk_cells": int(junk.sum()),
            "texts": len(self._texts),
            "bytes": self._blob.bytes,
            "columns": names,
            "seen": seen,
        }
        write_bytes(self._folder / DONE, json.dumps(about, ensure_ascii=False).encode())
        os.replace(self._folder, self._target)
        sync_folder(self._target.parent)
        return StagedPiece(self._target, self._encoder.dimension)

    def _content(self, arrays: dict[str, Array]) -> str:
        """Return the digest of what the piece holds; the vectors count as the bytes they are."""
        digest = hashlib.sha256(self._blob.sha256.digest())
        for name in sorted(arrays):
            digest.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
        with (self._folder / TEXT_VECTORS).open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()

    def _encode(self) -> None:
        """Write the vectors of the texts that wait, in their order."""
        if not self._waiting:
            return
        digests = digest_table(self._digests[-16 * len(self._waiting) :])
        known, copied = self._known.find(digests)
        vectors = np.empty((len(known), self._encoder.dimension), np.float16)
        if copied is not None:
            vectors[known] = copied
        new = np.flatnonzero(~known)
        if len(new):
            vectors[new] = encode_texts(self._encoder, [self._waiting[place] for place in new.tolist()])
        self._vectors.write(vectors.tobytes())
        self._waiting.clear()


def finished_pieces(folder: Path, dimension: int) -> Iterator[StagedPiece]:
    """Yield the pieces of a source that are finished, in order."""
    number = 0
    while (folder / piece_name(number) / DONE).is_file():
        yield StagedPiece(folder / piece_name(number), dimension)
        number += 1


def piece_name(number: int) -> str:
    """Return the name of a source's piece."""
    return f"{_NAME}{number:06d}"
