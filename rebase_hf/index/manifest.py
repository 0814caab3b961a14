"""What an index folder holds: format version, encoder, counts, and size and sha256 of every file."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rebase_hf.errors import RowIndexError
from rebase_hf.index import rows_store, vectors
from rebase_hf.index.durable import sha256_file, write_bytes

FORMAT = "rebase_hf.index"
VERSION = 2
MANIFEST = "manifest.json"
SOURCES = "sources.json"
DESCRIPTIONS = "description_vectors.npy"  # float32 (sources, dimension)
FILES = (*rows_store.FILES, vectors.VECTORS, vectors.GRAPH, DESCRIPTIONS, SOURCES)
_GENERATION = re.compile(r"data-[0-9a-f]{12}(?:-\d+)?")


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest of one generation of an index.

    Attributes:
        generation: The folder that holds the files.
        fingerprint: Digest of the content: rows, vectors, sources, encoder; and the graph, if search goes through it.
        encoder: Its `name`, `identity` and `dimension`.
        counts: `sources`, `skipped`, `rows`, `cells`, `junk_cells`, `vectors`.
        parameters: What the index was built with.
        inputs: Digest of what went in; a build of the same inputs has nothing to do.
        files: For each file its `size` and `sha256`.
    """

    generation: str
    fingerprint: str
    encoder: Mapping[str, Any]
    counts: Mapping[str, int]
    parameters: Mapping[str, Any]
    inputs: str
    files: Mapping[str, Mapping[str, Any]]

    @property
    def approximate(self) -> bool:
        """Whether there are so many vectors that search goes through the graph."""
        return self.counts["vectors"] >= int(self.parameters["exact_below"])

    def to_bytes(self) -> bytes:
        """Return the file's bytes; they end with a digest of themselves."""
        content = {"format": FORMAT, "version": VERSION, **asdict(self)}
        content["sha256"] = hashlib.sha256(_canonical(content)).hexdigest()
        return _canonical(content)

    def write(self, index: Path) -> None:
        """Make this generation the one that readers open."""
        write_bytes(index / MANIFEST, self.to_bytes())


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Return size and sha256 of every file of a generation."""
    return {
        name: {"size": (folder / name).stat().st_size, "sha256": sha256_file(folder / name)} for name in sorted(FILES)
    }


def read_manifest(index: Path) -> Manifest:
    """Return an index folder's manifest.

    Raises:
        RowIndexError: There is none, it is damaged, or another version wrote it.
    """
    path = index / MANIFEST
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise RowIndexError(
            f"{index} is no index: it has no {MANIFEST}. Build one with `rebase-hf index build {index} --source ...`."
        ) from None
    try:
        content = json.loads(raw)
    except ValueError as error:
        raise RowIndexError(f"{path} is damaged: {error}. Build the index again.") from error
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
        manifest = Manifest(**{name: value for name, value in content.items() if name not in ("format", "version")})
    except TypeError as error:
        raise RowIndexError(f"{path} lacks what version {VERSION} needs: {error}.") from error
    if not _GENERATION.fullmatch(str(manifest.generation)) or set(manifest.files) != set(FILES):
        raise RowIndexError(
            f"{path} names files that an index does not have; nothing outside of it is read. Build it again."
        )
    return manifest


def check_files(index: Path, manifest: Manifest) -> None:
    """Check that every file is what the manifest says, before anything is read from it.

    Raises:
        RowIndexError: One is missing or differs; names it.
    """
    folder = index / manifest.generation
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise RowIndexError(f"Index file {path} is missing. Fetch or build the index again.")
        size = path.stat().st_size
        if size != expected["size"]:
            raise RowIndexError(
                f"Index file {path} is damaged: {size} bytes, the manifest says {expected['size']}. "
                "Fetch or build the index again."
            )
        if sha256_file(path) != expected["sha256"]:
            raise RowIndexError(
                f"Index file {path} is damaged: its sha256 is not the manifest's. Fetch or build the index again."
            )


def content_fingerprint(
    files: Mapping[str, Mapping[str, Any]],
    sources: list[dict[str, Any]],
    encoder_identity: str,
    *,
    approximate: bool,
) -> str:
    """Return the digest of what an index holds; the graph counts only where search goes through it."""
    left_out = {SOURCES} if approximate else {SOURCES, vectors.GRAPH}
    digests = {name: about["sha256"] for name, about in files.items() if name not in left_out}
    content = {"version": VERSION, "encoder": encoder_identity, "sources": sources, "files": digests}
    return hashlib.sha256(_canonical({**content, "approximate": approximate})).hexdigest()


def _canonical(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()
