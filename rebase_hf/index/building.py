"""Building an index: sources opened, read one by one into pieces, put in place at one stroke.

What an index of the same encoder and settings already holds is kept, not read again. A killed build leaves the index
that was there whole, and what it had finished in `<path>.building`.
"""

import hashlib
import json
import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rebase_hf.errors import RowIndexError
from rebase_hf.index import addresses
from rebase_hf.index.build_settings import BuildSettings
from rebase_hf.index.catalog import CatalogSource
from rebase_hf.index.compaction import MOST_DEAD
from rebase_hf.index.encoders import Encoder, encoder_identity, language_warning
from rebase_hf.index.index_writing import IndexWriter, PresentIndex, present_index
from rebase_hf.index.licenses import allowed_licenses
from rebase_hf.index.manifest import MANIFEST, VERSION, is_part
from rebase_hf.index.open_files import allow_open_files
from rebase_hf.index.opening import GivenSource, open_all, told
from rebase_hf.index.pieces import EMBEDDED_CHARS
from rebase_hf.index.progress import bar
from rebase_hf.index.source_reading import read_sources
from rebase_hf.index.source_records import SkippedSource
from rebase_hf.index.sources import Source

logger = logging.getLogger(__name__)

# Where torch is loaded, each stream of `datasets` keeps a shared memory file open; some hold on to one of their own.
_FILES_A_SOURCE = 2


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
    settings.check()
    with locked(path) as root:
        opened, skipped = open_sources(sources, settings, token)
        if not opened:
            raise nothing_left(skipped)
        about = describe_encoder(encoder)
        keyed = {key_of(source, about, settings): source for source in opened}
        inputs = inputs_digest(list(keyed), skipped, settings)
        present = present_index(root)
        if present is not None and present.manifest.inputs == inputs:
            logger.info("Index %s is already built from these sources.", root)
            addresses.add(root, {key: source.reopen for key, source in keyed.items() if source.reopen})
            return
        held = {one.key: one for one in present.catalog.sources} if present is not None else {}
        found = {key: source.reopen for key, source in keyed.items() if source.reopen}
        change = IndexChange(root, [held.get(key) or source for key, source in keyed.items()], skipped, found)
        write_change(change, present, encoder, settings, inputs=inputs)
        # What an earlier build had read of other sources is of no more use.
        shutil.rmtree(building_folder(root), ignore_errors=True)


@dataclass(frozen=True, slots=True)
class IndexChange:
    """What an index should be.

    Attributes:
        wanted: Its sources in order: those that it holds already, and those to be read.
        found: By keys, where sources can be opened again.
        instead: By the key of a source to be read anew what the index holds of it, which stays where it can't be read.
    """

    root: Path
    wanted: Sequence[CatalogSource | Source]
    skipped: Sequence[SkippedSource]
    found: Mapping[str, str] = field(default_factory=dict)
    instead: Mapping[str, CatalogSource] = field(default_factory=dict)


def write_change(
    change: IndexChange,
    present: PresentIndex | None,
    encoder: Encoder | None,
    settings: BuildSettings,
    *,
    inputs: str = "",
    most_dead: float = MOST_DEAD,
) -> None:
    """Bring an index from what it is to what it should be.

    Args:
        encoder: None where nothing is to be read: what is there stays of the encoder that it is of.
        inputs: Digest of what went in.
        most_dead: Share of a segment's rows that may be of sources that are gone.

    Raises:
        RowIndexError: Nothing is left.
    """
    if encoder is not None:
        about = describe_encoder(encoder)
        warn_of_languages(encoder, [one for one in change.wanted if isinstance(one, Source)])
    elif present is not None:
        about = dict(present.manifest.encoder)
    building = building_folder(change.root)
    building.mkdir(parents=True, exist_ok=True)
    writer = IndexWriter(change.root, building, present, about, settings, most_dead=most_dead)
    keyed: list[tuple[str, CatalogSource | Source]] = []
    for one in change.wanted:
        keyed.append((one.key if isinstance(one, CatalogSource) else key_of(one, about, settings), one))
    wanted, slots, unusable = read_sources(writer, keyed, encoder, settings, change.instead)
    skipped = [*change.skipped, *unusable]
    if not wanted:
        raise nothing_left(skipped)
    addresses.add(change.root, change.found)  # before the manifest: to know too many harms nothing
    # What could not be read now may be readable next time, so such a build is not the last word on its inputs.
    writer.write(wanted, slots, skipped, inputs="" if unusable else inputs)
    addresses.keep(change.root, {one.key for one in wanted})
    for key, _ in keyed:
        shutil.rmtree(building / key, ignore_errors=True)
    if not any(building.iterdir()):
        building.rmdir()


@contextmanager
def locked(path: str | Path) -> Iterator[Path]:
    """Hold the index folder for one change at a time, and give its full path.

    Raises:
        RowIndexError: It holds something else, or can't be written.
    """
    root = Path(path).expanduser().resolve()
    _check_target(root)
    with written_alone(root):
        yield root


@contextmanager
def written_alone(root: Path) -> Iterator[None]:
    """Hold a folder for one process at a time, whoever's: the lock lies beside it.

    Raises:
        RowIndexError: It can't be written.
    """
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(root.with_name(f".{root.name}.lock")):
            yield
    except OSError as error:  # what goes wrong with reading a source never gets here
        raise RowIndexError(
            f"Index {root} could not be written: {error}. What is finished is kept; make room and build again."
        ) from error


def describe_encoder(encoder: Encoder) -> dict[str, Any]:
    """Return what a manifest says of an encoder."""
    return {"name": encoder.name, "identity": encoder_identity(encoder), "dimension": encoder.dimension}


def building_folder(root: Path) -> Path:
    """Return where an index is made."""
    return root.with_name(f"{root.name}.building")


def key_of(source: Source, encoder: Mapping[str, Any], settings: BuildSettings) -> str:
    """Return the digest of what decides a source's part of an index.

    Args:
        encoder: Its `name`, `identity` and `dimension`.
    """
    about = (encoder["identity"], encoder["dimension"])
    return source.key(VERSION, *about, settings.max_rows_per_source, EMBEDDED_CHARS)


def inputs_digest(keys: Sequence[str], skipped: Sequence[SkippedSource], settings: BuildSettings) -> str:
    """Return the digest of what goes into an index: its sources, what was left out before they were read, settings."""
    return digest([list(keys), [asdict(skip) for skip in skipped], asdict(settings)])


def open_sources(
    sources: Sequence[GivenSource], settings: BuildSettings, token: str | bool | None
) -> tuple[list[Source], list[SkippedSource]]:
    """Open what was given; each split once, and what can't be used with the reason."""
    opened: dict[str, Source] = {}
    skipped: list[SkippedSource] = []
    allowed = allowed_licenses(settings.licenses)
    with bar("Opening sources", len(sources), " sources") as shown:
        for source in open_all(sources, licenses=allowed, limits=settings.limits(), token=token):
            shown.update(1)
            if isinstance(source, SkippedSource):
                skipped.append(told(source))
            elif opened.setdefault(source.key(), source) is not source:
                skipped.append(told(duplicate(source.address)))
            allow_open_files(_FILES_A_SOURCE * len(opened))
    return list(opened.values()), skipped


def duplicate(address: str) -> SkippedSource:
    """Return the record of a source that another one already is."""
    return SkippedSource(address, "duplicate", "the same split is named twice")


def nothing_left(skipped: Sequence[SkippedSource]) -> RowIndexError:
    """Return the error that says why there is nothing to build from."""
    if not skipped:
        return RowIndexError("No source was given; name at least one, as in `--source org/name` or a local folder.")
    shown = "; ".join(f"`{skip.source}`: {skip.reason} ({skip.detail})" for skip in skipped[:5])
    more = f"; and {len(skipped) - 5} more" if len(skipped) > 5 else ""
    hint = ""
    if any(skip.reason in ("unknown_license", "license_not_allowed") for skip in skipped):
        hint = " Allow more licences with `--license ID` or `--license any`."
    return RowIndexError(f"Nothing to build from: all {len(skipped)} sources were left out. {shown}{more}.{hint}")


def digest(content: Any) -> str:
    """Return the sha256 of what JSON can hold (hex)."""
    return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()


def _check_target(root: Path) -> None:
    if root.exists() and not root.is_dir():
        raise RowIndexError(f"{root} is a file; give the index a folder of its own.")
    if root.is_dir() and not (root / MANIFEST).is_file():
        own = {addresses.ADDRESSES, f".{MANIFEST}.part", f".{addresses.ADDRESSES}.part"}  # of a build that was killed
        strange = sorted(entry.name for entry in root.iterdir() if not is_part(entry.name) and entry.name not in own)
        if strange:
            raise RowIndexError(
                f"{root} holds `{strange[0]}` and no index; give the index a folder of its own, or empty this one."
            )


def warn_of_languages(encoder: Encoder, opened: Sequence[Source]) -> None:
    """Warn of sources in languages that the encoder does not know."""
    languages = Counter(language for source in opened for language in source.language)
    for language, count in sorted(languages.items()):
        if warning := language_warning(encoder, language):
            logger.warning("%d sources are in `%s`. %s", count, language, warning)
