"""A usearch graph file's own links: which vectors no path leads to, and links to them put in.

A build by several threads leaves vectors out of every other's neighbours (usearch issue 735): of 1M dense ones 2.9 %.
Searching for each vector would tell, at 46 % of the build's time, and adding one again takes 35 ms; walking the links
in the saved file takes 1 s for all, and every vector has neighbours of its own, which are given a link back.
"""

from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.index.graph_layout import NODE_HEAD, bottom_links, map_graph

Array = np.ndarray[Any, Any]

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
                stream.seek(int(self._starts[node]) + NODE_HEAD)
                held = self._neighbours[node, : self._counts[node]].astype("<u4")
                stream.write(np.uint32(len(held)).astype("<u4").tobytes() + held.tobytes())


def _read(path: Path) -> _Links | None:
    held, layout = map_graph(path)
    return None if layout is None else _Links(layout.levels, layout.starts, *bottom_links(held, layout))
