"""Rows to a lexical index in a folder: streaming, in bounded memory, the same bytes for the same rows.

tantivy never merges here, and never in the background: one writer thread, parts cut where so many characters are
full, names and meta.json of our own. Parts are large, as a query costs more the more parts it meets.
"""

import json
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rebase_hf.errors import RowIndexError
from rebase_hf.index.durable import sync_file, sync_folder, write_bytes
from rebase_hf.index.lexical_parts import (
    META,
    SUFFIXES,
    Contents,
    Part,
    list_files,
    open_parts,
    read_form,
    write_contents,
)
from rebase_hf.index.lexical_words import KEY, SOURCE, TEXT, new_index, plain, role_field

# A part is as long as its postings surely fit the writer's memory in fewer than 8 turns: tantivy merges from 8 on, in
# threads of its own, and what comes of that differs from build to build.
PART_CHARS = 800_000_000
WRITER_BYTES = 800_000_000


def build_lexical(
    folder: Path,
    rows: Iterable[tuple[int, Mapping[str, str], int]],
    roles: Sequence[str],
    *,
    part_chars: int = PART_CHARS,
    writer_bytes: int = WRITER_BYTES,
) -> int:
    """Write an index of rows into a folder of its own, which is there whole or not at all; return how many rows.

    Rows stream through; memory is bounded by `writer_bytes` and what tantivy needs to write a part, whatever the rows.

    Args:
        rows: (key, text by role, number of its source); keys rise from 0 on. Numbers of sources are any up to
            2**63 - 1.
        roles: The names of all roles there are; each becomes searchable on its own, beside the row's whole text.
        part_chars: A part ends with the row that brings it to so many characters, those of roles counted again.

    Raises:
        RowIndexError: Keys don't rise, a role is none of `roles`, or it could not be written.
    """
    part_folder = folder.with_name(f".{folder.name}.part")
    for old in (part_folder, folder):
        shutil.rmtree(old, ignore_errors=True)
    part_folder.mkdir(parents=True)
    try:
        writer = _Writer(part_folder, tuple(roles), writer_bytes)
        for key, texts, source in rows:
            writer.add(key, texts, source)
            if writer.chars >= part_chars:
                writer.end_part()
        writer.close()
    except ValueError as error:  # tantivy's word for all that goes wrong, a full disk included
        raise RowIndexError(f"The lexical index {folder} could not be written: {error}.") from error
    for name in list_files(part_folder):
        sync_file(part_folder / name)
    os.replace(part_folder, folder)
    sync_folder(folder.parent)
    return writer.sources.total()


class _Writer:
    """Writes parts one after the other, each by a tantivy writer of one thread and one commit."""

    def __init__(self, folder: Path, roles: tuple[str, ...], writer_bytes: int) -> None:
        self._folder, self._roles, self._writer_bytes = folder, roles, writer_bytes
        self._fields = {role: role_field(role) for role in roles}
        self._work = folder / "work"
        self._open: tuple[Any, Any] | None = None
        self._parts: list[Part] = []
        self._form: dict[str, Any] = {}
        self._last = -1
        self.sources: Counter[int] = Counter()
        self.chars = 0

    def add(self, key: int, texts: Mapping[str, str], source: int) -> None:
        """Take one row."""
        from tantivy import Document

        if key <= self._last:
            raise RowIndexError(f"Row {key} comes after row {self._last}; expected keys that rise. Sort the rows.")
        if self._open is None:
            self._work.mkdir()
            index = new_index(self._work, self._roles)
            self._open = index, index.writer(self._writer_bytes, 1)
        if not self._fields.keys() >= texts.keys():
            unknown = ", ".join(sorted(texts.keys() - self._fields.keys()))
            raise RowIndexError(f"Row {key} has the role {unknown}; expected some of: {', '.join(self._roles)}.")
        document = Document()
        whole = plain("\n".join(texts.values()))
        document.add_text(TEXT, whole)
        self.chars += len(whole) + 1
        for role, text in texts.items():
            document.add_text(self._fields[role], plain(text))
            self.chars += len(text)
        document.add_unsigned(KEY, key)
        document.add_unsigned(SOURCE, source)
        self._open[1].add_document(document)
        self.sources[source] += 1
        self._last = key

    def end_part(self) -> None:
        """Put what has come on the disk, under a name of ours."""
        if self._open is None:
            return
        _, writer = self._open
        writer.commit()
        writer.wait_merging_threads()
        self._open, self.chars = None, 0
        self._form = read_form(self._work)
        written = json.loads((self._work / META).read_text())["segments"]
        for made in self._in_order([(uuid.UUID(one["segment_id"]).hex, one["max_doc"]) for one in written]):
            name = f"{len(self._parts):032x}"
            for suffix in SUFFIXES:
                os.replace(self._work / f"{made.name}.{suffix}", self._folder / f"{name}.{suffix}")
            self._parts.append(Part(self._folder, name, made.rows))
        shutil.rmtree(self._work)

    def close(self) -> None:
        """End the last part and write what the index consists of."""
        self.end_part()
        if not self._parts:
            self._work.mkdir()
            new_index(self._work, self._roles)
            self._form = read_form(self._work)
            shutil.rmtree(self._work)
        contents = Contents(tuple(self._parts), self._roles, dict(self.sources), self._form)
        write_bytes(self._folder / META, write_contents(contents))

    def _in_order(self, named: Sequence[tuple[str, int]]) -> list[Part]:
        """Return the parts by the keys they hold: tantivy lists them by random names when its memory was full."""
        parts = [Part(self._work, name, rows) for name, rows in named]
        if len(parts) == 1:
            return parts
        held = sorted(((_first_and_last(part, self._form), part) for part in parts), key=lambda pair: pair[0])
        if any(after[0][0] <= before[0][1] for before, after in zip(held, held[1:], strict=False)):
            raise RowIndexError(f"tantivy merged rows of {self._folder} by itself; give more `writer_bytes`.")
        return [part for _, part in held]


def _first_and_last(part: Part, form: dict[str, Any]) -> tuple[int, int]:
    from tantivy import DocAddress

    searcher, _ = open_parts([part], form)
    first, last = searcher.fast_field_values(KEY, [DocAddress(0, 0), DocAddress(0, part.rows - 1)])
    return int(first), int(last)
