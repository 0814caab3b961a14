"""Building an index: sources opened, staged one by one, merged, and put in place at one stroke.

A killed build leaves the index that was there whole, and its finished sources in `<path>.building`.
"""

import hashlib
import json
import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rebase_hf.errors import RowIndexError
from rebase_hf.home import rebase_home
from rebase_hf.index.encoders import Encoder, encoder_identity, language_warning
from rebase_hf.index.generations import BuildSettings, check_target, is_current, put_in_place
from rebase_hf.index.licenses import allowed_licenses
from rebase_hf.index.manifest import VERSION
from rebase_hf.index.opening import GivenSource, open_all
from rebase_hf.index.source_records import SkippedSource, SourceUnusable, printable
from rebase_hf.index.sources import Source
from rebase_hf.index.stages import EMBEDDED_CHARS, Digest, Stage, finished_stage, write_stage

logger = logging.getLogger(__name__)


def build_index(
    path: str | Path,
    sources: Sequence[GivenSource],
    *,
    encoder: Encoder,
    settings: BuildSettings,
    token: str | bool | None = None,
) -> None:
    """Build an index folder, or go on with one that was interrupted.

    Raises:
        RowIndexError: Nothing is left to build from, or the folder holds something else.
    """
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    settings.check()
    root = Path(path).expanduser().resolve()
    check_target(root)
    try:
        with WeakFileLock(_lock_file(root)):
            _build(root, sources, encoder, settings, token)
    except OSError as error:  # what goes wrong with reading a source never gets here
        raise RowIndexError(
            f"Index {root} could not be written: {error}. What is finished is kept; make room and build again."
        ) from error


def _build(
    root: Path,
    sources: Sequence[GivenSource],
    encoder: Encoder,
    settings: BuildSettings,
    token: str | bool | None,
) -> None:
    opened, skipped = _open_sources(sources, settings, token)
    if not opened:
        raise _nothing_left(skipped)
    identity = encoder_identity(encoder)
    parameters = (VERSION, identity, encoder.dimension, settings.max_rows_per_source, EMBEDDED_CHARS)
    keys = [source.key(*parameters) for source in opened]
    inputs = _digest([keys, [asdict(skip) for skip in skipped], asdict(settings)])
    if is_current(root, inputs):
        logger.info("Index %s is already built from these sources.", root)
        return
    _warn_of_languages(encoder, opened)
    building = root.with_name(f"{root.name}.building")
    building.mkdir(parents=True, exist_ok=True)
    stages, unusable = _write_stages(building, opened, keys, encoder, settings)
    skipped += unusable
    if not stages:
        shutil.rmtree(building)
        raise _nothing_left(skipped)
    about = {"name": encoder.name, "identity": identity, "dimension": encoder.dimension}
    # What could not be read now may be readable next time, so such a build is not the last word on its inputs.
    put_in_place(root, building, stages, skipped, about, settings, inputs="" if unusable else inputs)


def _open_sources(
    sources: Sequence[GivenSource], settings: BuildSettings, token: str | bool | None
) -> tuple[list[Source], list[SkippedSource]]:
    opened: dict[str, Source] = {}
    skipped: list[SkippedSource] = []
    allowed = allowed_licenses(settings.licenses)
    with _bar("Opening sources", len(sources), " sources") as bar:
        for source in open_all(sources, licenses=allowed, limits=settings.limits(), token=token):
            bar.update(1)
            if isinstance(source, SkippedSource):
                skipped.append(_told(source))
            elif opened.setdefault(source.key(), source) is not source:
                skipped.append(_told(SkippedSource(source.address, "duplicate", "the same split is named twice")))
    return list(opened.values()), skipped


def _bar(what: str, total: int, unit: str) -> Any:
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    return tqdm(total=total, desc=what, unit=unit, name="rebase_hf.index")  # type: ignore[no-untyped-call]


def _write_stages(
    building: Path, opened: Sequence[Source], keys: Sequence[str], encoder: Encoder, settings: BuildSettings
) -> tuple[list[Stage], list[SkippedSource]]:
    stages: list[Stage] = []
    skipped: list[SkippedSource] = []
    known: set[Digest] = set()
    limit = settings.max_rows_per_source
    total = sum(source.sample_size(limit) for source in opened)
    with _bar("Indexing rows", total, " rows") as bar:
        for source, key in zip(opened, keys, strict=True):
            if (done := finished_stage(building / key, known)) is not None:
                bar.update(done[0].source.rows)
            else:
                try:
                    done = write_stage(
                        building / key, source, encoder, known, max_rows=limit, on_row=lambda: bar.update(1)
                    )
                except SourceUnusable as error:
                    skipped.append(_told(SkippedSource(printable(source.address), error.reason, error.detail)))
                    continue
            stages.append(done[0])
            known.update(done[1])
    return stages, skipped


def _lock_file(root: Path) -> Path:
    locks = rebase_home() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    return locks / f"{_digest(str(root))[:24]}.lock"


def _told(skip: SkippedSource) -> SkippedSource:
    logger.warning("Source %s is left out (%s): %s.", skip.source, skip.reason, skip.detail)
    return skip


def _nothing_left(skipped: Sequence[SkippedSource]) -> RowIndexError:
    if not skipped:
        return RowIndexError("No source was given; name at least one, as in `--source org/name` or a local folder.")
    shown = "; ".join(f"`{skip.source}`: {skip.reason} ({skip.detail})" for skip in skipped[:5])
    more = f"; and {len(skipped) - 5} more" if len(skipped) > 5 else ""
    hint = ""
    if any(skip.reason in ("unknown_license", "license_not_allowed") for skip in skipped):
        hint = " Allow more licences with `--license ID` or `--license any`."
    return RowIndexError(f"Nothing to build from: all {len(skipped)} sources were left out. {shown}{more}.{hint}")


def _warn_of_languages(encoder: Encoder, opened: Sequence[Source]) -> None:
    languages = Counter(language for source in opened for language in source.language)
    for language, count in sorted(languages.items()):
        if warning := language_warning(encoder, language):
            logger.warning("%d sources are in `%s`. %s", count, language, warning)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()
