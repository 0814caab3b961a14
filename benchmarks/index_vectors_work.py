"""Where the vectors of `index_vectors` are, what an index keeps of them, and which answers are right."""

import json
from pathlib import Path

import numpy as np

from benchmarks.made_vectors import Array, exact_nearest

K = 10
BLOCK = 65_536
# Scores this near are one: equal vectors, whose sums may differ by the order in which products are added.
SAME = 1e-6


class Work:
    """Where the vectors are, and what is made of them."""

    def __init__(self, vectors: Path, queries: Path, words: str) -> None:
        self.vectors_path, self.words = vectors, words
        self.queries = np.load(queries)
        self.folder = vectors.with_suffix("")
        self.fast = self.folder / "fast"
        self.hnswlib = self.folder / "hnswlib.bin"
        self.truth_path = self.folder / "truth_scores.npy"

    @property
    def vectors(self) -> Array:
        """The vectors, float32, memory-mapped."""
        held: Array = np.load(self.vectors_path, mmap_mode="r")
        return held

    def prepare(self) -> None:
        """Write the float16 vectors that an index keeps, and the scores of the exact answers."""
        from rebase_hf.index.vectors import VECTORS, choose_scale

        if self.truth_path.exists():
            return
        self.fast.mkdir(parents=True, exist_ok=True)
        held = self.vectors
        halves = np.lib.format.open_memmap(self.folder / VECTORS, mode="w+", dtype=np.float16, shape=held.shape)
        for start in range(0, len(held), BLOCK):
            halves[start : start + BLOCK] = held[start : start + BLOCK]
        halves.flush()
        (self.fast / VECTORS).unlink(missing_ok=True)
        (self.fast / VECTORS).symlink_to((self.folder / VECTORS).resolve())
        (self.folder / "scale.json").write_text(json.dumps(choose_scale(halves)))
        np.save(self.truth_path, exact_nearest(held, self.queries, 10 * K)[1])

    def scale(self) -> float:
        """Return the scale that an index of these vectors would have."""
        return float(json.loads((self.folder / "scale.json").read_text()))

    def recall(self, ids: Array, k: int = K, truth: Array | None = None) -> float:
        """Return how many of k vectors found score as the k-th true one does or better, by the float32 vectors.

        Distinct texts may have one vector: any of those that share the last place is right.

        Args:
            truth: Scores of the true ones, best first: (queries, k or more).
        """
        right = np.load(self.truth_path) if truth is None else truth
        held, shares = self.vectors, []
        for own, query, scores in zip(ids[:, :k], self.queries, right, strict=False):
            found = np.unique(own[own >= 0].astype(np.int64))
            shares.append(np.count_nonzero(held[found] @ query >= scores[k - 1] - SAME) / k)
        return float(np.mean(shares))
