import numpy as np
import pytest

from rebase_hf.errors import RowIndexError
from rebase_hf.index.dots import Queries
from rebase_hf.index.exact_scan import NO_ID
from rebase_hf.index.quantising import choose_scale, quantise
from rebase_hf.index.subsets import Subset
from rebase_hf.index.vectors import VectorStore, default_expansion
from tests.index.hashing_encoder import HashingEncoder
from tests.index.made_vectors import crowded, expected_ids, recall, unit_vectors, write_store


@pytest.fixture(scope="module")
def grouped(tmp_path_factory) -> VectorStore:
    return write_store(tmp_path_factory.mktemp("grouped"), crowded(100, 60))


def test_the_scale_uses_the_whole_range_of_an_int8():
    vectors = unit_vectors(500)
    codes = quantise(vectors, choose_scale(vectors))
    assert (codes.dtype, codes.max(), codes.min()) == (np.int8, 127, -127)
    assert np.abs(codes).mean() > 20  # usearch's own cast leaves a 384-dimensional unit vector in -24..19
    error = codes / choose_scale(vectors) - vectors.astype(np.float32)
    assert np.abs(error).max() < 0.05


def test_a_sparse_encoder_gets_a_scale_of_its_own():
    vectors = HashingEncoder(8).encode(["one", "two", "three"])
    assert choose_scale(vectors) < 250
    assert choose_scale(np.zeros((0, 8), np.float16)) == 127.0


@pytest.mark.parametrize("dimension", [1, 8, 48, 384, 768])
def test_dot_products_are_as_near_as_float32_ones(dimension):
    vectors, queries = unit_vectors(300, dimension), unit_vectors(5, dimension, seed=3).astype(np.float32) * 1.0001
    true = vectors.astype(np.float64) @ queries.astype(np.float64).T
    products = Queries(queries).dots(vectors)
    assert products.dtype == np.float32
    np.testing.assert_allclose(products, true, atol=5e-7)


def test_a_dot_product_does_not_depend_on_what_else_is_asked():
    vectors, queries = unit_vectors(700), unit_vectors(19, seed=3).astype(np.float32)
    together = Queries(queries).dots(vectors)
    for row, query in ((0, 0), (699, 18), (333, 7)):
        alone = Queries(queries[query : query + 1]).dots(vectors[row : row + 1])
        assert alone[0, 0] == together[row, query]


def test_the_graph_finds_nearly_all_and_scores_them_exactly(grouped):
    queries = crowded(100, 60)[::60].astype(np.float32) + 0.05 * unit_vectors(100, 48, seed=5).astype(np.float32)
    ids, scores = grouped.nearest(queries, 10)
    assert recall(ids, expected_ids(np.asarray(grouped.array), queries, 10)) >= 0.99
    for own_ids, own_scores, query in zip(ids, scores, queries, strict=True):
        np.testing.assert_array_equal(own_scores, grouped.scores(own_ids, query[None])[:, 0])
        assert (np.diff(own_scores) <= 0).all()


def test_one_query_finds_what_it_finds_among_many(grouped):
    queries = unit_vectors(20, 48, seed=4).astype(np.float32)
    together, _ = grouped.nearest(queries, 10)
    assert together.tolist() == [grouped.nearest(query, 10)[0][0].tolist() for query in queries]


@pytest.mark.parametrize("share", [0.0, 0.0005, 0.01, 0.2, 0.7, 1.0])
def test_a_search_held_to_a_part_finds_the_best_of_that_part(grouped, share):
    mask = np.random.default_rng(6).random(len(grouped)) < share
    queries = unit_vectors(30, 48, seed=4).astype(np.float32)
    k = min(10, int(mask.sum()))
    ids, scores = grouped.nearest(queries, 10, allowed=mask)
    assert (ids[:, k:] == NO_ID).all()
    assert mask[ids[:, :k]].all()
    assert k == 0 or recall(ids[:, :k], expected_ids(np.asarray(grouped.array), queries, k, mask)) >= 0.98
    as_list, _ = grouped.nearest(queries, 10, allowed=np.flatnonzero(mask)[::-1])
    assert as_list.tolist() == ids.tolist()


def test_a_part_far_from_the_query_is_searched_whole_when_the_graph_does_not_reach_it(grouped):
    vectors = np.asarray(grouped.array).astype(np.float32)
    query = vectors[:1]
    nearness = (vectors @ query[0]).argsort()
    far = np.zeros(len(vectors), dtype=bool)
    far[nearness[:3000]] = True  # the half that lies farther: none of it is among the candidates
    assert Subset(far, len(far)).candidates(10, 1) is not None
    ids, _ = grouped.nearest(query, 10, allowed=far)
    assert ids.tolist() == expected_ids(vectors, query, 10, far).tolist()


def test_the_graph_is_asked_for_large_parts_and_small_ones_are_looked_at():
    count = 1_000_000
    asked = {size: Subset(np.arange(size), count).candidates(10, 1) for size in (30, 5000, 300_000, count)}
    assert asked[30] is None
    assert asked[5000] is None
    assert asked[300_000] == 200
    assert asked[count] == 60


@pytest.mark.parametrize(
    ("allowed", "says"),
    [
        (np.ones(5999, bool), r"shape \(5999,\); there are 6000 vectors"),
        (np.array([1, 6000]), "ids from 0 to 5999"),
        (np.array([-1]), "ids from 0 to 5999"),
    ],
)
def test_a_part_of_other_vectors_is_refused(grouped, allowed, says):
    with pytest.raises(RowIndexError, match=says):
        grouped.nearest(np.zeros((1, 48), np.float32), 10, allowed=allowed)


def test_searches_keep_more_in_view_as_an_index_grows():
    sizes = [default_expansion(count) for count in (0, 10_000, 100_000, 300_000, 1_000_000, 10**9)]
    assert sizes == sorted(sizes)
    assert sizes[0] >= 64
    assert sizes[-1] <= 1024
