"""What the ranks of a build have read: a record of each, and all of them put in the plan's order."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rebase_hf.errors import RowIndexError
from rebase_hf.index.building import duplicate, inputs_digest
from rebase_hf.index.distributed_folder import SharedFolder
from rebase_hf.index.distributed_plan import BuildPlan
from rebase_hf.index.durable import sha256_file
from rebase_hf.index.pieces import PieceRecord
from rebase_hf.index.source_records import IndexedSource, SkippedSource
from rebase_hf.index.staging import source_from_dict

PART = "part.json"
DESCRIPTIONS = "descriptions.npy"  # float32 (sources that could be read, dimension)
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class PartSkip:
    """What a rank could not open.

    Attributes:
        place: Of the plan's entries.
    """

    place: int
    skip: SkippedSource


@dataclass(frozen=True, slots=True)
class PartSource:
    """A source that a rank opened.

    Attributes:
        place: Of the plan's entries; several sources of one dataset have one place.
        identity: Which split at which state it is, whatever the address.
        key: Digest of what decides its part of an index; the name of its folder.
        reopen: The address that opens it again.
        source: None where it could not be read; then `skip` says why.
    """

    place: int
    identity: str
    key: str
    address: str
    reopen: str | None
    source: IndexedSource | None
    skip: SkippedSource | None
    pieces: tuple[PieceRecord, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """What a rank has read.

    Attributes:
        plan: Digest of the plan.
        entries: In the plan's order.
        files: Size and sha256 of every file, by its path within the rank's folder.
    """

    plan: str
    rank: int
    entries: tuple[PartSkip | PartSource, ...]
    files: Mapping[str, Mapping[str, Any]]

    def to_bytes(self) -> bytes:
        """Return it as JSON."""
        return (json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n").encode()


@dataclass(frozen=True, slots=True)
class ReadSource:
    """A source of the index, and the rank that has read it."""

    part: Part
    entry: PartSource
    source: IndexedSource
    number: int  # of its vector among the rank's DESCRIPTIONS


@dataclass(frozen=True, slots=True)
class Collected:
    """What all ranks have read, in the plan's order.

    Attributes:
        skipped: What was left out before it was read, then what could not be read.
        addresses: What opens the sources again, by key; of those that could not be read, too.
        inputs: Digest of what went in, as a build by one machine would tell it; empty where it is not the last word.
    """

    sources: tuple[ReadSource, ...]
    skipped: tuple[SkippedSource, ...]
    addresses: Mapping[str, str]
    inputs: str

    def pieces(self) -> list[tuple[int, int, PieceRecord]]:
        """Return all pieces in order: the source's number, the piece's, and what is known of it."""
        return [
            (number, place, piece)
            for number, one in enumerate(self.sources)
            for place, piece in enumerate(one.entry.pieces)
        ]


def part_folder(rank: int, tasks: int) -> str:
    """Return where a rank keeps what it has read, within the shared folder."""
    return f"parts/{rank:05d}-of-{tasks:05d}"


def finished_part(folder: SharedFolder, plan: BuildPlan, rank: int) -> Part | None:
    """Return what a rank has read, once it is through.

    Raises:
        RowIndexError: Its record can't be read.
    """
    name = f"{part_folder(rank, plan.tasks)}/{PART}"
    raw = folder.read(name)
    if raw is None:
        return None
    try:
        held = json.loads(raw)
        part = Part(held["plan"], held["rank"], tuple(_entry(entry) for entry in held["entries"]), held["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise RowIndexError(f"{folder.address}/{name} is damaged: {error!r}. {_again('read', rank)}") from error
    return part if part.plan == plan.digest else None


def collect(folder: SharedFolder, plan: BuildPlan) -> Collected:
    """Return what all ranks have read.

    Raises:
        RowIndexError: Some are not through; names them.
    """
    parts = {rank: finished_part(folder, plan, rank) for rank in range(plan.tasks)}
    missing = [rank for rank, part in parts.items() if part is None]
    if missing:
        shown = ", ".join(map(str, missing[:_SHOWN])) + (", ..." if len(missing) > _SHOWN else "")
        raise RowIndexError(
            f"{len(missing)} of {plan.tasks} ranks have not read their sources yet: {shown} (no {PART} of this plan "
            f"in {folder.address}/parts). Run the reading step again with the same logging_dir: what is finished is "
            "skipped. Where datatrove says that they are completed, delete their markers (completions/) first."
        )
    return _in_order(plan, [part for part in parts.values() if part is not None])


def checked(folder: SharedFolder, name: str, about: Mapping[str, Any], remedy: str) -> Path:
    """Return a file of the shared folder, which is what was written.

    Raises:
        RowIndexError: It is missing or damaged; names it.
    """
    path = folder.fetch(name, int(about["size"]))
    if not folder.mounted and not _is(path, about):  # what was fetched for an earlier plan
        path.unlink()
        path = folder.fetch(name, int(about["size"]))
    if not path.is_file():
        raise RowIndexError(f"{folder.address}/{name} is missing. {remedy}")
    if not _is(path, about):
        raise RowIndexError(f"{folder.address}/{name} is damaged: it is not what was written there. {remedy}")
    return path


def _is(path: Path, about: Mapping[str, Any]) -> bool:
    return path.stat().st_size == int(about["size"]) and sha256_file(path) == str(about["sha256"])


def read_again(part: Part, tasks: int) -> str:
    """Return what to do about a part that is damaged."""
    return f"Delete {part_folder(part.rank, tasks)}. {_again('read', part.rank)}"


def _again(step: str, rank: int) -> str:
    return f"Delete the marker completions/{rank:05d} of the {step} step's logging_dir, and run that step again."


def _in_order(plan: BuildPlan, parts: Sequence[Part]) -> Collected:
    by_place = _by_place(parts)
    left_out: list[SkippedSource] = []
    unusable: list[SkippedSource] = []
    sources: list[ReadSource] = []
    keys: dict[str, str] = {}
    addresses: dict[str, str] = {}
    for place, planned in enumerate(plan.entries):
        if isinstance(planned, SkippedSource):
            left_out.append(planned)
        for part, number, entry in by_place.get(place, ()):
            if isinstance(entry, PartSkip):
                left_out.append(entry.skip)
            elif entry.identity in keys:
                left_out.append(duplicate(entry.address))
            else:
                keys[entry.identity] = entry.key
                if entry.reopen:
                    addresses[entry.key] = entry.reopen
                if entry.source is not None:
                    sources.append(ReadSource(part, entry, entry.source, number))
                elif entry.skip is not None:
                    unusable.append(entry.skip)
    inputs = "" if unusable else inputs_digest(list(keys.values()), left_out, plan.settings)
    return Collected(tuple(sources), (*left_out, *unusable), addresses, inputs)


def _by_place(parts: Sequence[Part]) -> dict[int, list[tuple[Part, int, PartSkip | PartSource]]]:
    """Return the entries by their place in the plan, each with its part and the number of its vector there."""
    by_place: dict[int, list[tuple[Part, int, PartSkip | PartSource]]] = {}
    for part in parts:
        number = 0
        for entry in part.entries:
            by_place.setdefault(entry.place, []).append((part, number, entry))
            number += isinstance(entry, PartSource) and entry.source is not None
    return by_place


def _entry(content: dict[str, Any]) -> PartSkip | PartSource:
    if "identity" not in content:
        return PartSkip(content["place"], SkippedSource(**content["skip"]))
    source, skip = content["source"], content["skip"]
    return PartSource(
        **{
            **content,
            "source": None if source is None else source_from_dict(source),
            "skip": None if skip is None else SkippedSource(**skip),
            "pieces": tuple(PieceRecord(**piece) for piece in content["pieces"]),
        }
    )
