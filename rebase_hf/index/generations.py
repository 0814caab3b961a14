"""An index folder's generations: one is the index, the next takes its place at one stroke, then the old one goes."""

import logging
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rebase_hf.errors import RowIndexError
from rebase_hf.index import vectors
from rebase_hf.index.durable import sync_folder
from rebase_hf.index.manifest import (
    MANIFEST,
    Manifest,
    check_files,
    content_fingerprint,
    describe_files,
    read_manifest,
)
from rebase_hf.index.merging import merge_stages
from rebase_hf.index.source_records import MAX_SOURCE_BYTES, MAX_SOURCE_SECONDS, SkippedSource, SourceLimits
from rebase_hf.index.stages import EMBEDDED_CHARS, Stage

logger = logging.getLogger(__name__)

_GENERATION = re.compile(r"data-[0-9a-f]{12}(-\d+)?")


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """What an index is built with, beside its sources and its encoder.

    Attributes:
        licenses: Allowed licence ids, or `any`.
        max_source_rows: Skip sources that are longer; None samples them.
        exact_below: Search looks at every vector below this many.
        max_source_bytes: As in SourceLimits, and so are `max_source_seconds` and `min_text_columns`.
    """

    max_rows_per_source: int
    licenses: tuple[str, ...] | str
    max_source_rows: int | None
    exact_below: int
    seed: int
    max_source_bytes: int | None = MAX_SOURCE_BYTES
    max_source_seconds: float | None = MAX_SOURCE_SECONDS
    min_text_columns: int = 1

    def check(self) -> None:
        """Raise RowIndexError for a number that no build can use."""
        if self.max_rows_per_source < 1:
            raise RowIndexError(f"`max_rows_per_source` is {self.max_rows_per_source}; expected 1 or more.")
        self.limits().check()

    def limits(self) -> SourceLimits:
        """Return what is taken and borne of one source."""
        return SourceLimits(
            max_source_rows=self.max_source_rows,
            max_source_bytes=self.max_source_bytes,
            max_source_seconds=self.max_source_seconds,
            min_text_columns=self.min_text_columns,
        )


def check_target(root: Path) -> None:
    """Raise RowIndexError when the folder holds something that is no index."""
    if root.exists() and not root.is_dir():
        raise RowIndexError(f"{root} is a file; give the index a folder of its own.")
    if root.is_dir() and not (root / MANIFEST).is_file():
        strange = sorted(entry.name for entry in root.iterdir() if not _GENERATION.fullmatch(entry.name))
        if strange:
            raise RowIndexError(
                f"{root} holds `{strange[0]}` and no index; give the index a folder of its own, or empty this one."
            )


def is_current(root: Path, inputs: str) -> bool:
    """Return whether a whole index of these inputs is there."""
    if not (root / MANIFEST).is_file():
        return False
    try:
        manifest = read_manifest(root)
        if manifest.inputs != inputs:
            return False
        check_files(root, manifest)
    except RowIndexError as error:
        logger.warning("The index that was there is built again: %s", error)
        return False
    return True


def put_in_place(
    root: Path,
    building: Path,
    stages: Sequence[Stage],
    skipped: Sequence[SkippedSource],
    encoder: dict[str, Any],
    settings: BuildSettings,
    *,
    inputs: str,
) -> None:
    """Merge finished sources, and make the result the index that readers open, at one stroke.

    Args:
        encoder: Its `name`, `identity` and `dimension`.
        inputs: Digest of what went in.
    """
    merged = building / "merged"
    counts, scale = merge_stages(stages, skipped, merged, dimension=encoder["dimension"], seed=settings.seed)
    files = describe_files(merged)
    fingerprint = content_fingerprint(
        files,
        [asdict(stage.source) for stage in stages],
        encoder["identity"],
        approximate=counts["vectors"] >= settings.exact_below,
    )
    root.mkdir(parents=True, exist_ok=True)
    manifest = Manifest(
        generation=_free_name(root, f"data-{fingerprint[:12]}"),
        fingerprint=fingerprint,
        encoder=encoder,
        counts=counts,
        parameters={
            **asdict(settings),
            "embedded_chars": EMBEDDED_CHARS,
            "scale": scale,
            "connectivity": vectors.CONNECTIVITY,
            "expansion_add": vectors.EXPANSION_ADD,
        },
        inputs=inputs,
        files=files,
    )
    os.replace(merged, root / manifest.generation)
    sync_folder(root)
    manifest.write(root)
    for old in root.iterdir():
        if _GENERATION.fullmatch(old.name) and old.name != manifest.generation:
            shutil.rmtree(old)
    shutil.rmtree(building)


def _free_name(root: Path, name: str) -> str:
    """Return a generation's folder name that readers of the present manifest do not read; leftovers are removed."""
    present = None
    if (root / MANIFEST).is_file():
        try:
            present = read_manifest(root).generation
        except RowIndexError as error:
            logger.warning("The index that was there is replaced: %s", error)
    chosen = name if name != present else f"{name}-2"
    shutil.rmtree(root / chosen, ignore_errors=True)
    return chosen
