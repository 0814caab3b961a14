"""One rank of a build by many machines: its sources opened and read into pieces, in a folder of its own.

A rank that was killed goes on where it was: sources that are read through stay, and of one that is not the finished
pieces; what these hold is not encoded again. Its record is written last.
"""

import logging
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rebase_hf.errors import RowIndexError
from rebase_hf.index.building import key_of, warn_of_languages, written_alone
from rebase_hf.index.distributed_folder import SharedFolder
from rebase_hf.index.distributed_parts import (
    DESCRIPTIONS,
    PART,
    Part,
    PartSkip,
    PartSource,
    finished_part,
    part_folder,
)
from rebase_hf.index.distributed_plan import BuildPlan, PlannedSource
from rebase_hf.index.durable import write_array
from rebase_hf.index.encoders import Encoder, encoder_identity, load_encoder
from rebase_hf.index.known_texts import KnownTexts
from rebase_hf.index.licenses import allowed_licenses
from rebase_hf.index.manifest import describe_files
from rebase_hf.index.opening import open_numbered, told
from rebase_hf.index.pieces import PIECE_TEXTS, TEXT_DIGESTS
from rebase_hf.index.source_records import SkippedSource, SourceUnusable, printable
from rebase_hf.index.sources import Source
from rebase_hf.index.staging import StagedSource, finished_source, stage_source

logger = logging.getLogger(__name__)

_AWAY = ("unreachable", "offline")


def read_rank(folder: SharedFolder, plan: BuildPlan, rank: int, encoder: str | Encoder | None = None) -> Part:
    """Read a rank's sources, or return what it has read already.

    Args:
        encoder: Where its name does not lead to it.

    Raises:
        RowIndexError: The encoder is not the plan's, or this machine reaches none of several sources.
        MissingExtraError: The encoder's package is not installed.
    """
    done = finished_part(folder, plan, rank)
    if done is not None:
        return done
    name = part_folder(rank, plan.tasks)
    with written_alone(folder.here / name):
        reader = _RankReader(folder.here / name, plan, _encoder_of(plan, encoder))
        for number, opened in _opened(plan, plan.shard(rank)):
            if isinstance(opened, SkippedSource):
                reader.skip(number, opened)
            else:
                reader.read(number, opened)
        part = reader.close(rank)
        folder.publish(f"{name}/{file}" for file in part.files)
        folder.write(f"{name}/{PART}", part.to_bytes())
    if not folder.mounted:
        folder.drop(name)
    return part


class _RankReader:
    """What a rank has read so far."""

    def __init__(self, root: Path, plan: BuildPlan, encoder: Encoder) -> None:
        self._root, self._plan, self._encoder = root, plan, encoder
        self._known = KnownTexts()
        self._entries: list[PartSkip | PartSource] = []
        self._staged: dict[str, StagedSource] = {}
        root.mkdir(parents=True, exist_ok=True)

    def skip(self, place: int, skip: SkippedSource) -> None:
        """Record a source that could not be opened."""
        self._entries.append(PartSkip(place, told(skip)))

    def read(self, place: int, source: Source) -> None:
        """Read a source, or take it as this rank left it when it was killed."""
        key = key_of(source, self._plan.encoder, self._plan.settings)
        known = next((one for one in self._entries if isinstance(one, PartSource) and one.key == key), None)
        if known is not None:  # the same split by another address; the merge leaves it out
            self._entries.append(replace(known, place=place, address=source.address, source=None, pieces=()))
            return
        staged = finished_source(self._root / key, self._encoder.dimension)
        if staged is not None:
            for piece in staged.pieces:
                self._known.add(piece.array(TEXT_DIGESTS), piece.open_vectors)
        else:
            warn_of_languages(self._encoder, [source])
            try:
                staged = self._stage(key, source)
            except SourceUnusable as error:
                skip = told(SkippedSource(printable(source.address), error.reason, error.detail))
                self._entries.append(
                    PartSource(place, source.key(), key, source.address, source.reopen, None, skip, ())
                )
                return
        self._staged[key] = staged
        pieces = tuple(piece.record for piece in staged.pieces)
        self._entries.append(
            PartSource(place, source.key(), key, source.address, source.reopen, staged.source, None, pieces)
        )

    def close(self, rank: int) -> Part:
        """Return the record of it all.

        Raises:
            RowIndexError: None of several sources was reached from here.
        """
        skips = [entry.skip for entry in self._entries if isinstance(entry, PartSkip)]
        if len(skips) == len(self._entries) > 1 and all(skip.reason in _AWAY for skip in skips):
            raise RowIndexError(
                f"Rank {rank} reached none of its {len(skips)} sources from this machine: {skips[0].detail}. They "
                "were there when the plan was made; run this rank where the Hub can be reached."
            )
        for entry in self._root.iterdir():
            if entry.is_dir() and entry.name not in self._staged:  # of a source that has changed since
                shutil.rmtree(entry)
        vectors = [staged.description_vector for staged in self._staged.values()]
        write_array(
            self._root / DESCRIPTIONS, np.array(vectors, np.float32).reshape(len(vectors), self._encoder.dimension)
        )
        return Part(self._plan.digest, rank, tuple(self._entries), describe_files(self._root, self._files()))

    def _stage(self, key: str, source: Source) -> StagedSource:
        settings = self._plan.settings
        return stage_source(
            self._root / key,
            source,
            self._encoder,
            self._known,
            max_rows=settings.max_rows_per_source,
            piece_texts=min(PIECE_TEXTS, settings.segment_limits(self._encoder.dimension).texts),
            on_row=lambda: None,
        )

    def _files(self) -> list[str]:
        pieces = [piece.folder for staged in self._staged.values() for piece in staged.pieces]
        files = [file for piece in pieces for file in piece.iterdir()]
        return [DESCRIPTIONS, *(file.relative_to(self._root).as_posix() for file in files)]


def _opened(
    plan: BuildPlan, shard: Sequence[tuple[int, PlannedSource]]
) -> Iterable[tuple[int, Source | SkippedSource]]:
    """Yield what a shard's addresses open, named as it was asked for, with its place among the plan's entries."""
    opened = open_numbered(
        [planned.address for _, planned in shard],
        licenses=allowed_licenses(plan.settings.licenses),
        limits=plan.settings.limits(),
    )
    for number, one in opened:
        place, planned = shard[number]
        if isinstance(one, SkippedSource):
            yield place, replace(one, source=printable(_as_given(one.source, planned)))
        elif planned.hub and one.reopen is not None:
            # It is opened again as it is by then, and not at this commit.
            yield place, replace(one, address=planned.given, reopen=_as_given(one.reopen, planned))
        else:
            yield place, replace(one, address=planned.given)


def _as_given(address: str, planned: PlannedSource) -> str:
    """Return an address, or one that begins like it, as it was before it was pinned."""
    if address == printable(planned.address):
        return planned.given
    pinned, given = planned.address.partition(":")[0], planned.given.partition(":")[0]
    return given + address.removeprefix(pinned) if planned.hub and address.startswith(pinned) else address


def _encoder_of(plan: BuildPlan, given: str | Encoder | None) -> Encoder:
    about = plan.encoder
    encoder = load_encoder(about["name"] if given is None else given)
    identity = encoder_identity(encoder)
    if (encoder.dimension, identity) != (about["dimension"], about["identity"]):
        raise RowIndexError(
            f"The plan is for encoder `{about['name']}` ({about['dimension']} dimensions, identity "
            f"{about['identity'][:12]}); this rank has `{encoder.name}` ({encoder.dimension} dimensions, identity "
            f"{identity[:12]}). Give the step the same encoder, or plan again in another folder."
        )
    return encoder
