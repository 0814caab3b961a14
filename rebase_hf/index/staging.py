"""Reading a source into pieces: what is finished survives a killed build, and nothing of it is encoded again."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.index.durable import sync_folder, write_array, write_bytes
from rebase_hf.index.encoders import Encoder, encode_texts
from rebase_hf.index.known_texts import KnownTexts
from rebase_hf.index.pieces import EMBEDDED_CHARS, TEXT_DIGESTS, PieceWriter, StagedPiece, finished_pieces, piece_name
from rebase_hf.index.roles import RoleJudge
from rebase_hf.index.source_records import IndexedSource, SourceUnusable
from rebase_hf.index.sources import Source

Array = np.ndarray[Any, Any]

SOURCE = "source.json"
DESCRIPTION = "description.npy"  # float32 (dimension)


@dataclass(frozen=True, slots=True)
class StagedSource:
    """A source that was read: what an index says of it, and its pieces.

    Attributes:
        key: Digest of what decides its part of an index.
    """

    key: str
    source: IndexedSource
    pieces: tuple[StagedPiece, ...]
    description_vector: Array


def source_from_dict(content: dict[str, Any]) -> IndexedSource:
    """Return the source that `dataclasses.asdict` wrote as JSON."""
    lists = {name: tuple(content[name]) for name in ("language", "columns", "roles")}
    return IndexedSource(**{**content, **lists})


def finished_source(folder: Path, dimension: int) -> StagedSource | None:
    """Return the source that an earlier build read into the folder, where it came to the end of it."""
    if not (folder / SOURCE).is_file():
        return None
    about = source_from_dict(json.loads((folder / SOURCE).read_text(encoding="utf-8")))
    vector = np.load(folder / DESCRIPTION, allow_pickle=False)
    return StagedSource(folder.name, about, tuple(finished_pieces(folder, dimension)), vector)


def stage_source(
    folder: Path,
    source: Source,
    encoder: Encoder,
    known: KnownTexts,
    *,
    max_rows: int,
    piece_texts: int,
    on_row: Callable[[], object],
) -> StagedSource:
    """Read a source into a folder, named by the source's key, and go on where an earlier build was killed.

    Args:
        known: Texts that need not be encoded; those of this source are added.
        piece_texts: Distinct texts of a piece.
        on_row: Called after every row.

    Raises:
        SourceUnusable: It can't be read, or holds no text; nothing is left behind.
    """
    try:
        pieces, columns, roles = _read(
            folder, source, encoder, known, max_rows=max_rows, piece_texts=piece_texts, on_row=on_row
        )
        if not any(piece.record.cells > piece.record.junk_cells for piece in pieces):
            raise SourceUnusable(
                "no_text_columns", f"{', '.join(columns) or 'its rows'} hold only numbers, ids or nothing"
            )
    except SourceUnusable:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    about = IndexedSource(
        dataset=source.dataset,
        config=source.config,
        split=source.split,
        revision=source.revision,
        license=source.license,
        language=source.language,
        description=source.description,
        url=source.url,
        rows=sum(piece.record.rows for piece in pieces),
        total_rows=source.total_rows,
        columns=columns,
        roles=roles.roles(columns),
        sampling=source.sampling(max_rows),
    )
    vector = encode_texts(encoder, [source.description[:EMBEDDED_CHARS]])[0]
    write_array(folder / DESCRIPTION, vector)
    write_bytes(folder / SOURCE, json.dumps(asdict(about), ensure_ascii=False).encode())
    sync_folder(folder.parent)
    return StagedSource(folder.name, about, tuple(pieces), vector)


def _read(
    folder: Path,
    source: Source,
    encoder: Encoder,
    known: KnownTexts,
    *,
    max_rows: int,
    piece_texts: int,
    on_row: Callable[[], object],
) -> tuple[list[StagedPiece], tuple[str, ...], RoleJudge]:
    pieces = list(finished_pieces(folder, encoder.dimension))
    for piece in pieces:
        known.add(piece.array(TEXT_DIGESTS), piece.open_vectors)
    columns = {name: number for number, name in enumerate(pieces[-1].columns if pieces else ())}
    finished, roles = pieces[-1].seen if pieces else 0, RoleJudge(source.class_columns())
    writer: PieceWriter | None = None
    seen = 0
    for seen, (row, cells) in enumerate(source.sampled_rows(max_rows), start=1):
        for name, text in cells.items():
            roles.see(name, text)
        if seen > finished and cells:
            writer = writer or PieceWriter(
                folder / piece_name(len(pieces)), encoder, known, columns, max_texts=piece_texts
            )
            writer.append(row, cells)
            if writer.full:
                _close(writer, seen, pieces, known)
                writer = None
        on_row()
    if writer is not None:
        _close(writer, seen, pieces, known)
    return pieces, tuple(columns), roles


def _close(writer: PieceWriter, seen: int, pieces: list[StagedPiece], known: KnownTexts) -> None:
    piece = writer.close(seen)
    pieces.append(piece)
    known.add(piece.array(TEXT_DIGESTS), piece.open_vectors)
