"""An encoder that makes vectors as `made_vectors` does, by a text's digest: near a base vector and a neighbour of it.

Searches of a graph of them look at about as many vectors as those of a graph of embeddings. It costs little, and what
it costs can be left out.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.index_build import DrawnEncoder
from benchmarks.made_vectors import DIMENSION, clustered, neighbours, normalised

BASE, NEAR = "made-base.npy", "made-near.npy"
COUNT = 30_000


def write_base(folder: Path) -> None:
    """Write the base vectors and their neighbours, some 10 seconds of work."""
    base = clustered(COUNT, 0)
    np.save(folder / BASE, base)
    np.save(folder / NEAR, neighbours(base))


class MadeEncoder:
    """normalise((1 - t) x + t y + noise) of a base vector x and a neighbour y, drawn by the text's digest."""

    name = "made"
    dimension = DIMENSION
    identity = "made-1"

    def __init__(self, base: np.ndarray, near: np.ndarray) -> None:
        self._base, self._near = base, near

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit vectors."""
        from rebase_hf.index.known_texts import digest_table, text_digest

        drawn = digest_table(b"".join(text_digest(text) for text in texts))
        places = drawn[:, 0] % np.uint64(len(self._base))
        x = self._base[places]
        y = self._base[self._near[places, drawn[:, 1] % np.uint64(self._near.shape[1])]]
        t = (0.15 + 0.35 * ((drawn[:, 1] >> np.uint64(8)) % np.uint64(1000) / 1000)).astype(np.float32)[:, None]
        noise = DrawnEncoder().encode(texts) * (0.5 * np.linalg.norm(x - y, axis=1, keepdims=True))
        return normalised((1 - t) * x + t * y + noise)


def made_encoder(folder: Path) -> MadeEncoder:
    """Return the encoder whose base is in a folder."""
    return MadeEncoder(np.load(folder / BASE), np.load(folder / NEAR))
