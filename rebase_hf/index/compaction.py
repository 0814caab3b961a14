"""Which segments are written anew: those with many rows that are gone, and small ones of which there are many.

What a source leaves behind in its segment costs room and time until the segment is rewritten: at 20 % of its rows.
Each addition makes a segment, and each segment is searched by itself: eight of about the same size become one, so that
an index of n texts has some 8 log8(n) segments at most and a text is written anew some log8(n) times in all.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from rebase_hf.index.pieces import PieceRecord
from rebase_hf.index.segment_writing import SegmentLimits, SegmentSize

MOST_DEAD = 0.2
FANOUT = 8
_SMALLEST = 1_000  # texts; what is smaller counts as this


@dataclass(frozen=True, slots=True)
class SegmentState:
    """A segment as a change of the index leaves it: its pieces, and which of them are still in the index."""

    name: str
    pieces: tuple[PieceRecord, ...]
    living: frozenset[int]

    @property
    def dead_rows(self) -> int:
        """Rows of pieces that are gone."""
        return sum(piece.rows for number, piece in enumerate(self.pieces) if number not in self.living)

    @property
    def texts(self) -> int:
        """Texts of the living pieces."""
        return sum(self.pieces[number].texts for number in self.living)


def segments_to_rewrite(
    segments: Sequence[SegmentState], new: Collection[PieceRecord], limits: SegmentLimits
) -> frozenset[str]:
    """Return the names of the segments whose living pieces belong into a new one.

    Args:
        segments: Those with a living piece.
        new: The pieces that become a segment in any case.
    """
    chosen = {one.name for one in segments if one.dead_rows > MOST_DEAD * sum(piece.rows for piece in one.pieces)}
    pending = [*new, *(piece for one in segments if one.name in chosen for piece in _living(one))]
    rest = {one.name: one for one in segments if one.name not in chosen}
    while (crowd := _crowded(rest, sum(piece.texts for piece in pending))) and limits.fit(
        SegmentSize().plus(*pending, *(piece for one in crowd for piece in _living(one)))
    ):
        for one in crowd:
            pending += _living(rest.pop(one.name))
            chosen.add(one.name)
    return frozenset(chosen)


def _crowded(segments: Mapping[str, SegmentState], pending_texts: int) -> list[SegmentState]:
    """Return the segments of the smallest size of which there are too many, the pending one counted."""
    by_size: dict[int, list[SegmentState]] = {}
    for one in segments.values():
        by_size.setdefault(_size(one.texts), []).append(one)
    pending = {_size(pending_texts)} if pending_texts else set()
    for size in sorted(by_size):
        if len(by_size[size]) + (size in pending) >= FANOUT:
            return by_size[size]
    return []


def _size(texts: int) -> int:
    size = 0
    while texts >= _SMALLEST * FANOUT ** (size + 1):
        size += 1
    return size


def _living(one: SegmentState) -> list[PieceRecord]:
    return [one.pieces[number] for number in sorted(one.living)]
