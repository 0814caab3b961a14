"""Reading the sources of a change, one after the other, and cutting full segments off on the way.

So that neither memory nor `<path>.building` grows with the number of sources: pieces wait until a segment is full.
"""

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from rebase_hf.index.build_settings import BuildSettings
from rebase_hf.index.catalog import CatalogSource, PlacedPiece
from rebase_hf.index.durable import read_array, write_bytes
from rebase_hf.index.encoders import Encoder
from rebase_hf.index.index_writing import IndexWriter
from rebase_hf.index.known_texts import KnownTexts
from rebase_hf.index.opening import told
from rebase_hf.index.pieces import EMBEDDED_CHARS, PIECE_TEXTS, TEXT_DIGESTS, TEXT_VECTORS, Piece, StagedPiece
from rebase_hf.index.progress import bar
from rebase_hf.index.rows_writing import RAW_BLOB
from rebase_hf.index.segment_writing import TEXT_DIGESTS as SEGMENT_DIGESTS
from rebase_hf.index.segment_writing import SegmentSize
from rebase_hf.index.source_records import SkippedSource, SourceUnusable, printable
from rebase_hf.index.sources import Source
from rebase_hf.index.staging import StagedSource, finished_source, stage_source
from rebase_hf.index.vectors import VECTORS

logger = logging.getLogger(__name__)

PLACED = "placed.json"
Slots = list[list[Piece | PlacedPiece]]


def read_sources(
    writer: IndexWriter,
    wanted: Sequence[tuple[str, CatalogSource | Source]],
    encoder: Encoder | None,
    settings: BuildSettings,
    instead: Mapping[str, CatalogSource] = MappingProxyType({}),
) -> tuple[list[CatalogSource | StagedSource], Slots, list[SkippedSource]]:
    """Read the sources that the index does not hold.

    Args:
        wanted: Sources with their keys, in order.
        encoder: None where there is nothing to be read.
        instead: By the key of a source that is to be read anew what the index holds of it, which stays where it can't
            be read.

    Returns:
        The sources that can be used, the pieces of each, and those that could not be read.
    """
    reader = _Reader(writer, encoder, settings, instead)
    limit = settings.max_rows_per_source
    total = sum(one.sample_size(limit) for _, one in wanted if isinstance(one, Source))
    with bar("Indexing rows", total, " rows") as shown:
        for key, one in wanted:
            if isinstance(one, CatalogSource):
                reader.keep(one)
            else:
                reader.read(key, one, shown)
    return reader.sources, reader.slots, reader.skipped


class _Reader:
    """What was read so far, and what of it waits for a segment."""

    def __init__(
        self,
        writer: IndexWriter,
        encoder: Encoder | None,
        settings: BuildSettings,
        instead: Mapping[str, CatalogSource],
    ) -> None:
        self._writer, self._encoder, self._settings, self._instead = writer, encoder, settings, instead
        self._limits = settings.segment_limits(writer.encoder["dimension"])
        self._waiting: list[tuple[int, int, StagedPiece]] = []
        self._size = SegmentSize()
        self._full: list[str] = []
        self._known = KnownTexts()
        self._know()
        self.sources: list[CatalogSource | StagedSource] = []
        self.slots: Slots = []
        self.skipped: list[SkippedSource] = []

    def keep(self, one: CatalogSource) -> None:
        """Take a source as the index holds it."""
        self.sources.append(one)
        self.slots.append(list(one.pieces))

    def read(self, key: str, source: Source, shown: Any) -> None:
        """Read a source, or take it as a killed build left it."""
        folder = self._writer.building / key
        staged = self._finished(folder)
        if staged is not None:
            shown.update(staged.source.rows)
        else:
            try:
                staged = stage_source(
                    folder,
                    source,
                    self._required(),
                    self._known,
                    max_rows=self._settings.max_rows_per_source,
                    piece_texts=min(PIECE_TEXTS, self._limits.texts),
                    on_row=lambda: shown.update(1),
                )
            except SourceUnusable as error:
                address = printable(source.address)
                self.skipped.append(told(SkippedSource(address, error.reason, error.detail)))
                if (earlier := self._instead.get(key)) is not None:
                    logger.warning("What the index holds of %s stays.", address)
                    self.keep(earlier)
                return
        self.sources.append(staged)
        self.slots.append([])
        segments = len(self._full)
        for piece in staged.pieces:
            self._take(piece)
        if len(self._full) != segments:
            for _, _, piece in self._waiting:
                self._known.add(piece.array(TEXT_DIGESTS), piece.open_vectors)

    def _required(self) -> Encoder:
        if self._encoder is None:
            raise TypeError("A change that reads sources needs an encoder.")
        return self._encoder

    def _finished(self, folder: Path) -> StagedSource | None:
        staged = finished_source(folder, self._writer.encoder["dimension"])
        if staged is None:
            return None
        for piece in staged.pieces:
            placed = _place(piece)
            if placed is None:
                self._known.add(piece.array(TEXT_DIGESTS), piece.open_vectors)
            elif not self._writer.has_segment(placed.segment):
                logger.info("Source %s is read again: what was made of it is gone.", staged.source.dataset)
                shutil.rmtree(folder)
                return None
            elif placed.segment not in self._full:  # a build that was killed made it
                self._full.append(placed.segment)
                self._know_segment(placed.segment)
        return staged

    def _take(self, piece: StagedPiece) -> None:
        """Have a piece wait for a segment, where it does not lie in one already."""
        placed = _place(piece)
        if placed is None:
            size = self._size.plus(piece.record)
            if not self._limits.fit(size):
                self._cut()
                size = SegmentSize().plus(piece.record)
            self._size = size
            self._waiting.append((len(self.slots) - 1, len(self.slots[-1]), piece))
        self.slots[-1].append(placed or piece)

    def _cut(self) -> None:
        """Make a segment of what waits, and let go of the pieces."""
        name = self._writer.make_segment([piece for _, _, piece in self._waiting])
        for number, (source, place, piece) in enumerate(self._waiting):
            self.slots[source][place] = PlacedPiece(name, number, piece.record)
            write_bytes(piece.folder / PLACED, json.dumps({"segment": name, "number": number}).encode())
        for _, _, piece in self._waiting:
            for file in (RAW_BLOB, TEXT_VECTORS):
                (piece.folder / file).unlink()
        self._full.append(name)
        self._waiting, self._size = [], SegmentSize()
        self._know()

    def _know(self) -> None:
        """Know the texts of the segments; those of the pieces that wait are added as they come."""
        self._known = KnownTexts()
        present = self._writer.present
        names = list(self._full)
        same = (self._writer.encoder["identity"], EMBEDDED_CHARS)
        if present is not None and same == (
            present.manifest.encoder["identity"],
            present.manifest.parameters["embedded_chars"],
        ):
            names += [segment.rows.name for segment in present.manifest.segments]
        for name in names:
            self._know_segment(name)

    def _know_segment(self, name: str) -> None:
        folder = self._writer.segment_folder(name)
        digests = read_array(folder / SEGMENT_DIGESTS, np.uint64)
        self._known.add(digests, partial(read_array, folder / VECTORS, np.float16))


def _place(piece: StagedPiece) -> PlacedPiece | None:
    """Return where a piece lies that an earlier or this build made a segment of."""
    path = piece.folder / PLACED
    if not path.is_file():
        return None
    held = json.loads(path.read_bytes())
    return PlacedPiece(str(held["segment"]), int(held["number"]), piece.record)
