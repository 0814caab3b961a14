"""The nodes of a saved usearch graph put in the order in which a walk from its entry meets them.

usearch keeps nodes as they were added, which must be at random (PERFORMANCE.md section 2), so that every step of a
search reads somewhere else. Walked through, the nodes that searches pass most stand in front, and many neighbours side
by side: fewer pages are looked up. Places are the graph's own business: keys, vectors and links stay what they are,
and so does every answer. Both orders of one graph are timed by `python -m benchmarks.index_vectors`, line "order".
"""

from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.index.graph_layout import NODE_HEAD, GraphLayout, bottom_links, lists_at, map_graph, windows

Array = np.ndarray[Any, Any]

_BLOCK = 32_768


def write_in_order(path: Path, target: Path, order: Array | None = None) -> bool:
    """Write a graph's file anew with its nodes in another order; the same file makes the same bytes.

    Args:
        order: Nodes by their present places, each once; None is walking order.

    Returns:
        Whether it was: not where the file is laid out in a way that is not known, or is of no vectors.
    """
    held, layout = map_graph(path)
    if layout is None or not layout.count:
        return False
    if order is None:
        order = _walking_order(bottom_links(held, layout)[2], layout.entry)
    _write(target, held, layout, order)
    return True


def _walking_order(neighbours: Array, entry: int) -> Array:
    """Return nodes as they are met, breadth first, along the links of level 0; those never met come last."""
    count = len(neighbours)
    met = np.zeros(count + 1, dtype=bool)
    met[[entry, count]] = True  # the last place stands for no neighbour
    front = np.array([entry])
    fronts = []
    while len(front):
        fronts.append(front)
        following = neighbours[front].ravel()
        following = following[~met[following]]
        front = following[np.sort(np.unique(following, return_index=True)[1])].astype(np.int64)
        met[front] = True
    return np.concatenate([*fronts, np.flatnonzero(~met)])


def _write(target: Path, held: Array, layout: GraphLayout, order: Array) -> None:
    places = np.empty(layout.count, np.uint32)
    places[order] = np.arange(layout.count, dtype=np.uint32)
    parts = [order[start : start + _BLOCK] for start in range(0, layout.count, _BLOCK)]
    with target.open("wb") as stream:
        stream.write(held[:8].tobytes())
        matrix = held[8 : layout.matrix_end].reshape(layout.count, layout.width)
        for part in parts:
            stream.write(matrix[part].tobytes())
        stream.write(held[layout.matrix_end : layout.entry_at].tobytes())
        stream.write(places[layout.entry].astype("<u8").tobytes())
        stream.write(layout.levels[order].astype("<i2").tobytes())
        for part in parts:
            stream.write(_nodes(held, layout, part, places).tobytes())


def _nodes(held: Array, layout: GraphLayout, nodes: Array, places: Array) -> Array:
    """Return the bytes of nodes, one behind the other, their neighbours by their new places."""
    sizes, levels, starts = layout.sizes[nodes], layout.levels[nodes], layout.starts[nodes]
    ends = np.cumsum(sizes)
    made = np.zeros(int(ends[-1]), np.uint8)
    to = ends - sizes
    _windows_of(made, NODE_HEAD)[to] = windows(held, NODE_HEAD, starts)
    at = NODE_HEAD
    for level in range(int(levels.max()) + 1):
        has = levels >= level
        capacity = layout.connectivity if level else layout.base
        counts, neighbours = lists_at(held, starts[has] + at, capacity)
        linked = np.arange(capacity) < counts[:, None]
        lists = np.zeros((len(counts), 1 + capacity), "<u4")
        lists[:, 0] = counts
        lists[:, 1:][linked] = places[neighbours[linked]]
        _windows_of(made, 4 + 4 * capacity)[to[has] + at] = lists.view(np.uint8)
        at += 4 + 4 * capacity
    return made


def _windows_of(made: Array, size: int) -> Array:
    return np.lib.stride_tricks.sliding_window_view(made, size, writeable=True)
