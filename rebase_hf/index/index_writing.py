"""Writing an index: new sources read into pieces, pieces into segments, a catalog over all, the manifest last.

Everything is made in `<path>.building`, which a killed build leaves for the next one, and moved into the index when it
is whole. The index that was there stays what it is until the manifest is replaced, at one stroke.
"""

import logging
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.errors import RowIndexError
from rebase_hf.index.build_settings import BuildSettings
from rebase_hf.index.catalog import (
    CATALOG_FILES,
    Catalog,
    CatalogSource,
    PlacedPiece,
    pieces_by_segment,
    read_catalog,
)
from rebase_hf.index.compaction import MOST_DEAD, SegmentState, segments_to_rewrite
from rebase_hf.index.durable import sync_folder
from rebase_hf.index.local_sources import without_folders
from rebase_hf.index.manifest import (
    MANIFEST,
    IndexPart,
    IndexSegment,
    Manifest,
    check_not_newer,
    content_fingerprint,
    describe_files,
    is_part,
    part_name,
    read_manifest,
)
from rebase_hf.index.pieces import Piece
from rebase_hf.index.segment import Segment
from rebase_hf.index.segment_writing import SEGMENT, SEGMENT_FILES, fitting_runs, read_facts, write_segment
from rebase_hf.index.source_records import SkippedSource
from rebase_hf.index.staging import StagedSource
from rebase_hf.index.verification import check_files
from rebase_hf.index.words import write_words

logger = logging.getLogger(__name__)

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class PresentIndex:
    """The index that is there, verified."""

    manifest: Manifest
    catalog: Catalog

    def description_vectors(self) -> dict[str, Array]:
        """Return the description vectors of its sources, by their keys."""
        keys = (one.key for one in self.catalog.sources)
        return dict(zip(keys, self.catalog.description_vectors, strict=True))


def present_index(root: Path) -> PresentIndex | None:
    """Return the index in a folder; None where there is none, or a damaged or older one, which is then replaced.

    Raises:
        RowIndexError: A later release wrote it.
    """
    if not (root / MANIFEST).is_file():
        return None
    check_not_newer(root)
    try:
        return read_index(root)
    except RowIndexError as error:
        logger.warning("The index that was there is built again: %s", error)
        return None


def read_index(root: Path) -> PresentIndex:
    """Return the index in a folder, verified.

    Raises:
        RowIndexError: There is none, or it is damaged.
    """
    manifest = read_manifest(root)
    check_files(root, manifest)
    return PresentIndex(manifest, read_catalog(root / manifest.catalog.name))


class IndexWriter:
    """Brings an index from what it is to what it should be.

    Args:
        root: The index's folder.
        building: Where all is made.
        encoder: Its `name`, `identity` and `dimension`.
        most_dead: Share of a segment's rows that may be of sources that are gone.
    """

    def __init__(
        self,
        root: Path,
        building: Path,
        present: PresentIndex | None,
        encoder: dict[str, Any],
        settings: BuildSettings,
        *,
        most_dead: float = MOST_DEAD,
    ) -> None:
        self.root, self.building, self.present = root, building, present
        self.encoder, self._settings, self._most_dead = encoder, settings, most_dead
        self._parts: dict[str, IndexPart] = {}
        self._made_words: dict[str, IndexPart | None] = {}
        if present is not None:
            self._parts = {segment.rows.name: segment.rows for segment in present.manifest.segments}

    def segment_folder(self, name: str) -> Path:
        """Return the folder of a segment of the index, or of one that was just made for it."""
        held = self.building / name
        return held if held.is_dir() else self.root / name

    def has_segment(self, name: str) -> bool:
        """Return whether there is such a segment, in the index or made for it."""
        return (self.segment_folder(name) / SEGMENT).is_file()

    def make_segment(self, pieces: Sequence[Piece]) -> str:
        """Write a segment and return its name."""
        beside = self.building / "segment.part"
        write_segment(
            pieces,
            beside,
            dimension=self.encoder["dimension"],
            seed=self._settings.seed,
            expansion_add=self._settings.expansion_add,
        )
        return self._keep("segment", beside, SEGMENT_FILES).name

    def make_words(self, name: str, sources: Sequence[CatalogSource]) -> IndexPart | None:
        """Index the words of those pieces of a segment that are of these sources; None where words are not indexed."""
        if self._settings.words is False:
            return None
        beside = _emptied(self.building / "words.part")
        # Words of some segments and not of others could not be searched.
        there = self.present is not None and any(one.words is not None for one in self.present.manifest.segments)
        wanted = True if there else self._settings.words
        written = write_words(beside, Segment(self.segment_folder(name)), name, sources, wanted)
        return None if written is None else self._keep("words", beside, written)

    def take(self, made: IndexSegment) -> None:
        """Take a segment, and the words of all its pieces, that were made elsewhere and moved to `building`."""
        self._parts[made.rows.name] = made.rows
        self._made_words[made.rows.name] = made.words

    def write(
        self,
        wanted: Sequence[CatalogSource | StagedSource],
        slots: Sequence[Sequence[Piece | PlacedPiece]],
        skipped: Sequence[SkippedSource],
        *,
        inputs: str,
    ) -> None:
        """Make these sources the index, in this order.

        Args:
            slots: For each source its pieces, in order: those that lie in a segment, and those that do not yet.
            inputs: Digest of what went in; empty where it is not the last word.
        """
        catalog = self._catalog(wanted, self._placed(slots), skipped)
        catalog.write(_emptied(self.building / "catalog.part"))
        catalog_part = self._keep("catalog", self.building / "catalog.part", CATALOG_FILES)
        held = pieces_by_segment(catalog.sources)
        segments = [IndexSegment(self.part(name), self._words(name, held[name], catalog)) for name in held]
        self._replace(catalog, catalog_part, segments, inputs)

    def _placed(self, slots: Sequence[Sequence[Piece | PlacedPiece]]) -> list[list[PlacedPiece]]:
        """Return where each piece lies, once those that lie nowhere and those to be written anew are in segments."""
        living: dict[str, set[int]] = {}
        for slot in (slot for own in slots for slot in own):
            if isinstance(slot, PlacedPiece):
                living.setdefault(slot.segment, set()).add(slot.number)
        states = [
            SegmentState(name, read_facts(self.segment_folder(name)).pieces, frozenset(held))
            for name, held in living.items()
        ]
        limits = self._settings.segment_limits(self.encoder["dimension"])
        new = [slot.record for own in slots for slot in own if not isinstance(slot, PlacedPiece)]
        rewritten = segments_to_rewrite(states, new, limits, most_dead=self._most_dead)
        for name in sorted(rewritten):
            logger.info("Segment %s is written anew, with others or without what is gone.", name)
        placed: list[list[PlacedPiece | None]] = []
        waiting: list[tuple[int, int, Piece | PlacedPiece]] = []
        for source, own in enumerate(slots):
            placed.append([])
            for number, slot in enumerate(own):
                stays = isinstance(slot, PlacedPiece) and slot.segment not in rewritten
                placed[-1].append(slot if stays else None)  # type: ignore[arg-type]
                if not stays:
                    waiting.append((source, number, slot))
        for run in fitting_runs([slot.record for _, _, slot in waiting], limits):
            together = waiting[run.start : run.stop]
            name = self.make_segment(self._opened([slot for _, _, slot in together]))
            for place, (source, number, slot) in enumerate(together):
                placed[source][number] = PlacedPiece(name, place, slot.record)
        return [[slot for slot in own if slot is not None] for own in placed]

    def _opened(self, slots: Sequence[Piece | PlacedPiece]) -> list[Piece]:
        """Return pieces ready to be written: those that lie in a segment, out of it."""
        segments: dict[str, Segment] = {}
        pieces: list[Piece] = []
        for slot in slots:
            if isinstance(slot, PlacedPiece):
                if slot.segment not in segments:
                    segments[slot.segment] = Segment(self.segment_folder(slot.segment))
                pieces.append(segments[slot.segment].piece(slot.number))
            else:
                pieces.append(slot)
        return pieces

    def _catalog(
        self,
        wanted: Sequence[CatalogSource | StagedSource],
        placed: Sequence[Sequence[PlacedPiece]],
        skipped: Sequence[SkippedSource],
    ) -> Catalog:
        sources, vectors = [], []
        held = {} if self.present is None else self.present.description_vectors()
        for one, pieces in zip(wanted, placed, strict=True):
            sources.append(CatalogSource(one.key, one.source, tuple(pieces)))
            vectors.append(one.description_vector if isinstance(one, StagedSource) else held[one.key])
        recorded = tuple(without_folders(skip) for skip in skipped)
        return Catalog(tuple(sources), recorded, np.stack(vectors).astype(np.float32))

    def _words(self, name: str, living: set[int], catalog: Catalog) -> IndexPart | None:
        """Return the index of a segment's words: that which is there, where it is of the same pieces."""
        if self._settings.words is False:
            return None
        if name in self._made_words:
            return self._made_words[name]
        if self.present is not None:
            before = pieces_by_segment(self.present.catalog.sources).get(name)
            there = {one.rows.name: one.words for one in self.present.manifest.segments}.get(name)
            if there is not None and before == living:
                return there
        return self.make_words(name, catalog.sources)

    def _keep(self, kind: str, beside: Path, names: Iterable[str]) -> IndexPart:
        """Give a finished folder the name that its content has."""
        files = describe_files(beside, names)
        part = IndexPart(part_name(kind, files), files)
        target = self.building / part.name
        shutil.rmtree(target, ignore_errors=True)
        os.replace(beside, target)
        sync_folder(self.building)
        self._parts[part.name] = part
        return part

    def part(self, name: str) -> IndexPart:
        """Return a segment as the manifest names it."""
        if name not in self._parts:  # made by a build that was killed
            self._parts[name] = IndexPart(name, describe_files(self.segment_folder(name), SEGMENT_FILES))
        return self._parts[name]

    def _replace(
        self, catalog: Catalog, catalog_part: IndexPart, segments: Sequence[IndexSegment], inputs: str
    ) -> None:
        """Move what was made into the index and write its manifest; what it does not name is removed."""
        counts = catalog.counts()
        facts = [read_facts(self.segment_folder(one.rows.name)) for one in segments]
        vectors = sum(one.vectors for one in facts)
        rows = sum(piece.rows for one in facts for piece in one.pieces)
        manifest = Manifest(
            fingerprint="",
            encoder=self.encoder,
            counts={**counts, "vectors": vectors, "dead_rows": rows - counts["rows"]},
            parameters=self._settings.to_parameters(),
            inputs=inputs,
            catalog=catalog_part,
            segments=tuple(segments),
        )
        identity = self.encoder["identity"]
        fingerprint = content_fingerprint(catalog, identity, segments, approximate=manifest.approximate)
        manifest = replace(manifest, fingerprint=fingerprint)
        self.root.mkdir(parents=True, exist_ok=True)
        verified = set() if self.present is None else {part.name for part in self.present.manifest.parts}
        for part in manifest.parts:
            if (self.building / part.name).is_dir() and part.name not in verified:
                shutil.rmtree(self.root / part.name, ignore_errors=True)
                os.replace(self.building / part.name, self.root / part.name)
        sync_folder(self.root)
        manifest.write(self.root)
        named = {part.name for part in manifest.parts}
        for old in self.root.iterdir():
            if is_part(old.name) and old.name not in named:
                shutil.rmtree(old)


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return folder
