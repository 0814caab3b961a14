import numpy as np
import pytest

from rebase_hf.index.exact_scan import NO_ID, NO_SCORE, scan
from tests.index.made_vectors import expected_ids, unit_vectors, write_store


@pytest.mark.parametrize("k", [1, 7, 300, 1000])
def test_exact_search_looks_at_every_vector(tmp_path, k):
    vectors, queries = unit_vectors(300, 48), unit_vectors(3, 48, seed=9).astype(np.float32)
    store = write_store(tmp_path, vectors)
    ids, scores = store.nearest(queries, k, exact=True)
    held = min(k, 300)
    assert ids[:, :held].tolist() == expected_ids(vectors, queries, held).tolist()
    np.testing.assert_allclose(
        scores[:, :held], np.sort(queries @ vectors.astype(np.float32).T)[:, ::-1][:, :k], atol=1e-6
    )
    assert (ids[:, held:] == NO_ID).all()
    assert (scores[:, held:] == NO_SCORE).all()


def test_exact_search_over_many_blocks_keeps_the_lowest_ids_of_equal_scores():
    vectors = np.tile(unit_vectors(3, 8), (10_000, 1))
    query = vectors[:1].astype(np.float32)
    ids, _ = scan(vectors, query, 50)
    assert ids[0].tolist() == list(range(0, 150, 3))
    ids, _ = scan(vectors, query, 20_001)
    assert ids[0, :10_000].tolist() == list(range(0, 30_000, 3))


def repeated(distinct: int, copies: int) -> np.ndarray:
    """Vectors as texts that differ in case alone have them: every one several times, scattered."""
    vectors = np.tile(unit_vectors(distinct, 48), (copies, 1))
    return vectors[np.random.default_rng(8).permutation(len(vectors))]


@pytest.mark.parametrize("k", [1, 4, 5, 9, 23])
def test_of_equal_vectors_an_exact_search_takes_the_lowest_ids(tmp_path, k):
    vectors = repeated(60, 7)
    store = write_store(tmp_path, vectors)
    queries = vectors[:20].astype(np.float32)
    ids, scores = store.nearest(queries, k, exact=True)
    for own_ids, own_scores, query in zip(ids, scores, queries, strict=True):
        every = store.scores(np.arange(len(vectors)), query[None])[:, 0]
        assert own_ids.tolist() == np.lexsort((np.arange(len(vectors)), -every))[:k].tolist()
        np.testing.assert_array_equal(own_scores, every[own_ids])
    assert ids.tolist() == store.nearest(queries, k, exact=True, allowed=np.arange(len(vectors)))[0].tolist()


def test_of_equal_vectors_a_search_of_the_graph_returns_those_it_finds_by_id(tmp_path):
    store = write_store(tmp_path, repeated(60, 7))
    queries = np.asarray(store.array[:20]).astype(np.float32)
    ids, scores = store.nearest(queries, 10)
    for own_ids, own_scores in zip(ids.tolist(), scores.tolist(), strict=True):
        pairs = list(zip((-score for score in own_scores), own_ids, strict=True))
        assert pairs == sorted(pairs)
        assert len({score for score in own_scores[:7]}) == 1
    exact_ids, exact_scores = store.nearest(queries, 10, exact=True)
    assert ids[:, :7].tolist() == exact_ids[:, :7].tolist()  # all seven that are the query itself
    np.testing.assert_array_equal(scores, exact_scores)


@pytest.mark.parametrize("threads", [2, 3, 0])
def test_a_scan_by_several_threads_is_the_same_to_the_bit(threads):
    vectors = np.tile(unit_vectors(50_000, 8), (3, 1))  # equal scores in every thread's stretch
    queries = unit_vectors(70, 8, seed=3).astype(np.float32)
    ids, scores = scan(vectors, queries, 25)
    found, exactly = scan(vectors, queries, 25, threads=threads)
    np.testing.assert_array_equal(found, ids)
    np.testing.assert_array_equal(exactly, scores)
    part = np.flatnonzero(np.random.default_rng(5).random(len(vectors)) < 0.9)
    for own, other in zip(
        scan(vectors, queries, 25, part), scan(vectors, queries, 25, part, threads=threads), strict=True
    ):
        np.testing.assert_array_equal(own, other)
