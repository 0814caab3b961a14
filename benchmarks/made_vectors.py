"""Vectors for measuring an index: embeddings of real texts, and as many more made between them as are asked for.

The real ones are MiniLM embeddings of distinct cells of the kit at `REBASE_KIT`, a fair sample of all of them, whole,
by the int8 runtime; the others are normalise((1 - t) x + t y + noise) of a real x and one of its 16 nearest neighbours
y, t of .15 to .5, noise of half the norm of x - y. Made ones crowd around real ones, so they are harder to tell apart
than as many real ones would be: recall of such a set is on the low side. Without a kit the "real" ones are clusters of
random directions, and the benchmark says so. Everything is kept in the folder given, and is the same for the same
seed.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

DIMENSION = 384
NEIGHBOURS = 16
CLUSTERS = 400
BLOCK = 8192
ENCODER = "onnx-int8:"


def vectors_and_queries(folder: Path, count: int, queries: int, *, real: int, seed: int = 0) -> tuple[Path, Path, str]:
    """Return the .npy files of the vectors (count, 384) and the queries, float32, and what they are, in words.

    The queries are real rows that are held out, and neighbours are of the rest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kit = os.environ.get("REBASE_KIT")
    name = f"{'kit' if kit else 'clusters'}-{real}-{count}-{queries}-{seed}"
    vectors_path, queries_path = folder / f"{name}.npy", folder / f"{name}-queries.npy"
    words_path = folder / f"{name}.txt"
    if not vectors_path.exists():
        base = embedded(folder, Path(kit), real, seed) if kit else clustered(real, seed)
        order = np.random.default_rng(seed).permutation(len(base))
        held_out, rest = base[order[:queries]], base[order[queries:]]
        np.save(queries_path, held_out)
        share = min(len(rest) / count, 1.0)
        kind = (
            "MiniLM embeddings of distinct cells" if kit else "SYNTHETIC clusters (no REBASE_KIT; recall says little)"
        )
        words_path.write_text(f"{share:.1%} {kind}, {1 - share:.1%} made between neighbours of these")
        beside = vectors_path.with_suffix(".part.npy")
        augment(rest, count, beside, seed)
        beside.rename(vectors_path)
    return vectors_path, queries_path, words_path.read_text()


def embedded(folder: Path, kit: Path, count: int, seed: int) -> Array:
    """Return the embeddings of distinct cells of the kit, float32, made once."""
    path = folder / f"kit-cells-{count}-{seed}.npy"
    if not path.exists():
        from rebase_hf.index.encoders import load_encoder

        beside = path.with_suffix(".part.npy")
        np.save(beside, load_encoder(ENCODER).encode(cells(kit, count, seed)))
        beside.rename(path)
    held: Array = np.load(path)
    return held


def cells(kit: Path, count: int, seed: int) -> list[str]:
    """Return a random sample of the distinct cells of the kit's tables."""
    import pyarrow.parquet as pq

    found: dict[str, None] = {}
    for file in sorted(kit.rglob("*.parquet")):
        for column in pq.read_table(file).columns:
            found.update((cell, None) for cell in column.to_pylist() if isinstance(cell, str) and cell.strip())
    distinct = list(found)
    chosen = np.random.default_rng(seed).permutation(len(distinct))[:count]
    return [distinct[place] for place in chosen.tolist()]


def clustered(count: int, seed: int) -> Array:
    """Return unit vectors around random centres, of falling variance by dimension, as embeddings have."""
    random = np.random.default_rng(seed)
    spread = (1.0 / np.sqrt(1.0 + np.arange(DIMENSION) / 24.0)).astype(np.float32)
    centres = random.standard_normal((CLUSTERS, DIMENSION), dtype=np.float32) * spread
    near = centres[random.integers(0, CLUSTERS, count)]
    return normalised(near + random.standard_normal((count, DIMENSION), dtype=np.float32) * spread)


def augment(base: Array, count: int, path: Path, seed: int) -> None:
    """Write `count` vectors: the base, then ones made between neighbours, block by block."""
    random = np.random.default_rng(seed + 1)
    held = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(count, base.shape[1]))
    held[: min(len(base), count)] = base[:count]
    # Texts that differ in case alone have one vector; between such ones there is nothing to make.
    apart = base[np.sort(np.unique(base, axis=0, return_index=True)[1])]
    near = neighbours(apart) if len(base) < count else np.zeros((0, 1), np.int64)
    for start in range(len(base), count, BLOCK):
        size = min(BLOCK, count - start)
        ids = random.integers(0, len(apart), size)
        x, y = apart[ids], apart[near[ids, random.integers(0, near.shape[1], size)]]
        t = random.uniform(0.15, 0.5, (size, 1)).astype(np.float32)
        noise = normalised(random.standard_normal(x.shape, dtype=np.float32))
        noise *= 0.5 * np.linalg.norm(x - y, axis=1, keepdims=True)
        held[start : start + size] = normalised((1 - t) * x + t * y + noise)
    held.flush()


def neighbours(base: Array) -> Array:
    """Return each vector's 16 nearest others."""
    near = np.empty((len(base), min(NEIGHBOURS, len(base) - 1)), np.int64)
    farness = -base.T
    for start in range(0, len(base), 256):
        scores = base[start : start + 256] @ farness
        scores[np.arange(len(scores)), np.arange(start, start + len(scores))] = 2.0
        near[start : start + 256] = np.argpartition(scores, near.shape[1], axis=1)[:, : near.shape[1]]
    return near


def exact_nearest(vectors: Array, queries: Array, k: int, mask: Array | None = None) -> tuple[Array, Array]:
    """Return ids and scores of the k nearest by float32 dot products, best first, of the masked vectors only."""
    best = np.full((len(queries), k), -2.0, np.float32)
    ids = np.full((len(queries), k), -1, np.int64)
    for start in range(0, len(vectors), 65_536):
        scores = queries @ np.asarray(vectors[start : start + 65_536]).T
        if mask is not None:
            scores[:, ~mask[start : start + 65_536]] = -2.0
        top = np.argpartition(-scores, k, axis=1)[:, :k] if scores.shape[1] > k else np.arange(scores.shape[1])[None]
        top = np.broadcast_to(top, (len(queries), top.shape[1]))
        scores = np.concatenate([best, np.take_along_axis(scores, top, 1)], axis=1)
        places = np.concatenate([ids, top + start], axis=1)
        keep = np.argsort(-scores, axis=1)[:, :k]
        best, ids = np.take_along_axis(scores, keep, 1), np.take_along_axis(places, keep, 1)
    return ids, best


def normalised(rows: Array) -> Array:
    """Return rows of unit length."""
    unit: Array = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit
