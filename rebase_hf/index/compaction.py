"""Which segments are written anew: those with many rows that are gone, and small ones of which there are many.

What a source leaves behind in its segment costs room and time until the segment is rewritten: at 20 % of its rows.
Each addition makes a segment, and each segment is searched by itself: eight of about the same size become one, or as
few as their limit allows, so that a text is written anew some log8(n) times in all. Those more than half full stay.
"""

from collections.abc import Collection, Sequence
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
    def living_pieces(self) -> list[PieceRecord]:
        """The pieces that are still in the index."""
        return [self.pieces[number] for number in sorted(self.living)]

    @property
    def texts(self) -> int:
        """Texts of these."""
        return sum(piece.texts for piece in self.living_pieces)


def segments_to_rewrite(
    segments: Sequence[SegmentState],
    new: Collection[PieceRecord],
    limits: SegmentLimits,
    *,
    most_dead: float = MOST_DEAD,
) -> frozenset[str]:
    """Return the names of the segments whose living pieces belong into a new one.

    Args:
        segments: Those with a living piece.
        new: The pieces that become a segment in any case.
        most_dead: Share of a segment's rows that may be gone.
    """
    chosen = {one.name: one for one in segments if one.dead_rows > most_dead * sum(piece.rows for piece in one.pieces)}
    pending = SegmentSize().plus(*new, *(piece for one in chosen.values() for piece in one.living_pieces))
    by_size: dict[int, list[SegmentState]] = {}
    for one in segments:
        # What is more than half full would be written for the sake of little.
        if one.name not in chosen and limits.fit(SegmentSize().plus(*one.living_pieces, *one.living_pieces)):
            by_size.setdefault(_size(one.texts), []).append(one)
    for size in sorted(by_size):
        joining = bool(pending.texts) and _size(pending.texts) == size
        if len(by_size[size]) + joining >= FANOUT:
            for group in _filling(by_size[size], limits):
                chosen |= {one.name: one for one in group}
                pending = pending.plus(*(piece for one in group for piece in one.living_pieces))
    return frozenset(chosen)


def _filling(crowd: Sequence[SegmentState], limits: SegmentLimits) -> list[list[SegmentState]]:
    """Return groups of two and more of the segments that fit one segment together; what fits with none stays."""
    groups: list[list[SegmentState]] = [[]]
    held = SegmentSize()
    for one in sorted(crowd, key=lambda one: one.texts):
        held = held.plus(*one.living_pieces)
        if groups[-1] and not limits.fit(held):
            groups.append([])
            held = SegmentSize().plus(*one.living_pieces)
        groups[-1].append(one)
    return [group for group in groups if len(group) > 1]


def _size(texts: int) -> int:
    size = 0
    while texts >= _SMALLEST * FANOUT ** (size + 1):
        size += 1
    return size
