"""The files of a lexical index: meta.json and six files a part, and how tantivy is made to read them where they lie.

tantivy would write a lock beside what it reads and give its files random names. Here the names and meta.json are ours,
so that the same rows make the same files, and reading writes nothing: a finished folder may lie on a read-only disk.
"""

import json
import os
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rebase_hf.errors import RowIndexError
from rebase_hf.index.lexical_words import ANALYSER

META = "meta.json"
LAYOUT = 2
# What SegmentReader opens of a part; without positions and stored fields two of them are all but empty.
SUFFIXES = ("fast", "fieldnorm", "idx", "pos", "store", "term")


@dataclass(frozen=True, slots=True)
class Part:
    """One tantivy segment of an index.

    Attributes:
        folder: Where its files are.
        name: What their names start with.
        rows: How many rows it holds.
    """

    folder: Path
    name: str
    rows: int


@dataclass(frozen=True, slots=True)
class Contents:
    """What a folder's meta.json says.

    Attributes:
        parts: Its parts, by the keys they hold.
        roles: The names of the roles its rows' texts were told apart by.
        sources: Rows by number of their source.
        form: Settings and schema, in tantivy's words.
    """

    parts: tuple[Part, ...]
    roles: tuple[str, ...]
    sources: dict[int, int]
    form: dict[str, Any]


def list_files(folder: Path) -> tuple[str, ...]:
    """Return the names of the files that an index consists of, sorted; there is nothing else in its folder."""
    names = [f"{part.name}.{suffix}" for part in read_contents(folder).parts for suffix in SUFFIXES]
    return tuple(sorted([META, *names]))


def read_contents(folder: Path) -> Contents:
    """Return what a folder's meta.json says.

    Raises:
        RowIndexError: It is no lexical index, or of another version.
    """
    path = folder / META
    try:
        meta = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise RowIndexError(f"{folder} is no lexical index: {error}. Build it again.") from error
    version = f"layout {LAYOUT} of {ANALYSER}"
    if not isinstance(meta, dict) or meta.get("version") != version:
        raise RowIndexError(f"{path} is of another version of the lexical index; this release reads {version}.")
    try:
        return Contents(
            parts=tuple(Part(folder, str(part["name"]), int(part["rows"])) for part in meta["parts"]),
            roles=tuple(meta["roles"]),
            sources={int(source): int(rows) for source, rows in meta["sources"]},
            form=dict(meta["tantivy"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RowIndexError(f"{path} is damaged: {error!r}. Build the lexical index again.") from error


def write_contents(contents: Contents) -> bytes:
    """Return the bytes of meta.json."""
    meta = {
        "version": f"layout {LAYOUT} of {ANALYSER}",
        "roles": contents.roles,
        "parts": [{"name": part.name, "rows": part.rows} for part in contents.parts],
        "sources": sorted(contents.sources.items()),
        "tantivy": contents.form,
    }
    return (json.dumps(meta) + "\n").encode()


def read_form(folder: Path) -> dict[str, Any]:
    """Return what a tantivy index says of itself: settings and schema."""
    meta = json.loads((folder / META).read_text())
    return {name: meta[name] for name in ("index_settings", "schema")}


def open_parts(parts: Sequence[Part], form: dict[str, Any]) -> tuple[Any, Any]:
    """Return a tantivy searcher over parts of any folders, in this order, and its schema.

    tantivy wants to write a lock beside what it reads, so it is given a passing folder of links with a meta.json over
    all parts. It maps all files when the searcher is made; the links are not needed after that.

    Raises:
        RowIndexError: tantivy can't open them.
    """
    from tantivy import Index

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True, prefix="rebase_hf-lexical-") as passing:
        view = Path(passing)
        meta = {**form, "segments": [], "opstamp": 0}
        for number, part in enumerate(parts):
            shown = uuid.UUID(int=number)
            for suffix in SUFFIXES:
                os.symlink(part.folder.absolute() / f"{part.name}.{suffix}", view / f"{shown.hex}.{suffix}")
            meta["segments"].append({"segment_id": str(shown), "max_doc": part.rows, "deletes": None})
        (view / META).write_text(json.dumps(meta))
        try:
            index = Index.open(str(view))
            index.config_reader("manual")
            return index.searcher(), index.schema
        except (ValueError, OSError) as error:
            held = ", ".join(sorted({str(part.folder) for part in parts}))
            raise RowIndexError(f"The lexical index {held} can't be opened: {error}. Build it again.") from error
