"""What a usearch graph file says about itself: which vectors no path leads to.

A parallel build can leave vectors out of every other's neighbours (usearch issue 735). Searching for each vector would
tell, at 46 % of the build's time; walking the links in the saved file tells for certain, at 1 %.

The layout is that of usearch 2 (`index_dense.hpp`, `index.hpp`), little-endian: the matrix of vectors behind two
uint32 of its shape; a head of 64 bytes; five uint64 (size, connectivity, connectivity of level 0, highest level, entry);
an int16 level of each node; then the nodes: key, level, and for each level how many neighbours it has and their places.
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


def unreachable_keys(path: Path) -> Array | None:
    """Return the keys of the vectors that no path of links leads to; None where the file is laid out otherwise.

    Paths start at the nodes of the upper levels, which searches descend by.
    """
    if not path.stat().st_size:  # can't be mapped
        return None
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        layout = _layout(content)
        if layout is None:
            return None
        levels, starts, base = layout
        keys, neighbours = _bottom(content, starts, base)
    reached = np.zeros(len(levels), dtype=bool)
    front = np.flatnonzero(levels > 0) if (levels > 0).any() else np.arange(min(len(levels), 1))
    reached[front] = True
    while len(front):
        following = np.zeros(len(levels) + 1, dtype=bool)  # the last place stands for no neighbour
        for start in range(0, len(front), _BLOCK):
            following[neighbours[front[start : start + _BLOCK]]] = True
        front = np.flatnonzero(following[:-1] & ~reached)
        reached[front] = True
    return np.sort(keys[~reached])


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


def _bottom(content: mmap.mmap, starts: Array, base: int) -> tuple[Array, Array]:
    """Return the nodes' keys and their neighbours on level 0, padded with a place behind the last."""
    keys = np.empty(len(starts), np.uint64)
    neighbours = np.empty((len(starts), base), np.uint32)
    held = np.frombuffer(content, np.uint8)
    span = 14 + 4 * base
    for start in range(0, len(starts), _BLOCK):
        part = slice(start, start + _BLOCK)
        nodes = np.lib.stride_tricks.sliding_window_view(held, span)[starts[part]]
        keys[part] = np.ascontiguousarray(nodes[:, :8]).view("<u8")[:, 0]
        counts = np.ascontiguousarray(nodes[:, 10:14]).view("<u4")
        places = np.ascontiguousarray(nodes[:, 14:]).view("<u4")
        neighbours[part] = np.where(np.arange(base) < counts, places, len(starts))
    del held, nodes
    return keys, neighbours
