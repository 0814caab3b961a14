"""Vectors for measuring an index: embeddings of real texts, and as many more made between them as are asked for.

The real ones are MiniLM embeddings of distinct cells of the kit at `REBASE_KIT`; the others are
normalise((1 - t) x + t y + noise) of a real x and one of its 16 nearest neighbours y, t of .15 to .5, noise of half
the norm of x - y. Without a kit the "real" ones are clusters of random directions, and the
benchmark says so. Everything is kept in the folder given, and is the same for the same seed.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

DIMENSION = 384
NEIGHBOURS = 16
CLUSTERS = 400
MAX_CHARACTERS = 300  # MiniLM's time goes with the length; a cell's beginning says as much for this purpose
BLOCK = 8192


def vectors_and_queries(folder: Path, count: int, queries: int, *, real: int, seed: int = 0) -> tuple[Path, Path, str]:
    """Return the .npy files of the vectors (count, 384) and the queries, float32, and what they are, in words.

    The queries are real rows that are held out, and neighbours are of the rest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kit = os.environ.get("REBASE_KIT")
    kind = "kit" if kit else "clusters"
    base = embedded(folder, Path(kit), real) if kit else clustered(real, seed)
    order = np.random.default_rng(seed).permutation(len(base))
    held_out, rest = base[order[:queries]], base[order[queries:]]
    name = f"{kind}-{len(base)}-{count}-{queries}-{seed}"
    vectors_path, queries_path = folder / f"{name}.npy", folder / f"{name}-queries.npy"
    if not vectors_path.exists():
        np.save(queries_path, held_out)
        beside = vectors_path.with_suffix(".part.npy")
        augment(rest, count, beside, seed)
        beside.rename(vectors_path)
    made = max(count - len(rest), 0)
    words = "MiniLM embeddings of the kit's cells" if kit else "SYNTHETIC clusters: no REBASE_KIT, recall says little"
    return vectors_path, queries_path, f"{min(len(rest), count):,} {words} and {made:,} made between them"


def embedded(folder: Path, kit: Path, count: int) -> Array:
    """Return the embeddings of distinct cells of the kit, float32, made once."""
    path = folder / f"kit-cells-{count}.npy"
    if not path.exists():
        from rebase_hf.index.encoders import encode_texts, load_encoder

        texts = cells(kit, count)
        np.save(path, encode_texts(load_encoder(None), texts))
    held: Array = np.load(path)
    return held


def cells(kit: Path, count: int) -> list[str]:
    """Return distinct cells of the kit's tables, evenly from all of them."""
    import pyarrow.parquet as pq

    columns = []
    for file in sorted(kit.rglob("*.parquet")):
        table = pq.read_table(file)
        for column in table.columns:
            held = [cell[:MAX_CHARACTERS] for cell in column.to_pylist() if isinstance(cell, str) and len(cell) > 15]
            columns.append(list(dict.fromkeys(held)))
    found: dict[str, None] = {}
    for place in range(max(map(len, columns), default=0)):
        found.update(dict.fromkeys(column[place] for column in columns if place < len(column)))
        if len(found) >= count:
            break
    return list(found)[:count]


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
    near = neighbours(base)
    held = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(count, base.shape[1]))
    held[: min(len(base), count)] = base[:count]
    for start in range(len(base), count, BLOCK):
        size = min(BLOCK, count - start)
        ids = random.integers(0, len(base), size)
        x, y = base[ids], base[near[ids, random.integers(0, near.shape[1], size)]]
        t = random.uniform(0.15, 0.5, (size, 1)).astype(np.float32)
        noise = normalised(random.standard_normal(x.shape, dtype=np.float32))
        noise *= 0.5 * np.linalg.norm(x - y, axis=1, keepdims=True)
        held[start : start + size] = normalised((1 - t) * x + t * y + noise)
    held.flush()


def neighbours(base: Array) -> Array:
    """Return each vector's 16 nearest others."""
    near = np.empty((len(base), min(NEIGHBOURS, len(base) - 1)), np.int64)
    for start in range(0, len(base), 1024):
        scores = base[start : start + 1024] @ base.T
        scores[np.arange(len(scores)), np.arange(start, start + len(scores))] = -2.0
        near[start : start + 1024] = np.argpartition(-scores, near.shape[1], axis=1)[:, : near.shape[1]]
    return near


def exact_nearest(vectors: Array, queries: Array, k: int, mask: Array | None = None) -> Array:
    """Return the k nearest by float32 dot products, unordered: (queries, k), looking at the masked vectors only."""
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
    return ids


def normalised(rows: Array) -> Array:
    """Return rows of unit length."""
    unit: Array = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit
