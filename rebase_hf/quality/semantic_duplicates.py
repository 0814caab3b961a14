"""Texts that say the same in other words: by the cosine of their embeddings, exactly, for a whole set at once.

Every row is compared with every one before it, but most pairs by a few numbers only. Turned so that most of what
vectors differ in comes first, a vector is its first 64 coordinates and a rest of known length; two rests can't have a
larger dot product than the product of their lengths (Cauchy-Schwarz), so the bound `head * head + length * length`
rules pairs out, never a pair that counts. What is left is compared whole.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rebase_hf.index.encoders import Encoder, encode_texts

Array = np.ndarray[Any, Any]

# Of a row's coordinates the bound uses so many; `benchmarks/quality_duplicates.py` measures what it takes.
HEAD = 64
# Rows decided at a time, and the earlier ones that they are compared with at a time: their bounds stay in the cache.
BLOCK = 1024
COLUMNS = 8192
# Vectors whose axes are looked at to turn all; so few that turning takes longer than comparing are left as they are.
SAMPLE = 4096
FEW = 256
# Bounds and whole products are rounded; a pair at the threshold must not be lost for it.
SLACK = 1e-4


@dataclass(frozen=True, slots=True)
class Repeat:
    """What a row repeats.

    Attributes:
        of: The number of the first kept row that it repeats.
        similarity: The least similarity of one of its fields.
    """

    of: int
    similarity: float


def embed_fields(rows: Sequence[Sequence[str]], encoder: Encoder) -> Array:
    """Return the vectors of all fields of all rows, float32 of shape (rows, fields, dimension).

    Raises:
        RowIndexError: The encoder does not give what its protocol promises.
    """
    fields = len(rows[0]) if rows else 1
    vectors = encode_texts(encoder, [text for row in rows for text in row]) if rows else np.zeros((0, 1), np.float32)
    return vectors.reshape(len(rows), fields, vectors.shape[1])


def semantic_duplicates(vectors: Array, *, near: float) -> dict[int, Repeat]:
    """Return what rows repeat, by number; each repeats a row before it that repeats none.

    Args:
        vectors: Unit vectors, float32 of shape (rows, dimension) or, where rows have several fields, (rows, fields,
            dimension): then every field must be near.
        near: Cosine from which two fields say the same.
    """
    if not len(vectors):
        return {}
    whole = vectors.reshape(len(vectors), -1, vectors.shape[-1])
    # As one vector of unit length a row's fields have the mean of their cosines, which the least can't be above.
    heads = _heads(whole.reshape(len(whole), -1) / np.float32(np.sqrt(whole.shape[1])))
    kept = np.empty(0, np.int64)
    kept_heads = np.empty_like(heads)
    found: dict[int, Repeat] = {}
    for start in range(0, len(heads), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(heads)))
        _settle(found, _near_pairs(whole, heads[block], block, kept_heads[: len(kept)], kept, near))
        block = np.array([number for number in block.tolist() if number not in found], np.int64)
        _settle(found, _near_pairs(whole, heads[block], block, heads[block], block, near))
        block = np.array([number for number in block.tolist() if number not in found], np.int64)
        kept_heads[len(kept) : len(kept) + len(block)] = heads[block]
        kept = np.concatenate([kept, block])
    return found


def _settle(found: dict[int, Repeat], pairs: Iterable[tuple[int, int, float]]) -> None:
    """Add to what was found the rows that repeat one which repeats none, each the first such."""
    for row, other, similarity in sorted(pairs):
        if row not in found and other not in found:
            found[row] = Repeat(other, similarity)


def nearest_held(vectors: Array, held: Array) -> tuple[Array, Array]:
    """Return for each vector the place of the held one nearest to it, and their cosine; `held` must not be empty."""
    places, cosines = np.zeros(len(vectors), np.int64), np.full(len(vectors), -np.inf, np.float32)
    for start in range(0, len(vectors), BLOCK):
        rows = slice(start, start + BLOCK)
        for first in range(0, len(held), COLUMNS):
            scores = vectors[rows] @ held[first : first + COLUMNS].T
            best = scores.argmax(axis=1)
            score = scores[np.arange(len(scores)), best]
            better = score > cosines[rows]
            places[rows][better], cosines[rows][better] = best[better] + first, score[better]
    return places, cosines


def _heads(vectors: Array) -> Array:
    """Return each vector's first coordinates along the axes of most vectors, and the length of its rest."""
    heads = vectors[:, :HEAD]
    if len(vectors) > FEW:
        sample = vectors[np.unique(np.linspace(0, len(vectors) - 1, SAMPLE).astype(np.int64))]
        heads = vectors @ np.linalg.eigh(sample.T @ sample)[1][:, ::-1][:, :HEAD].astype(np.float32)
    rest = np.sqrt(np.maximum(0.0, 1.0 - np.einsum("ij,ij->i", heads, heads)))
    return np.ascontiguousarray(np.concatenate([heads, rest[:, None]], axis=1), dtype=np.float32)


def _near_pairs(
    whole: Array, heads: Array, numbers: Array, other_heads: Array, others: Array, near: float
) -> Iterator[tuple[int, int, float]]:
    """Yield each of the rows with an earlier one that it is near, and how near."""
    for first in range(0, len(others), COLUMNS):
        part = other_heads[first : first + COLUMNS]
        rows, columns = np.divmod(np.flatnonzero((heads @ part.T >= near - SLACK).ravel()), len(part))
        left, right = numbers[rows], others[first + columns]
        left, right = left[right < left], right[right < left]
        for start in range(0, len(left), BLOCK):
            few = slice(start, start + BLOCK)
            cosines = np.einsum("ijk,ijk->ij", whole[left[few]], whole[right[few]]).min(axis=1)
            for i in np.flatnonzero(cosines >= near).tolist():
                yield int(left[few][i]), int(right[few][i]), float(cosines[i])
