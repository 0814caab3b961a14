"""A usearch graph file's own links: which vectors no path leads to, and links to them put in.

A build by several threads leaves vectors out of every other's neighbours (usearch issue 735): of 1M dense ones 2.9 %.
Searching for each vector would tell, at 46 % of the build's time, and adding one again takes 35 ms; walking the links
in the saved file takes 1 s for all, and every vector has neighbours of its own, which are given a link back.

The layout is that of usearch 2 (`index_dense.hpp`, `index.hpp`), little-endian: the matrix of vectors behind two
uint32 of its shape; a head of 64 bytes; five uint64 (size, connectivity, connectivity of level 0, highest level,
entry); an int16 level of each node; then the nodes: key, level, and for each level how many neighbours it has and
their places.
"""

import mmap
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_HEAD = 64
_MAGIC = b"usearch"
_MAJOR = 2
_BLOCK = 32_768
_ROUNDS = 10
# Links to a vector that had none; one makes it reachable, a few make it found.
_LINKS = 6


def unreachable_keys(path: Path) -> Array | None:
    """Return the keys of the vectors that no path of links leads to; None where the file is laid out otherwise.

    Paths start at the nodes of the upper levels, which searches descend by.
    """
    links = _read(path)
    return None if links is None else np.sort(links.keys[~links.reached()])


def link_unreachable(path: Path) -> int | None:
    """Put links to the vectors that no path leads to into the file; None where it is laid out otherwise.

    Returns:
        How many there were.
    """
    links = _read(path)
    if links is None:
        return None
    reached = links.reached()
    strays = int(np.count_nonzero(~reached))
    for _ in range(_ROUNDS):  # a stray's neighbours may be strays themselves
        if reached.all():
            break
        for stray in np.flatnonzero(~reached).tolist():
            links.link_back(stray, reached)
        reached = links.reached()
    links.write(path)
    return strays


class _Links:
    """The links of level 0."""

    def __init__(self, levels: Array, starts: Array, keys: Array, counts: Array, neighbours: Array) -> None:
        self.keys = keys
        self._levels, self._starts, self._counts, self._neighbours = levels, starts, counts, neighbours
        self._changed: set[int] = set()
        self._led_to = np.bincount(neighbours.ravel(), minlength=len(levels) + 1)

    def reached(self) -> Array:
        """Return whether a path leads to each node."""
        reached = self._levels > 0
        if not reached.any():
            reached[:1] = True
        front = np.flatnonzero(reached)
        while len(front):
            following = np.zeros(len(reached) + 1, dtype=bool)  # the last place stands for no neighbour
            for start in range(0, len(front), _BLOCK):
                following[self._neighbours[front[start : start + _BLOCK]]] = True
            front = np.flatnonzero(following[:-1] & ~reached)
            reached[front] = True
        return reached

    def link_back(self, stray: int, reached: Array) -> None:
        """Have some neighbours of a node link to it: those with room, else one in place of its best-linked other."""
        own = self._neighbours[stray, : self._counts[stray]]
        own = own[reached[own]]
        room = own[self._counts[own] < self._neighbours.shape[1]][:_LINKS]
        for neighbour in room.tolist():
            self._neighbours[neighbour, self._counts[neighbour]] = stray
            self._counts[neighbour] += 1
        if not len(room) and len(own):
            neighbour = int(own[0])
            place = int(np.argmax(self._led_to[self._neighbours[neighbour]]))
            self._led_to[self._neighbours[neighbour, place]] -= 1
            self._neighbours[neighbour, place] = stray
            room = own[:1]
        self._led_to[stray] += len(room)
        self._changed.update(room.tolist())

    def write(self, path: Path) -> None:
        """Write the links that changed into the file."""
        with path.open("r+b") as stream:
            for node in sorted(self._changed):
                stream.seek(int(self._starts[node]) + 10)
                held = self._neighbours[node, : self._counts[node]].astype("<u4")
                stream.write(np.uint32(len(held)).astype("<u4").tobytes() + held.tobytes())


def _read(path: Path) -> _Links | None:
    if not path.stat().st_size:  # can't be mapped
        return None
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        layout = _layout(content)
        if layout is None:
            return None
        levels, starts, base = layout
        return _Links(levels, starts, *_bottom(content, starts, base))


def _layout(content: mmap.mmap) -> tuple[Array, Array, int] | None:
    """Return each node's level and where it starts, and how many neighbours level 0 holds."""
    if len(content) < 8:
        return None
    rows, width = (int(number) for number in np.frombuffer(content, "<u4", 2))
    head = 8 + rows * width
    if len(content) < head + _HEAD + 40 or content[head : head + 7] != _MAGIC:
        return None
    major = int(np.frombuffer(content, "<u2", 1, head + 7)[0])
    size, connectivity, base, _, _ = (int(n) for n in np.frombuffer(content, "<u8", 5, head + _HEAD))
    after = head + _HEAD + 40
    if major != _MAJOR or size != rows or len(content) < after + 2 * size:
        return None
    levels = np.frombuffer(content, "<i2", size, after).astype(np.int64)
    sizes = 10 + 4 + 4 * base + levels * (4 + 4 * connectivity)
    ends = np.cumsum(sizes) + after + 2 * size
    if size and int(ends[-1]) != len(content):
        return None
    return levels, ends - sizes, base


def _bottom(content: mmap.mmap, starts: Array, base: int) -> tuple[Array, Array, Array]:
    """Return the nodes' keys, and on level 0 how many neighbours and which, padded with a place behind the last."""
    keys = np.empty(len(starts), np.uint64)
    counts = np.empty(len(starts), np.int64)
    neighbours = np.empty((len(starts), base), np.uint32)
    held = np.frombuffer(content, np.uint8)
    span = 14 + 4 * base
    for start in range(0, len(starts), _BLOCK):
        part = slice(start, start + _BLOCK)
        nodes = np.lib.stride_tricks.sliding_window_view(held, span)[starts[part]]
        keys[part] = np.ascontiguousarray(nodes[:, :8]).view("<u8")[:, 0]
        counts[part] = np.ascontiguousarray(nodes[:, 10:14]).view("<u4")[:, 0]
        places = np.ascontiguousarray(nodes[:, 14:]).view("<u4")
        neighbours[part] = np.where(np.arange(base) < counts[part, None], places, len(starts))
        del nodes
    del held
    return keys, counts, neighbours
