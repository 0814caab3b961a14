"""Whether a usearch graph file can be searched: usearch follows whatever links a file holds, out of its memory too.

A file's sha256 says that it is the one that the index's author vouches for, and an author may be a stranger. So every
link is looked at once, when the file is verified: it leads to a node that there is, on a level which that node has.
The layout is that of usearch 2, as `graph_audit.py` tells it.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.errors import RowIndexError
from rebase_hf.index.quantising import quantise

logger = logging.getLogger(__name__)

Array = np.ndarray[Any, Any]

_MAGIC = b"usearch"
_MAJOR = 2
_HEAD = 64
_I8 = 23  # usearch's number for the kind of its vectors
_NODE = 10  # a node's key and level, before its links
_MOST_LINKS = 4096  # of a node; sums of more could run over
_BLOCK = 32_768
_SAMPLE = 256


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the nodes are.

    Attributes:
        levels: int64 (nodes), and `starts` in the file.
        base: How many links level 0 has room for, `upper` the levels above it.
    """

    levels: Array
    starts: Array
    base: int
    upper: int


def check_graph(path: Path, vectors: Array, scale: float) -> None:
    """Check that no search can be led out of a graph, and that it is one of these vectors (of some, evenly spread).

    Files of another layout than usearch 2's are left to usearch.

    Args:
        vectors: float16 (vectors, dimension).
        scale: By which they were made the graph's codes.

    Raises:
        RowIndexError: A search could, or it is of others; names the file.
    """
    held: Array = np.memmap(path, np.uint8, "r")
    fault = _fault(held, vectors, scale)
    if fault is not None:
        raise RowIndexError(f"{path} is no graph that can be searched: {fault}. Fetch or build the index again.")


def _fault(held: Array, vectors: Array, scale: float) -> str | None:
    rows, width = (int(number) for number in held[:8].view("<u4"))
    head = 8 + rows * width
    if (rows, width) != vectors.shape or len(held) < head + _HEAD + 40 or held[head : head + 7].tobytes() != _MAGIC:
        return f"it has no head of usearch behind {len(vectors)} vectors"
    if _number(held, head + 7, "<u2") != _MAJOR:
        logger.debug("The graph is laid out in a way that is not known; its links were not looked at.")
        return None
    present, deleted, dimension = (_number(held, head + place, "<u8") for place in (17, 25, 33))
    if (held[head + 14], present, deleted, dimension, held[head + 41]) != (_I8, rows, 0, width, 0):
        return "it is of other vectors than those before its head"
    layout = _layout(held, head + _HEAD, rows)
    if isinstance(layout, str):
        return layout
    if not rows:
        return None
    return _fault_in_nodes(held, layout) or _fault_in_codes(held, layout, vectors, scale)


def _fault_in_codes(held: Array, layout: _Layout, vectors: Array, scale: float) -> str | None:
    nodes = np.unique(np.linspace(0, len(vectors) - 1, _SAMPLE).astype(np.int64))
    keys = np.ascontiguousarray(_windows(held, layout.starts[nodes], 8)).view("<u8")[:, 0]
    codes = held[8 : 8 + vectors.size].view(np.int8).reshape(vectors.shape)[nodes].astype(np.int16)
    away = np.abs(codes - quantise(vectors[keys.astype(np.int64)], scale))
    return "it is of other vectors than those beside it" if int(away.max(initial=0)) > 1 else None


def _layout(held: Array, at: int, rows: int) -> _Layout | str:
    """Return where the nodes are, or what is wrong with what says so."""
    size, upper, base, highest, entry = (_number(held, at + 8 * place, "<u8") for place in range(5))
    after = at + 40 + 2 * size
    if size != rows or after > len(held):
        return f"it says that it has {size} nodes"
    levels = held[at + 40 : after].view("<i2").astype(np.int64)
    if rows and (int(levels.min()) < 0 or int(levels.max()) != highest or entry >= rows or levels[entry] != highest):
        return "its levels do not fit each other"
    if max(upper, base) > _MOST_LINKS:
        return f"it says that a node has {max(upper, base)} links"
    ends = np.cumsum(_NODE + 4 + 4 * base + levels * (4 + 4 * upper)) + after
    if (int(ends[-1]) if rows else after) != len(held):
        return "its nodes do not fill it"
    starts = np.concatenate([[after], ends[:-1]])[:rows]
    return _Layout(levels, starts, base, upper)


def _fault_in_nodes(held: Array, layout: _Layout) -> str | None:
    count = len(layout.levels)
    seen = np.zeros(count, dtype=bool)
    for nodes in _blocks(np.arange(count)):
        heads = _windows(held, layout.starts[nodes], _NODE)
        keys = np.ascontiguousarray(heads[:, :8]).view("<u8")[:, 0]
        own = np.ascontiguousarray(heads[:, 8:]).view("<i2")[:, 0]
        if int(keys.max()) >= count or not np.array_equal(own, layout.levels[nodes]):
            return "a node has a key or a level that can not be"
        seen[keys] = True
    if not seen.all():
        return "a key stands there twice"
    for level in range(int(layout.levels.max()) + 1):
        room = layout.upper if level else layout.base
        offset = _NODE + (4 + 4 * layout.base + (level - 1) * (4 + 4 * layout.upper) if level else 0)
        for nodes in _blocks(np.flatnonzero(layout.levels >= level)):
            links = np.ascontiguousarray(_windows(held, layout.starts[nodes] + offset, 4 + 4 * room)).view("<u4")
            used = np.arange(room) < links[:, :1]
            targets = links[:, 1:][used]
            if int(links[:, 0].max()) > room:
                return "a node has more links than there is room for"
            if len(targets) and (int(targets.max()) >= count or int(layout.levels[targets].min()) < level):
                return f"a link of level {level} leads nowhere"
    return None


def _blocks(nodes: Array) -> Iterator[Array]:
    for start in range(0, len(nodes), _BLOCK):
        yield nodes[start : start + _BLOCK]


def _windows(held: Array, starts: Array, width: int) -> Array:
    """Return so many bytes from each place on, (places, width)."""
    view: Array = np.lib.stride_tricks.sliding_window_view(held, width)
    return view[starts]


def _number(held: Array, at: int, kind: str) -> int:
    return int(held[at : at + np.dtype(kind).itemsize].view(kind)[0])
