"""The catalog of an index: its sources in order, where the rows of each lie, and what was left out and why."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.errors import RowIndexError
from rebase_hf.index.durable import read_array, write_array, write_bytes
from rebase_hf.index.pieces import PieceRecord
from rebase_hf.index.source_records import IndexedSource, SkippedSource
from rebase_hf.index.staging import source_from_dict

Array = np.ndarray[Any, Any]

SOURCES = "sources.json"
DESCRIPTIONS = "description_vectors.npy"  # float32 (sources, dimension)
CATALOG_FILES = (SOURCES, DESCRIPTIONS)


@dataclass(frozen=True, slots=True)
class PlacedPiece:
    """A piece of a source, and where it lies.

    Attributes:
        segment: The segment's name.
        number: Which of the segment's pieces.
    """

    segment: str
    number: int
    record: PieceRecord


@dataclass(frozen=True, slots=True)
class CatalogSource:
    """A source of an index.

    Attributes:
        key: Digest of what decided its part: source, revision, licence, encoder, how it was sampled.
        pieces: Its rows, in order.
    """

    key: str
    source: IndexedSource
    pieces: tuple[PlacedPiece, ...]

    @property
    def name(self) -> tuple[str, str | None, str]:
        """What it is called, whatever its revision: dataset, config, split."""
        return self.source.dataset, self.source.config, self.source.split


@dataclass(frozen=True, slots=True)
class Catalog:
    """All sources of an index.

    Attributes:
        description_vectors: float32 (sources, dimension), of unit length.
    """

    sources: tuple[CatalogSource, ...]
    skipped: tuple[SkippedSource, ...]
    description_vectors: Array

    def write(self, folder: Path) -> None:
        """Write the catalog's files into an empty folder."""
        folder.mkdir(parents=True)
        listing = {
            "sources": [
                {**asdict(one.source), "key": one.key, "pieces": [asdict(piece) for piece in one.pieces]}
                for one in self.sources
            ],
            "skipped": [asdict(skip) for skip in self.skipped],
        }
        write_bytes(folder / SOURCES, (json.dumps(listing, ensure_ascii=False, indent=1) + "\n").encode())
        write_array(folder / DESCRIPTIONS, np.asarray(self.description_vectors, np.float32))

    def counts(self) -> dict[str, int]:
        """Return how much the index holds; `texts` counts those of each piece, `rows` and so on of living pieces."""
        records = [piece.record for one in self.sources for piece in one.pieces]
        return {
            "sources": len(self.sources),
            "skipped": len(self.skipped),
            **{
                name: sum(getattr(record, name) for record in records)
                for name in ("rows", "cells", "junk_cells", "texts")
            },
        }


def read_catalog(folder: Path) -> Catalog:
    """Return the catalog in a folder.

    Raises:
        RowIndexError: It can't be read; names the file.
    """
    try:
        listing = json.loads((folder / SOURCES).read_text(encoding="utf-8"))
        sources = tuple(_source(dict(content)) for content in listing["sources"])
        skipped = tuple(SkippedSource(**skip) for skip in listing["skipped"])
    except (ValueError, KeyError, TypeError) as error:
        raise RowIndexError(f"Index file {folder / SOURCES} says too little: {error}. Build it again.") from error
    vectors = read_array(folder / DESCRIPTIONS, np.float32)
    if vectors.ndim != 2 or len(vectors) != len(sources):
        raise RowIndexError(f"{folder / DESCRIPTIONS} has shape {vectors.shape} for {len(sources)} sources.")
    return Catalog(sources, skipped, np.array(vectors))


def pieces_by_segment(sources: Sequence[CatalogSource]) -> dict[str, set[int]]:
    """Return for each segment which of its pieces are in the catalog."""
    held: dict[str, set[int]] = {}
    for one in sources:
        for piece in one.pieces:
            held.setdefault(piece.segment, set()).add(piece.number)
    return held


def _source(content: dict[str, Any]) -> CatalogSource:
    key, pieces = content.pop("key"), content.pop("pieces")
    placed = (PlacedPiece(p["segment"], int(p["number"]), PieceRecord(**p["record"])) for p in pieces)
    return CatalogSource(key, source_from_dict(content), tuple(placed))
