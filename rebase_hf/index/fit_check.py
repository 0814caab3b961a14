"""Whether files that a manifest vouches for belong together: no key may lead nowhere, elsewhere, or out of memory.

Looked at once, when a part's files were read to be verified; what would take reading all of it is looked at in some
places, evenly spread.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rebase_hf.errors import RowIndexError
from rebase_hf.index.catalog import CatalogSource, PlacedPiece, read_catalog
from rebase_hf.index.graph_check import check_graph
from rebase_hf.index.known_texts import digest_table, text_digest
from rebase_hf.index.manifest import Manifest
from rebase_hf.index.pieces import EMBEDDED_CHARS
from rebase_hf.index.rows_store import BLOB, CELL_COLUMNS
from rebase_hf.index.segment import Segment
from rebase_hf.index.segment_writing import SEGMENT, TEXT_DIGESTS
from rebase_hf.index.vectors import GRAPH
from rebase_hf.index.words import source_number

_SAMPLE = 256  # rows of a segment whose texts are compared with what stands beside them

Owned = tuple[PlacedPiece, CatalogSource]


def check_fit(index: Path, manifest: Manifest, parts: set[str]) -> None:
    """Check that files of which each is what the manifest says belong together.

    Args:
        parts: Names of the parts that were read just now; others were checked when they were.

    Raises:
        RowIndexError: Some don't; names one.
    """
    dimension = int(manifest.encoder["dimension"])
    if not parts:
        return
    catalog = read_catalog(index / manifest.catalog.name)
    held = catalog.description_vectors.shape
    if held[1] != dimension:
        raise RowIndexError(
            f"{index / manifest.catalog.name} has description vectors of {held[1]} dimensions, the encoder makes "
            f"{dimension}; it is of another index."
        )
    owners: dict[str, list[Owned]] = {}
    for one in catalog.sources:
        for piece in one.pieces:
            owners.setdefault(piece.segment, []).append((piece, one))
    for segment in manifest.segments:
        owned = owners.get(segment.rows.name, ())
        if segment.rows.name in parts:
            _check_segment(Segment(index / segment.rows.name), dimension, owned)
        if segment.words is not None:
            _check_words(index / segment.words.name, segment.rows.name, owned)


def _check_words(folder: Path, segment: str, owned: Sequence[Owned]) -> None:
    """Check that an index of words is of the rows of a segment that are in the catalog: others have other keys."""
    from rebase_hf.index.lexical_parts import read_contents

    rows: Counter[int] = Counter()
    for piece, one in owned:
        rows[source_number(one.key)] += piece.record.rows
    if read_contents(folder).sources != {source: count for source, count in rows.items() if count}:
        raise RowIndexError(f"{folder} does not have the words of the rows of {segment}; it is of another index.")


def _check_segment(segment: Segment, dimension: int, owned: Sequence[Owned]) -> None:
    try:
        segment.check()
    except RowIndexError as error:
        raise RowIndexError(f"Index segment {segment.folder}: {error}") from error
    if segment.dimension != dimension:
        raise RowIndexError(
            f"{segment.folder / SEGMENT} has vectors of {segment.dimension} dimensions, the encoder makes "
            f"{dimension}; it is of another index."
        )
    check_graph(segment.folder / GRAPH, segment.vectors.array, segment.scale)
    _check_texts(segment)
    starts = segment.rows.cell_starts
    for piece, one in owned:
        if not 0 <= piece.number < len(segment.pieces):
            continue  # told by the reader, with the source's name
        first, last = segment.piece_starts[piece.number : piece.number + 2].tolist()
        columns = segment.rows.cell_columns[int(starts[first]) : int(starts[last])]
        if len(columns) and (int(columns.min()) < 0 or int(columns.max()) >= len(one.source.columns)):
            raise RowIndexError(
                f"{segment.folder / CELL_COLUMNS} names columns that `{one.source.dataset}` does not have; it is of "
                "another index."
            )


def _check_texts(segment: Segment) -> None:
    """Check of some rows, evenly spread, that their texts are those which their cells' vectors are of."""
    rows, digests = segment.rows, segment.text_digests
    for row in np.unique(np.linspace(0, len(rows) - 1, min(_SAMPLE, len(rows))).astype(np.int64)).tolist():
        texts = rows.texts(row)
        held = digests[rows.cell_vectors[int(rows.cell_starts[row]) : int(rows.cell_starts[row + 1])]]
        whole = isinstance(texts, list) and all(isinstance(text, str) for text in texts)
        told = digest_table(b"".join(text_digest(text[:EMBEDDED_CHARS]) for text in texts)) if whole else None
        if told is None or not np.array_equal(held, told):
            raise RowIndexError(
                f"Row {row} of {segment.folder / BLOB} has other texts than {TEXT_DIGESTS} beside it tells of; one of "
                "them is of another index."
            )
