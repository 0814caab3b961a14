"""The words of a segment's living rows: written when the segment is made, and again when a source of it is gone.

So that the statistics behind BM25 are those of the rows that can be found, whatever was in the index before.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from rebase_hf.errors import require
from rebase_hf.index.catalog import CatalogSource
from rebase_hf.index.roles import ROLES
from rebase_hf.index.segment import Segment


def source_number(key: str) -> int:
    """Return the number that the words' index knows a source by."""
    return int(key[:15], 16)


def write_words(
    folder: Path, segment: Segment, name: str, catalog: Sequence[CatalogSource], wanted: bool | None
) -> tuple[str, ...] | None:
    """Write the index of the words of those pieces of a segment that the catalog names; return its files.

    Args:
        name: The segment's name.
        wanted: None writes it where tantivy is installed, and returns None where it is not.

    Raises:
        MissingExtraError: It is wanted, and tantivy is not installed.
    """
    if wanted is None and find_spec("tantivy") is None:
        return None
    require("tantivy", what="Lexical search", extra="lexical")
    from rebase_hf.index.lexical_building import build_lexical
    from rebase_hf.index.lexical_parts import list_files

    owners = {piece.number: one for one in catalog for piece in one.pieces if piece.segment == name}
    build_lexical(folder, _rows(segment, owners), roles=ROLES)
    return list_files(folder)


def _rows(segment: Segment, owners: dict[int, CatalogSource]) -> Iterator[tuple[int, dict[str, str], int]]:
    """Yield each row that is in the index: its number in the segment, its cells' texts by role, its source."""
    for piece, one in sorted(owners.items()):
        number, roles = source_number(one.key), one.source.roles
        for row in range(*segment.piece_starts[piece : piece + 2].tolist()):
            texts: defaultdict[str, list[str]] = defaultdict(list)
            for column, text in zip(segment.rows.columns(row).tolist(), segment.rows.texts(row), strict=True):
                texts[roles[column]].append(text)
            yield row, {role: "\n".join(held) for role, held in texts.items()}, number
