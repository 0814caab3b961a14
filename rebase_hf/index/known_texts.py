"""Which texts already have a vector, and where it lies: each distinct text is encoded once."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# 24 bytes a text: 720 MB. The texts beyond are encoded again where they come again.
MAX_TEXTS = 30_000_000


def text_digest(text: str) -> bytes:
    """Return what tells embedded texts apart, 16 bytes."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def digest_table(digests: bytes | bytearray) -> Array:
    """Return digests that stand one after the other as uint64 (texts, 2)."""
    return np.frombuffer(bytes(digests), dtype="<u8").reshape(-1, 2)


@dataclass(frozen=True, slots=True)
class _Table:
    """Texts by rising first half of their digests."""

    first: Array
    second: Array
    holder: Array
    place: Array

    def find(self, digests: Array) -> tuple[Array, Array]:
        """Return which of the digests are in it, and the entry of each."""
        at = np.minimum(np.searchsorted(self.first, digests[:, 0]), len(self.first) - 1)
        # Of two texts with one first half only the first is found; the other is encoded again, which harms nothing.
        return (self.first[at] == digests[:, 0]) & (self.second[at] == digests[:, 1]), at


class KnownTexts:
    """Vectors that lie in files, found by their texts' digests."""

    def __init__(self, max_texts: int = MAX_TEXTS) -> None:
        self._max_texts = max_texts
        self._holders: list[Callable[[], Array]] = []
        self._tables: list[_Table] = []
        self._count = 0

    def add(self, digests: Array, open_vectors: Callable[[], Array]) -> None:
        """Take in texts.

        Args:
            digests: uint64 (texts, 2).
            open_vectors: Gives their vectors, float16 (texts, dimension), memory-mapped. Called when one is needed: a
                process may not have as many files open as there are sources.
        """
        if not len(digests) or self._count + len(digests) > self._max_texts:
            return
        order = np.argsort(digests[:, 0], kind="stable")
        holder = np.full(len(order), len(self._holders), np.int32)
        self._tables.append(_Table(digests[order, 0], digests[order, 1], holder, order.astype(np.uint32)))
        self._holders.append(open_vectors)
        self._count += len(digests)
        # A few tables, each at least twice as long as the next: every text is moved some 20 times at most.
        while len(self._tables) > 1 and len(self._tables[-2].first) < 2 * len(self._tables[-1].first):
            self._tables.append(_merged(self._tables.pop(-2), self._tables.pop()))

    def find(self, digests: Array) -> tuple[Array, Array | None]:
        """Return which texts are known, bool (texts), and the vectors of these in order, float16; None if none is."""
        known = np.zeros(len(digests), dtype=bool)
        holders, places = np.zeros(len(digests), np.int32), np.zeros(len(digests), np.uint32)
        for table in self._tables:
            held, at = table.find(digests)
            known |= held
            holders[held], places[held] = table.holder[at[held]], table.place[at[held]]
        if not known.any():
            return known, None
        holders, places = holders[known], places[known]
        vectors: Array | None = None
        for holder in np.unique(holders).tolist():
            own, held = holders == holder, self._holders[holder]()
            if vectors is None:
                vectors = np.empty((len(places), held.shape[1]), np.float16)
            vectors[own] = held[places[own]]
        return known, vectors


def _merged(one: _Table, other: _Table) -> _Table:
    first = np.concatenate([one.first, other.first])
    order = np.argsort(first, kind="stable")
    return _Table(
        first[order],
        np.concatenate([one.second, other.second])[order],
        np.concatenate([one.holder, other.holder])[order],
        np.concatenate([one.place, other.place])[order],
    )
