"""Vectors and stores made for the tests of the index."""

from pathlib import Path

import numpy as np

from rebase_hf.index.vectors import GRAPH, VECTORS, VectorStore, build_graph, choose_scale


def unit_vectors(count: int, dimension: int = 384, seed: int = 1) -> np.ndarray:
    return normalised(np.random.default_rng(seed).standard_normal((count, dimension)))


def normalised(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def crowded(groups: int = 40, each: int = 60, dimension: int = 48, spread: float = 0.7) -> np.ndarray:
    """Vectors in groups that lie together in the file, as the rows of sources do."""
    centres = np.repeat(unit_vectors(groups, dimension), each, axis=0).astype(np.float32)
    return normalised(centres + spread * unit_vectors(groups * each, dimension, seed=2).astype(np.float32))


def write_store(folder: Path, vectors: np.ndarray, **options) -> VectorStore:
    np.save(folder / VECTORS, vectors, allow_pickle=False)
    scale = choose_scale(vectors)
    build_graph(np.load(folder / VECTORS, mmap_mode="r"), folder / GRAPH, scale=scale, **options)
    return VectorStore(folder, scale=scale)


def expected_ids(vectors: np.ndarray, queries: np.ndarray, k: int, mask: np.ndarray | None = None) -> np.ndarray:
    products = queries.astype(np.float64) @ vectors.astype(np.float64).T
    if mask is not None:
        products[:, ~mask] = -9
    return np.argsort(-products, axis=1, kind="stable")[:, :k]


def recall(ids: np.ndarray, expected: np.ndarray) -> float:
    shared = [len(set(found) & set(right)) for found, right in zip(ids.tolist(), expected.tolist(), strict=True)]
    return float(np.mean(shared)) / expected.shape[1]
