"""One source's part of a build: a folder that is there whole, or not there.

A build that is killed goes on with the sources that have no folder yet.
"""

import hashlib
import json
import logging
import os
import shutil
from array import array
from collections.abc import Callable, Container
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.index import rows_store
from rebase_hf.index.durable import sync_file, sync_folder, write_array, write_bytes
from rebase_hf.index.encoders import Encoder, encode_texts
from rebase_hf.index.junk import ColumnJudge, is_junk
from rebase_hf.index.rows_store import BlobWriter
from rebase_hf.index.sources import IndexedSource, Source, SourceUnusable

logger = logging.getLogger(__name__)

# Texts are told apart and embedded by so much of them: MiniLM reads 256 tokens, about 1,200 characters.
EMBEDDED_CHARS = 2_000
ENCODE_BATCH = 2_048
DIGESTS = "cell_digests.npy"  # uint64 (cells, 2): which text
NEW_DIGESTS = "new_digests.npy"  # uint64 (texts, 2): the texts that no stage before holds
NEW_VECTORS = "new_vectors.f16"  # float16 (texts, dimension), raw
DESCRIPTION = "description.npy"  # float32 (dimension)
DONE = "source.json"

Digest = bytes


def text_digest(text: str) -> Digest:
    """Return what tells embedded texts apart."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Stage:
    """A finished source."""

    folder: Path
    source: IndexedSource

    @classmethod
    def load(cls, folder: Path) -> "Stage":
        """Return the finished stage in a folder."""
        return cls(folder, source_from_dict(json.loads((folder / DONE).read_text(encoding="utf-8"))))

    def array(self, name: str) -> np.ndarray[Any, Any]:
        """Return one of its arrays, memory-mapped."""
        array: np.ndarray[Any, Any] = np.load(self.folder / name, mmap_mode="r", allow_pickle=False)
        return array

    def new_vectors(self, dimension: int) -> np.ndarray[Any, Any]:
        """Return the vectors of the texts that it brought, float16 (texts, dimension)."""
        path = self.folder / NEW_VECTORS
        if not path.stat().st_size:
            return np.zeros((0, dimension), np.float16)
        return np.memmap(path, dtype=np.float16, mode="r").reshape(-1, dimension)

    def digests(self, name: str) -> list[Digest]:
        """Return the digests in one of its files, in order."""
        content = np.ascontiguousarray(self.array(name)).tobytes()
        return [content[start : start + 16] for start in range(0, len(content), 16)]


def source_from_dict(content: dict[str, Any]) -> IndexedSource:
    """Return the source that `dataclasses.asdict` wrote as JSON."""
    return IndexedSource(**{**content, "language": tuple(content["language"]), "columns": tuple(content["columns"])})


class StageWriter:
    """Writes one source's rows, cells and new vectors, a batch at a time."""

    def __init__(self, folder: Path, encoder: Encoder, known: Container[Digest]) -> None:
        self._folder, self._encoder, self._known = folder, encoder, known
        self._blob = BlobWriter(folder)
        self._vectors = (folder / NEW_VECTORS).open("wb")
        self._numbers, self._cell_starts, self._cell_columns = array("q"), array("q", [0]), array("i")
        self._junk = bytearray()
        self._judge = ColumnJudge()
        self._digests = bytearray()
        self._new: dict[Digest, None] = {}
        self._waiting: list[str] = []
        self.columns: dict[str, int] = {}

    def append(self, row: int, cells: dict[str, str]) -> None:
        """Take one row.

        Raises:
            SourceUnusable: It is longer than an index holds.
        """
        if self._blob.append(list(cells.values())) > rows_store.MAX_ROW_BYTES:
            raise SourceUnusable("row_too_large", f"row {row} takes over {rows_store.MAX_ROW_BYTES:,} bytes")
        self._numbers.append(row)
        for name, text in cells.items():
            self._cell_columns.append(self.columns.setdefault(name, len(self.columns)))
            junk = is_junk(text)
            self._junk.append(junk)
            self._judge.see(name, text, junk=junk)
            embedded = text[:EMBEDDED_CHARS]
            digest = text_digest(embedded)
            self._digests += digest
            if digest not in self._known and digest not in self._new:
                self._new[digest] = None
                self._waiting.append(embedded)
        self._cell_starts.append(len(self._cell_columns))
        if len(self._waiting) >= ENCODE_BATCH:
            self._encode()

    def close(self) -> tuple[int, list[Digest]]:
        """Put all on the disk; return the number of rows and the digests of the new texts.

        Raises:
            SourceUnusable: No cell of it says anything.
        """
        names, columns = list(self.columns), np.array(self._cell_columns, dtype=np.int32)
        junk = np.frombuffer(bytes(self._junk), dtype=np.bool_).copy()
        if junk.all():
            raise SourceUnusable(
                "no_text_columns", f"{', '.join(names) or 'its rows'} hold only numbers, ids or nothing"
            )
        junk |= np.isin(columns, [self.columns[name] for name in sorted(self._judge.junk_columns())])
        self._encode()
        self._vectors.close()
        sync_file(self._folder / NEW_VECTORS)
        self._blob.close()
        write_array(self._folder / rows_store.NUMBERS, np.array(self._numbers, dtype=np.int64))
        write_array(self._folder / rows_store.CELL_STARTS, np.array(self._cell_starts, dtype=np.int64))
        write_array(self._folder / rows_store.CELL_COLUMNS, columns)
        write_array(self._folder / rows_store.CELL_JUNK, junk)
        write_array(self._folder / DIGESTS, np.frombuffer(bytes(self._digests), dtype=np.uint64).reshape(-1, 2))
        new = np.frombuffer(b"".join(self._new), dtype=np.uint64).reshape(-1, 2)
        write_array(self._folder / NEW_DIGESTS, new)
        return len(self._numbers), list(self._new)

    def _encode(self) -> None:
        if self._waiting:
            self._vectors.write(encode_texts(self._encoder, self._waiting).astype(np.float16).tobytes())
            self._waiting.clear()


def write_stage(
    folder: Path,
    source: Source,
    encoder: Encoder,
    known: Container[Digest],
    *,
    max_rows: int,
    on_row: Callable[[], object],
) -> tuple[Stage, list[Digest]]:
    """Write a source's stage and return it with the digests of the texts that it brought.

    Args:
        known: Digests of the texts that stages before it hold; these are not encoded again.
        on_row: Called after every row.

    Raises:
        SourceUnusable: The source can't be read, or holds no text; nothing is left behind.
    """
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        writer = StageWriter(part, encoder, known)
        for row, cells in source.sampled_rows(max_rows):
            if cells:
                writer.append(row, cells)
            on_row()
        rows, new = writer.close()
    except SourceUnusable:
        shutil.rmtree(part, ignore_errors=True)
        raise
    write_array(part / DESCRIPTION, encode_texts(encoder, [source.description[:EMBEDDED_CHARS]])[0])
    about = IndexedSource(
        dataset=source.dataset,
        config=source.config,
        split=source.split,
        revision=source.revision,
        license=source.license,
        language=source.language,
        description=source.description,
        url=source.url,
        rows=rows,
        total_rows=source.total_rows,
        columns=tuple(writer.columns),
        sampling=source.sampling(max_rows),
    )
    write_bytes(part / DONE, json.dumps(asdict(about), ensure_ascii=False).encode())
    os.replace(part, folder)
    sync_folder(folder.parent)
    return Stage(folder, about), new


def finished_stage(folder: Path, known: Container[Digest]) -> tuple[Stage, list[Digest]] | None:
    """Return a stage that an earlier, killed build finished, when it can be used after the stages before it."""
    if not (folder / DONE).is_file():
        return None
    stage = Stage.load(folder)
    new = stage.digests(NEW_DIGESTS)
    own = set(new)
    if all(digest in own or digest in known for digest in stage.digests(DIGESTS)):
        return stage, new
    logger.info("Source %s is read again: sources before it have changed.", stage.source.dataset)
    shutil.rmtree(folder)
    return None
