import numpy as np
import pytest

from rebase_hf.quality.semantic_duplicates import BLOCK, FEW, embed_fields, nearest_held, semantic_duplicates
from tests.index.hashing_encoder import HashingEncoder

NEAR = 0.95


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def made(rows: int, repeats: int, *, dimension: int = 96, fields: int = 1, seed: int = 0) -> np.ndarray:
    """Vectors in clusters, and some of them again with a little noise: cosines of .9 to 1."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((20, fields, dimension))
    own = unit(centres[random.integers(0, 20, rows)] + random.standard_normal((rows, fields, dimension)))
    noise = random.standard_normal((repeats, fields, dimension)) * random.uniform(0, 0.05, (repeats, 1, 1))
    again = unit(own[random.integers(0, rows, repeats)] + noise)
    both = np.concatenate([own, again])
    return both[random.permutation(len(both))]


def one_by_one(vectors: np.ndarray, near: float) -> dict[int, int]:
    """The same by the definition: each row beside every row kept before it."""
    kept: list[int] = []
    found: dict[int, int] = {}
    for number, row in enumerate(vectors):
        cosines = np.einsum("kfd,fd->kf", vectors[kept], row).min(axis=1)
        if (cosines >= near).any():
            found[number] = kept[int(np.flatnonzero(cosines >= near)[0])]
        else:
            kept.append(number)
    return found


@pytest.mark.parametrize("rows", [FEW - 100, 2 * BLOCK])
@pytest.mark.parametrize("fields", [1, 2])
@pytest.mark.parametrize("near", [0.9, 0.95, 0.999])
def test_no_pair_is_lost_to_the_bound(rows, fields, near):
    vectors = made(rows, min(rows // 2, 300), fields=fields)
    found = semantic_duplicates(vectors, near=near)
    assert {row: repeat.of for row, repeat in found.items()} == one_by_one(vectors, near)
    assert len(found) > rows // 200
    assert all(near <= repeat.similarity <= 1.0001 for repeat in found.values())


def test_what_a_row_repeats_stays():
    found = semantic_duplicates(made(500, 200), near=NEAR)
    assert found and not {repeat.of for repeat in found.values()} & set(found)
    assert all(repeat.of < row for row, repeat in found.items())


def test_every_field_must_be_near():
    passage, question, other = np.eye(3, 8, dtype=np.float32)
    rows = np.stack([[passage, question], [passage, other], [passage, question]])
    assert set(semantic_duplicates(rows, near=NEAR)) == {2}


def test_all_alike_leaves_one():
    vectors = np.repeat(unit(np.ones((1, 384))), 3 * BLOCK, axis=0)
    found = semantic_duplicates(vectors, near=NEAR)
    assert sorted(found) == list(range(1, 3 * BLOCK)) and {repeat.of for repeat in found.values()} == {0}


def test_nothing_and_one_row_have_no_duplicates():
    assert semantic_duplicates(np.zeros((0, 1, 384), np.float32), near=NEAR) == {}
    assert semantic_duplicates(unit(np.ones((1, 384))), near=NEAR) == {}


def test_fields_are_embedded_in_their_order():
    encoder = HashingEncoder()
    vectors = embed_fields([("one text", "two"), ("three", "one text")], encoder)
    assert vectors.shape == (2, 2, encoder.dimension)
    assert np.array_equal(vectors[0, 0], vectors[1, 1])
    assert embed_fields([], encoder).shape[0] == 0


def test_the_nearest_held_vector_is_found_across_blocks():
    vectors, held = made(BLOCK + 40, 0)[:, 0], made(5000, 0, seed=1)[:, 0]
    places, cosines = nearest_held(vectors, held)
    whole = vectors @ held.T
    assert np.array_equal(places, whole.argmax(axis=1))
    assert np.allclose(cosines, whole.max(axis=1), atol=1e-6)
