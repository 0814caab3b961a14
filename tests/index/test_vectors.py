import numpy as np
import pytest
from usearch.index import Index

from rebase_hf.errors import RowIndexError
from rebase_hf.index.vectors import GRAPH, VECTORS, VectorStore, build_graph, choose_scale, quantise
from tests.index.hashing_encoder import HashingEncoder


def unit_vectors(count: int, dimension: int = 384) -> np.ndarray:
    rows = np.random.default_rng(1).standard_normal((count, dimension))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def write_store(folder, vectors, **options) -> VectorStore:
    np.save(folder / VECTORS, vectors, allow_pickle=False)
    scale = choose_scale(vectors)
    build_graph(vectors, folder / GRAPH, scale=scale, **options)
    return VectorStore(folder, scale=scale)


def test_the_scale_uses_the_whole_range_of_an_int8():
    vectors = unit_vectors(500)
    codes = quantise(vectors, choose_scale(vectors))
    assert (codes.dtype, codes.max(), codes.min()) == (np.int8, 127, -127)
    assert np.abs(codes).mean() > 20  # usearch's own cast leaves a 384-dimensional unit vector in -24..19
    error = codes / choose_scale(vectors) - vectors.astype(np.float32)
    assert np.abs(error).max() < 0.05


@pytest.mark.parametrize("seed", [0, 5])
def test_the_same_vectors_make_the_same_graph(tmp_path, seed):
    vectors = unit_vectors(800)
    for name in ("one", "two"):
        build_graph(vectors, tmp_path / name, scale=500.0, seed=seed)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert [entry.name for entry in sorted(tmp_path.iterdir())] == ["one", "two"]


def test_every_vector_of_a_graph_built_by_many_threads_is_found(tmp_path):
    vectors = np.repeat(unit_vectors(40, 48), 60, axis=0) + 0.7 * unit_vectors(2400, 48)  # crowded, as templates are
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    store = write_store(tmp_path, vectors, single_thread_below=0)
    assert len(Index.restore(str(tmp_path / GRAPH), view=True)) == 2400
    found = [store.nearest(vector.astype(np.float32), 10, exact=False)[0] for vector in vectors]
    assert [number for number, ids in enumerate(found) if number not in ids] == []


def test_exact_search_looks_at_every_vector(tmp_path):
    vectors = unit_vectors(300, 48)
    store = write_store(tmp_path, vectors)
    query = unit_vectors(1, 48)[0].astype(np.float32)
    expected = vectors.astype(np.float32) @ query
    for count in (1, 7, 300, 1000):
        ids, scores = store.nearest(query, count, exact=True)
        np.testing.assert_allclose(scores, np.sort(expected)[::-1][:count], atol=1e-5)
        np.testing.assert_allclose(scores, expected[ids], atol=1e-5)


def test_a_graph_of_other_vectors_is_refused(tmp_path):
    vectors = unit_vectors(50, 48)
    write_store(tmp_path, vectors)
    np.save(tmp_path / VECTORS, vectors[:49], allow_pickle=False)
    with pytest.raises(RowIndexError, match="no graph of the 49 vectors"):
        VectorStore(tmp_path, scale=500.0)


def test_a_sparse_encoder_gets_a_scale_of_its_own():
    vectors = HashingEncoder(8).encode(["one", "two", "three"])
    assert choose_scale(vectors) < 250
    assert choose_scale(np.zeros((0, 8), np.float16)) == 127.0
