"""Pieces to one segment: rows joined in order, each distinct text's vector once, the graph over them.

A segment never changes. Its files are those of `SEGMENT_FILES`; `segment.json` says which pieces it holds.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.errors import RowIndexError
from rebase_hf.index import pieces as piece_files
from rebase_hf.index import rows_store, vectors
from rebase_hf.index.durable import sync_file, write_array, write_bytes
from rebase_hf.index.pieces import Piece, PieceRecord
from rebase_hf.index.rows_writing import compress_rows

Array = np.ndarray[Any, Any]

SEGMENT = "segment.json"
TEXT_DIGESTS = "text_digests.npy"  # uint64 (vectors, 2): which text each vector is of
SEGMENT_FILES = (*rows_store.FILES, vectors.VECTORS, vectors.GRAPH, TEXT_DIGESTS, SEGMENT)

# No file of a segment grows beyond 5 GB, the largest that every way of uploading to the Hub takes as one.
MAX_FILE_BYTES = 4_500_000_000
# A graph of more would take hours to build again when its segment is rewritten.
MAX_SEGMENT_TEXTS = 4_000_000


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """What a segment says of itself.

    Attributes:
        pieces: What it holds, in the order of its rows.
        scale: Of the graph's codes.
    """

    pieces: tuple[PieceRecord, ...]
    vectors: int
    dimension: int
    scale: float

    def write(self, folder: Path) -> None:
        """Write them beside the segment's other files."""
        write_bytes(folder / SEGMENT, (json.dumps(asdict(self), indent=1) + "\n").encode())


def read_facts(folder: Path) -> SegmentFacts:
    """Return what a segment says of itself.

    Raises:
        RowIndexError: Its file can't be read.
    """
    try:
        about = json.loads((folder / SEGMENT).read_text(encoding="utf-8"))
        pieces = tuple(PieceRecord(**piece) for piece in about["pieces"])
        return SegmentFacts(pieces, int(about["vectors"]), int(about["dimension"]), float(about["scale"]))
    except (ValueError, KeyError, TypeError) as error:
        raise RowIndexError(f"Index file {folder / SEGMENT} says too little: {error}. Build it again.") from error


@dataclass(frozen=True, slots=True)
class SegmentLimits:
    """How large segments may be.

    Attributes:
        texts: Distinct texts of its pieces, added up.
        raw_bytes: Bytes of rows before they are compressed.
    """

    texts: int
    raw_bytes: int = MAX_FILE_BYTES

    @classmethod
    def of(cls, dimension: int, max_texts: int | None = None) -> "SegmentLimits":
        """Return the limits for vectors of so many components."""
        by_file = MAX_FILE_BYTES // (2 * dimension)
        return cls(texts=min(max_texts or MAX_SEGMENT_TEXTS, by_file))

    def fit(self, size: "SegmentSize") -> bool:
        """Return whether so much is not too much for one segment; a single piece never is."""
        return size.pieces < 2 or (size.texts <= self.texts and size.raw_bytes <= self.raw_bytes)


@dataclass(frozen=True, slots=True)
class SegmentSize:
    """How much some pieces are together."""

    pieces: int = 0
    texts: int = 0
    raw_bytes: int = 0

    def plus(self, *records: PieceRecord) -> "SegmentSize":
        """Return the size with these pieces, too."""
        return SegmentSize(
            self.pieces + len(records),
            self.texts + sum(record.texts for record in records),
            self.raw_bytes + sum(record.bytes for record in records),
        )


def fitting_runs(records: Sequence[PieceRecord], limits: SegmentLimits) -> list[range]:
    """Cut pieces, in their order, into runs that fit a segment each."""
    runs: list[range] = []
    held = SegmentSize()
    for number, record in enumerate(records):
        held = held.plus(record)
        if not runs or not limits.fit(held):
            runs.append(range(number, number))
            held = SegmentSize().plus(record)
        runs[-1] = range(runs[-1].start, number + 1)
    return runs


def write_segment(
    pieces: Sequence[Piece], folder: Path, *, dimension: int, seed: int, expansion_add: int = vectors.EXPANSION_ADD
) -> None:
    """Write a segment's files into an empty folder.

    In memory are the texts' digests, the cells' numbers, the offsets, and the graph while it is built; texts and
    vectors stream through.

    Args:
        dimension: Of the vectors.
        expansion_add: `vectors.EXPANSION_ADD_FAST` builds sooner and finds a little less.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    digests = np.concatenate([np.zeros((0, 2), np.uint64), *(p.array(piece_files.TEXT_DIGESTS) for p in pieces)])
    text_vectors, chosen = _number_texts(digests)
    write_array(folder / TEXT_DIGESTS, digests[chosen])
    _write_rows(pieces, folder, seed)
    _write_cells(pieces, text_vectors, len(chosen), folder)
    _write_vectors(pieces, chosen, dimension, folder)
    held: Array = np.load(folder / vectors.VECTORS, mmap_mode="r", allow_pickle=False)
    scale = vectors.choose_scale(held, seed)
    vectors.build_graph(held, folder / vectors.GRAPH, scale=scale, seed=seed, expansion_add=expansion_add)
    records = tuple(piece.record for piece in pieces)
    SegmentFacts(records, vectors=len(chosen), dimension=dimension, scale=scale).write(folder)


def _number_texts(digests: Array) -> tuple[Array, Array]:
    """Return the vector of each text, numbered by first appearance, and the text that each vector is taken from."""
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # which keeps equal ones in order
    ordered = digests[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    groups = np.cumsum(new) - 1
    first = order[new]  # by text; of equal ones the first
    chosen = np.sort(first)
    ranks = np.empty(len(first), np.int64)
    ranks[np.argsort(first, kind="stable")] = np.arange(len(first))
    numbers = np.empty(len(order), np.uint32)
    numbers[order] = ranks[groups]
    return numbers, chosen


def _write_rows(pieces: Sequence[Piece], folder: Path, seed: int) -> None:
    compress_rows([piece.raw_rows for piece in pieces], folder, seed=seed)
    numbers = [np.zeros(0, np.int64), *(piece.array(rows_store.NUMBERS) for piece in pieces)]
    write_array(folder / rows_store.NUMBERS, np.concatenate(numbers))
    owners = np.repeat(np.arange(len(pieces), dtype=np.int32), [piece.record.rows for piece in pieces])
    write_array(folder / rows_store.PIECES, owners)


def _write_cells(pieces: Sequence[Piece], text_vectors: Array, vector_count: int, folder: Path) -> None:
    starts, cell_vectors = [np.zeros(1, np.int64)], [np.zeros(0, np.uint32)]
    cells = texts = 0
    for piece in pieces:
        starts.append(piece.array(rows_store.CELL_STARTS)[1:] + cells)
        cell_vectors.append(text_vectors[texts + piece.array(piece_files.CELL_TEXTS).astype(np.int64)])
        cells += piece.record.cells
        texts += piece.record.texts
    joined = np.concatenate(cell_vectors)
    write_array(folder / rows_store.CELL_STARTS, np.concatenate(starts))
    for name, kind in ((rows_store.CELL_COLUMNS, np.int32), (rows_store.CELL_JUNK, np.bool_)):
        write_array(folder / name, np.concatenate([np.zeros(0, kind), *(piece.array(name) for piece in pieces)]))
    write_array(folder / rows_store.CELL_VECTORS, joined)
    write_array(folder / rows_store.VECTOR_CELLS, np.argsort(joined, kind="stable").astype(np.uint32))
    held = np.bincount(joined, minlength=vector_count)
    write_array(folder / rows_store.VECTOR_STARTS, np.concatenate([[0], np.cumsum(held)]).astype(np.int64))


def _write_vectors(pieces: Sequence[Piece], chosen: Array, dimension: int, folder: Path) -> None:
    path = folder / vectors.VECTORS
    start = 0
    # Written as a stream: the pages of a memory map that is written to would count as memory, all of them.
    with path.open("wb") as stream:
        header = {"descr": "<f2", "fortran_order": False, "shape": (len(chosen), dimension)}
        np.lib.format.write_array_header_2_0(stream, header)
        for piece in pieces:
            first, last = np.searchsorted(chosen, [start, start + piece.record.texts])
            for chunk in range(int(first), int(last), vectors.CHUNK):
                stop = min(chunk + vectors.CHUNK, int(last))
                stream.write(np.ascontiguousarray(piece.text_vectors(chosen[chunk:stop] - start)).tobytes())
            start += piece.record.texts
    sync_file(path)
