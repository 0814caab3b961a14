"""What an index folder holds: format version, encoder, counts, and size and sha256 of every file.

An index folder holds `manifest.json`; a catalog (its sources in order, where their rows lie); segments, which never
change; and beside a segment the words of its living rows. What is added, refreshed or removed makes a new catalog
and, for new rows, a new segment; the manifest that names them is written last, and what it does not name is no part
of the index.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rebase_hf.errors import RowIndexError
from rebase_hf.index.catalog import CATALOG_FILES, Catalog
from rebase_hf.index.durable import sha256_file, write_bytes
from rebase_hf.index.segment_writing import SEGMENT_FILES
from rebase_hf.index.vectors import GRAPH

FORMAT = "rebase_hf.index"
VERSION = 4
MANIFEST = "manifest.json"
COUNTS = ("sources", "skipped", "rows", "cells", "junk_cells", "texts", "vectors", "dead_rows")
PARAMETERS = ("max_rows_per_source", "exact_below", "embedded_chars")  # those that are read again
PART_NAME = re.compile(r"(?:segment|words|catalog)-[0-9a-f]{12}")
_OLDER_NAME = re.compile(r"data-[0-9a-f]{12}(-\d+)?")  # of versions 1 and 2
_WORDS_FILE = re.compile(r"meta\.json|[0-9a-f]{32}\.[a-z]{2,10}")


@dataclass(frozen=True, slots=True)
class IndexPart:
    """A folder of an index: `segment-`, `words-` or `catalog-` and the beginning of a digest of what it holds.

    Attributes:
        files: For each file its `size` and `sha256`.
    """

    name: str
    files: Mapping[str, Mapping[str, Any]]

    @property
    def bytes(self) -> int:
        """The size of all files together."""
        return sum(int(about["size"]) for about in self.files.values())


@dataclass(frozen=True, slots=True)
class IndexSegment:
    """A segment, and the words of those of its rows that are in the index (None where words are not indexed)."""

    rows: IndexPart
    words: IndexPart | None


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest of an index.

    Attributes:
        fingerprint: Digest of the content: rows, vectors, sources, encoder; and the graphs, if search goes through
            them.
        encoder: Its `name`, `identity` and `dimension`.
        counts: `sources`, `skipped`, `rows`, `cells`, `junk_cells`, `texts` (of each piece), `vectors` (stored ones),
            `dead_rows` (of sources that are no longer in the index).
        parameters: What the index was built with.
        inputs: Digest of what went in; a build of the same inputs has nothing to do.
    """

    fingerprint: str
    encoder: Mapping[str, Any]
    counts: Mapping[str, int]
    parameters: Mapping[str, Any]
    inputs: str
    catalog: IndexPart
    segments: tuple[IndexSegment, ...]

    @property
    def approximate(self) -> bool:
        """Whether there are so many texts that search goes through the graphs."""
        return self.counts["texts"] >= int(self.parameters["exact_below"])

    @property
    def parts(self) -> Iterator[IndexPart]:
        """The folders that the index consists of."""
        yield self.catalog
        for segment in self.segments:
            yield segment.rows
            if segment.words is not None:
                yield segment.words

    def files(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield every file, as a path within the index, with its `size` and `sha256`."""
        for part in self.parts:
            for name, about in sorted(part.files.items()):
                yield f"{part.name}/{name}", about

    def to_bytes(self) -> bytes:
        """Return the file's bytes; they end with a digest of themselves."""
        content = {"format": FORMAT, "version": VERSION, **asdict(self)}
        content["sha256"] = hashlib.sha256(_canonical(content)).hexdigest()
        return _canonical(content)

    def write(self, index: Path) -> None:
        """Make this the index that readers open."""
        write_bytes(index / MANIFEST, self.to_bytes())


def describe_files(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return size and sha256 of files in a folder."""
    return {
        name: {"size": (folder / name).stat().st_size, "sha256": sha256_file(folder / name)} for name in sorted(names)
    }


def part_name(kind: str, files: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the name of a folder that holds these files."""
    return f"{kind}-{hashlib.sha256(_canonical({k: dict(v) for k, v in files.items()})).hexdigest()[:12]}"


def is_part(name: str) -> bool:
    """Return whether a folder of this name is a part of an index, perhaps of an older one."""
    return bool(PART_NAME.fullmatch(name) or _OLDER_NAME.fullmatch(name))


def read_manifest(index: Path) -> Manifest:
    """Return an index folder's manifest.

    Raises:
        RowIndexError: There is none, it is damaged, or another version wrote it.
    """
    path = index / MANIFEST
    content, raw = _read(index)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise RowIndexError(f"{path} is no manifest of an index: expected `format` to be `{FORMAT}`.")
    if content.get("version") != VERSION:
        raise RowIndexError(
            f"{path} has format version {content.get('version')}; this release reads version {VERSION}. "
            "Install the release that wrote it, or build the index again."
        )
    digest = content.pop("sha256", None)
    if digest != hashlib.sha256(_canonical(content)).hexdigest() or raw != _canonical({**content, "sha256": digest}):
        raise RowIndexError(f"{path} is damaged: it does not match its own sha256. Build the index again.")
    try:
        manifest = _manifest({name: value for name, value in content.items() if name not in ("format", "version")})
    except (TypeError, KeyError, AttributeError) as error:
        raise RowIndexError(f"{path} lacks what version {VERSION} needs: {error}.") from error
    if not _stays_inside(manifest):
        raise RowIndexError(
            f"{path} names files that an index does not have; nothing outside of it is read. Build it again."
        )
    return manifest


def check_not_newer(index: Path) -> None:
    """Raise RowIndexError where a later release wrote the manifest: such an index is not to be replaced."""
    try:
        content, _ = _read(index)
    except RowIndexError:
        return
    version = content.get("version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > VERSION:
        raise RowIndexError(
            f"{index / MANIFEST} has format version {version}; this release writes version {VERSION}. Install the "
            "release that wrote it, or give the index another folder."
        )


def content_fingerprint(
    catalog: Catalog, encoder_identity: str, segments: Iterable[IndexSegment], *, approximate: bool
) -> str:
    """Return the digest of what an index holds.

    The same sources in the same order give the same, however the index came to hold them; where search goes through
    the graphs, these count too.
    """
    held = [[asdict(one.source), [piece.record.content for piece in one.pieces]] for one in catalog.sources]
    graphs = [segment.rows.files[GRAPH]["sha256"] for segment in segments] if approximate else []
    content = {"version": VERSION, "encoder": encoder_identity, "sources": held, "graphs": graphs}
    return hashlib.sha256(_canonical({**content, "approximate": approximate})).hexdigest()


def _read(index: Path) -> tuple[Any, bytes]:
    path = index / MANIFEST
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise RowIndexError(
            f"{index} is no index: it has no {MANIFEST}. Build one with `rebase-hf index build {index} --source ...`."
        ) from None
    try:
        return json.loads(raw), raw
    except ValueError as error:
        raise RowIndexError(f"{path} is damaged: {error}. Build the index again.") from error


def _manifest(content: dict[str, Any]) -> Manifest:
    _check_types(content)
    segments = tuple(
        IndexSegment(IndexPart(**one["rows"]), None if one["words"] is None else IndexPart(**one["words"]))
        for one in content["segments"]
    )
    return Manifest(**{**content, "catalog": IndexPart(**content["catalog"]), "segments": segments})


def _check_types(content: Mapping[str, Any]) -> None:
    """Check what is read without another look: a manifest may come from anywhere.

    Raises:
        TypeError: Something is of another type; names it.
    """
    kinds = {"fingerprint": str, "encoder": dict, "counts": dict, "parameters": dict, "inputs": str, "segments": list}
    wrong = [name for name, kind in kinds.items() if not isinstance(content[name], kind)]
    wrong += [f"counts.{name}" for name in COUNTS if not isinstance(content["counts"].get(name), int)]
    encoder = {"name": str, "identity": str, "dimension": int}
    wrong += [
        f"encoder.{name}" for name, kind in encoder.items() if not isinstance(content["encoder"].get(name), kind)
    ]
    wrong += [f"parameters.{name}" for name in PARAMETERS if name not in content["parameters"]]
    if wrong:
        raise TypeError(f"`{wrong[0]}` is missing or of another type")
    parts = [content["catalog"], *(one["rows"] for one in content["segments"])]
    parts += [one["words"] for one in content["segments"] if one["words"] is not None]
    for part in parts:
        for name, about in part["files"].items():
            if not isinstance(about.get("size"), int) or not isinstance(about.get("sha256"), str):
                raise TypeError(f"`{part['name']}/{name}` has no size and sha256")


def _stays_inside(manifest: Manifest) -> bool:
    if not all(PART_NAME.fullmatch(str(part.name)) for part in manifest.parts):
        return False
    words = [segment.words for segment in manifest.segments if segment.words is not None]
    return (
        set(manifest.catalog.files) == set(CATALOG_FILES)
        and all(set(segment.rows.files) == set(SEGMENT_FILES) for segment in manifest.segments)
        and all(_WORDS_FILE.fullmatch(name) for part in words for name in part.files)
    )


def _canonical(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()
