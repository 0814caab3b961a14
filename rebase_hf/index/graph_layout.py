"""How usearch lays a graph out in a file, little-endian, as of version 2 (`index_dense.hpp`, `index.hpp`).

The matrix of vectors behind two uint32 of its shape; a head of 64 bytes; five uint64 (size, connectivity, connectivity
of level 0, highest level, entry); an int16 level of each node; then the nodes: key, level, and for each level how many
neighbours it has and their places.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

NODE_HEAD = 10  # key and level
_HEAD = 64
_MAGIC = b"usearch"
_MAJOR = 2
_BLOCK = 32_768


@dataclass(frozen=True, slots=True)
class GraphLayout:
    """Where things are in a graph's file.

    Attributes:
        width: Bytes of a vector.
        connectivity: How many neighbours a node may have on the upper levels.
        base: The same of level 0.
        entry: The node that searches start from.
        levels: Each node's highest level, int64.
        starts: Where each node starts, int64.
    """

    width: int
    connectivity: int
    base: int
    entry: int
    levels: Array
    starts: Array

    @property
    def count(self) -> int:
        """How many nodes there are, one for each vector."""
        return len(self.levels)

    @property
    def matrix_end(self) -> int:
        """Where the vectors end and the head starts."""
        return 8 + self.count * self.width

    @property
    def entry_at(self) -> int:
        """Where the entry is written."""
        return self.matrix_end + _HEAD + 32

    @property
    def levels_at(self) -> int:
        """Where the nodes' levels start."""
        return self.matrix_end + _HEAD + 40

    @property
    def sizes(self) -> Array:
        """Bytes of each node."""
        return node_sizes(self.levels, self.connectivity, self.base)


def node_sizes(levels: Array, connectivity: int, base: int) -> Array:
    """Return how many bytes nodes of these levels take."""
    sizes: Array = NODE_HEAD + 4 + 4 * base + levels * (4 + 4 * connectivity)
    return sizes


def map_graph(path: Path) -> tuple[Array, GraphLayout | None]:
    """Return a graph's file as bytes, memory-mapped, and its layout: None where it is laid out otherwise."""
    if not path.stat().st_size:  # can't be mapped
        return np.zeros(0, np.uint8), None
    held = np.asarray(np.memmap(path, np.uint8, mode="r"))
    return held, _layout(held)


def lists_at(held: Array, starts: Array, capacity: int) -> tuple[Array, Array]:
    """Return how many neighbours the lists that start there hold, (n,), and which, uint32 (n, capacity)."""
    lists = windows(held, 4 + 4 * capacity, starts).view("<u4")
    return lists[:, 0], lists[:, 1:]


def windows(held: Array, size: int, starts: Array) -> Array:
    """Return a copy of so many bytes from each start: (starts, size)."""
    return np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(held, size)[starts])


def bottom_links(held: Array, layout: GraphLayout) -> tuple[Array, Array, Array]:
    """Return the nodes' keys, and on level 0 how many neighbours and which, padded with a place behind the last."""
    keys = np.empty(layout.count, np.uint64)
    counts = np.empty(layout.count, np.int64)
    neighbours = np.empty((layout.count, layout.base), np.uint32)
    for start in range(0, layout.count, _BLOCK):
        part = slice(start, start + _BLOCK)
        keys[part] = windows(held, 8, layout.starts[part]).view("<u8")[:, 0]
        counts[part], places = lists_at(held, layout.starts[part] + NODE_HEAD, layout.base)
        neighbours[part] = np.where(np.arange(layout.base) < counts[part, None], places, layout.count)
    return keys, counts, neighbours


def _layout(held: Array) -> GraphLayout | None:
    if len(held) < 8:
        return None
    rows, width = (int(number) for number in held[:8].view("<u4"))
    head = 8 + rows * width
    after = head + _HEAD + 40
    if len(held) < after or held[head : head + 7].tobytes() != _MAGIC:
        return None
    major = int(np.frombuffer(held[head + 7 : head + 9].tobytes(), "<u2")[0])
    fields = np.frombuffer(held[head + _HEAD : after].tobytes(), "<u8")
    size, connectivity, base, _, entry = (int(number) for number in fields)
    if major != _MAJOR or size != rows or len(held) < after + 2 * size:
        return None
    levels = np.frombuffer(held[after : after + 2 * size].tobytes(), "<i2").astype(np.int64)
    sizes = node_sizes(levels, connectivity, base)
    ends = np.cumsum(sizes) + after + 2 * size
    if size and (int(ends[-1]) != len(held) or entry >= size):
        return None
    return GraphLayout(width, connectivity, base, entry, levels, ends - sizes)
