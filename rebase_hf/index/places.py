"""Where rows lie: keys run through the sources in order, rows lie in the pieces of segments."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rebase_hf.index.catalog import CatalogSource

Array = np.ndarray[Any, Any]

GONE = -1  # of a piece whose source is no longer in the index


class Places:
    """Keys to rows of segments, and back.

    Attributes:
        source_starts: int64 (sources + 1): where the keys of each source begin.
    """

    def __init__(
        self, sources: Sequence[CatalogSource], piece_rows: Sequence[Sequence[int]], names: Sequence[str]
    ) -> None:
        """Lay out the keys.

        Args:
            piece_rows: For each segment the rows of its pieces.
            names: The segments' names.
        """
        numbers = {name: number for number, name in enumerate(names)}
        self._local_starts = [np.concatenate([[0], np.cumsum(rows)]).astype(np.int64) for rows in piece_rows]
        self._shifts = [np.zeros(len(rows), np.int64) for rows in piece_rows]
        self._owners = [np.full(len(rows), GONE, np.int64) for rows in piece_rows]
        starts, segments, locals_, owners = [0], [], [], []
        source_starts = [0]
        for source, one in enumerate(sources):
            for piece in one.pieces:
                segment = numbers[piece.segment]
                local = int(self._local_starts[segment][piece.number])
                self._shifts[segment][piece.number] = starts[-1] - local
                self._owners[segment][piece.number] = source
                segments.append(segment)
                locals_.append(local)
                owners.append(source)
                starts.append(starts[-1] + piece.record.rows)
            source_starts.append(starts[-1])
        self.source_starts = np.array(source_starts, np.int64)
        self._starts = np.array(starts, np.int64)
        self._segments = np.array(segments, np.int64)
        self._locals = np.array(locals_, np.int64)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def locate(self, keys: Array) -> tuple[Array, Array]:
        """Return the segment of each key, and its row there."""
        places = np.searchsorted(self._starts, keys, side="right") - 1
        return self._segments[places], keys - self._starts[places] + self._locals[places]

    def sources_of(self, keys: Array) -> Array:
        """Return the source of each key, int64."""
        return np.searchsorted(self.source_starts, keys, side="right") - 1

    def owners(self, segment: int) -> Array:
        """Return the source of each piece of a segment; GONE where it is no longer in the index."""
        return self._owners[segment]

    def shifts(self, segment: int) -> Array:
        """Return what to add to the rows of each piece of a segment for their keys."""
        return self._shifts[segment]

    def keys_of(self, segment: int, rows: Array) -> Array:
        """Return the keys of a segment's rows; of rows that are no longer in the index something meaningless."""
        pieces = np.searchsorted(self._local_starts[segment], rows, side="right") - 1
        keys: Array = rows + self._shifts[segment][pieces]
        return keys
