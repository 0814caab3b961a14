"""The ranks' pieces to segments, and the segments to one index: the same as one machine would make of the sources.

Pieces are cut into runs that fill a segment each, in the plan's order, whichever rank has read them. So an index has
as few segments as one built by a single machine, and the same ones: a graph is built once, over the same vectors.
"""

import json
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.errors import RowIndexError
from rebase_hf.index import addresses
from rebase_hf.index.building import building_folder, digest, locked, nothing_left, written_alone
from rebase_hf.index.catalog import CatalogSource, PlacedPiece
from rebase_hf.index.distributed_folder import SharedFolder
from rebase_hf.index.distributed_parts import (
    DESCRIPTIONS,
    Collected,
    ReadSource,
    checked,
    collect,
    part_folder,
    read_again,
)
from rebase_hf.index.distributed_plan import BuildPlan
from rebase_hf.index.index_writing import IndexWriter, present_index
from rebase_hf.index.manifest import IndexPart, IndexSegment, describe_files
from rebase_hf.index.pieces import PieceRecord, StagedPiece, piece_name
from rebase_hf.index.segment import Segment
from rebase_hf.index.segment_writing import fitting_runs
from rebase_hf.index.staging import StagedSource

logger = logging.getLogger(__name__)

MADE = "made.json"


@dataclass(frozen=True, slots=True)
class Run:
    """Pieces that make a segment.

    Attributes:
        name: Its folder within the shared one; the end tells what it holds.
        pieces: The source's number, the piece's, and what is known of it.
    """

    name: str
    pieces: tuple[tuple[int, int, PieceRecord], ...]


def runs_of(collected: Collected, plan: BuildPlan) -> list[Run]:
    """Return the segments that an index of these sources has."""
    pieces = collected.pieces()
    limits = plan.settings.segment_limits(plan.encoder["dimension"])
    how = [plan.encoder, plan.settings.seed, plan.settings.expansion_add, plan.settings.words]
    runs = []
    for number, run in enumerate(fitting_runs([record for _, _, record in pieces], limits)):
        own = tuple(pieces[run.start : run.stop])
        held = digest([how, [asdict(record) for _, _, record in own]])
        runs.append(Run(f"segments/{number:06d}-{held[:12]}", own))
    return runs


def make_segments(folder: SharedFolder, plan: BuildPlan, task: int, tasks: int) -> int:
    """Make a task's share of the segments, those that are made left as they are; return how many it is.

    Raises:
        RowIndexError: A rank has not read its sources yet, or what one has read is damaged.
    """
    collected = collect(folder, plan)
    own = runs_of(collected, plan)[task::tasks]
    for run in own:
        if folder.read(f"{run.name}/{MADE}") is None:
            _make(folder, plan, collected, run, task)
    return len(own)


def merge_parts(folder: SharedFolder, plan: BuildPlan, index: str | Path) -> None:
    """Put the segments into one index folder, at one stroke, and remove what the ranks had read.

    Segments are moved where the folder is mounted on the index's own file system, and copied elsewhere. What was made
    is checked by sha256 before it is taken.

    Raises:
        RowIndexError: Something is missing or damaged, nothing is left to build from, or the index folder holds
            something else.
    """
    with locked(index) as root:
        collected = collect(folder, plan)
        if not collected.sources:
            raise nothing_left(collected.skipped)
        present = present_index(root)
        if not (present is not None and collected.inputs and present.manifest.inputs == collected.inputs):
            _merge(folder, plan, collected, root)
        addresses.add(root, collected.addresses)
        addresses.keep(root, {one.entry.key for one in collected.sources})
        for one in collected.sources:
            folder.drop(f"{part_folder(one.part.rank, plan.tasks)}/{one.entry.key}")


def _make(folder: SharedFolder, plan: BuildPlan, collected: Collected, run: Run, task: int) -> None:
    work = folder.here / run.name
    with written_alone(work):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        pieces = [_fetched(folder, plan, collected.sources[source], place) for source, place, _ in run.pieces]
        writer = IndexWriter(work, work, None, plan.encoder, plan.settings)
        name = writer.make_segment(pieces)
        words = writer.make_words(name, _catalog(collected, run, name))
        made = IndexSegment(writer.part(name), words)
        folder.publish(f"{run.name}/{file}" for file in _files(made))
        folder.write(f"{run.name}/{MADE}", json.dumps({"task": task, **asdict(made)}, indent=1).encode())
    if not folder.mounted:
        folder.drop(run.name)
        for piece in pieces:
            folder.drop(piece.folder.relative_to(folder.here).as_posix())


def _fetched(folder: SharedFolder, plan: BuildPlan, one: ReadSource, place: int) -> StagedPiece:
    """Return a piece that a rank has read, every file checked."""
    within = f"{one.entry.key}/{piece_name(place)}"
    name = f"{part_folder(one.part.rank, plan.tasks)}/{within}"
    files = [file for file in one.part.files if file.startswith(f"{within}/")]
    if not files:
        raise RowIndexError(f"{folder.address}/{name} is not recorded. {read_again(one.part, plan.tasks)}")
    for file in files:
        path = f"{part_folder(one.part.rank, plan.tasks)}/{file}"
        checked(folder, path, one.part.files[file], read_again(one.part, plan.tasks))
    return StagedPiece(folder.here / name, plan.encoder["dimension"])


def _catalog(collected: Collected, run: Run, name: str) -> list[CatalogSource]:
    """Return the sources of a run, each with its pieces in the run's segment."""
    placed: dict[int, list[PlacedPiece]] = {}
    for number, (source, _, record) in enumerate(run.pieces):
        placed.setdefault(source, []).append(PlacedPiece(name, number, record))
    read = {source: collected.sources[source] for source in placed}
    return [CatalogSource(one.entry.key, one.source, tuple(placed[source])) for source, one in read.items()]


def _merge(folder: SharedFolder, plan: BuildPlan, collected: Collected, root: Path) -> None:
    runs = runs_of(collected, plan)
    made = [folder.read(f"{run.name}/{MADE}") for run in runs]
    missing = [run.name for run, about in zip(runs, made, strict=True) if about is None]
    if missing:
        raise RowIndexError(
            f"{len(missing)} of {len(runs)} segments are not made yet: {', '.join(missing[:5])} (no {MADE} in "
            f"{folder.address}). Run the segment step again with the same logging_dir, its completions/ deleted."
        )
    tasks = [json.loads(about) for about in made if about is not None]
    _check_words(folder, runs, tasks)
    building = building_folder(root)
    building.mkdir(parents=True, exist_ok=True)
    writer = IndexWriter(root, building, None, plan.encoder, plan.settings)
    slots: list[list[PlacedPiece]] = [[] for _ in collected.sources]
    for run, about in zip(runs, tasks, strict=True):
        segment = _taken(folder, run, about, (building, root))
        writer.take(segment)
        for number, (source, _, record) in enumerate(run.pieces):
            slots[source].append(PlacedPiece(segment.rows.name, number, record))
    vectors = _description_vectors(folder, plan, collected)
    wanted = [
        StagedSource(one.entry.key, one.source, (), vector)
        for one, vector in zip(collected.sources, vectors, strict=True)
    ]
    writer.write(wanted, slots, collected.skipped, inputs=collected.inputs)
    shutil.rmtree(building, ignore_errors=True)


def _check_words(folder: SharedFolder, runs: Sequence[Run], made: Sequence[dict[str, Any]]) -> None:
    """Check that words were indexed by all tasks or by none."""
    without = [run.name for run, about in zip(runs, made, strict=True) if about["words"] is None]
    if 0 < len(without) < len(runs):
        raise RowIndexError(
            f"{len(without)} of {len(runs)} segments have no words, and the others have: {', '.join(without[:5])} in "
            f"{folder.address}. They were made where tantivy is not installed (`rebase-hf[lexical]`). Delete them and "
            "run the segment step again, its completions/ deleted, or plan with words=False in another folder."
        )


def _taken(folder: SharedFolder, run: Run, about: dict[str, Any], places: Sequence[Path]) -> IndexSegment:
    """Move a segment into the first of the places, where it does not lie in one of them already; and check it."""
    words = None if about["words"] is None else IndexPart(**about["words"])
    made = IndexSegment(IndexPart(**about["rows"]), words)
    remedy = (
        f"Delete {folder.address}/{run.name} and the marker completions/{about['task']:05d} of the segment step's "
        "logging_dir, and run that step again."
    )
    for part in (made.rows, made.words):
        if part is None:
            continue
        place = next((place / part.name for place in places if (place / part.name).is_dir()), places[0] / part.name)
        if not place.is_dir():
            for file, known in part.files.items():
                folder.fetch(f"{run.name}/{part.name}/{file}", int(known["size"]))
            if not (folder.here / run.name / part.name).is_dir():
                raise RowIndexError(f"{folder.address}/{run.name}/{part.name} is missing. {remedy}")
            shutil.move(folder.here / run.name / part.name, place)
        _check(place, part, remedy)
    return made


def _check(place: Path, part: IndexPart, remedy: str) -> None:
    """Check a segment's or its words' files; what is damaged is removed, so that it is not taken again."""
    try:
        with ThreadPoolExecutor(os.cpu_count()) as threads:  # hashing does not hold the interpreter's lock
            found = list(threads.map(lambda file: describe_files(place, [file])[file], part.files))
    except FileNotFoundError as error:
        raise RowIndexError(f"{error.filename} is missing. {remedy}") from None
    for file, about in zip(part.files, found, strict=True):
        if about != part.files[file]:
            shutil.rmtree(place)
            raise RowIndexError(f"{place.name}/{file} is damaged: it is not what its task wrote. {remedy}")
    if part.name.startswith("segment-"):
        Segment(place).check()


def _description_vectors(folder: SharedFolder, plan: BuildPlan, collected: Collected) -> list[Any]:
    by_rank: dict[int, Any] = {}
    for one in collected.sources:
        part = one.part
        if part.rank not in by_rank:
            name = f"{part_folder(part.rank, plan.tasks)}/{DESCRIPTIONS}"
            path = checked(folder, name, part.files[DESCRIPTIONS], read_again(part, plan.tasks))
            by_rank[part.rank] = np.load(path, allow_pickle=False)
    return [by_rank[one.part.rank][one.number] for one in collected.sources]


def _files(made: IndexSegment) -> Iterator[str]:
    for part in (made.rows, made.words):
        if part is not None:
            yield from (f"{part.name}/{file}" for file in part.files)
