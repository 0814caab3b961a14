from pathlib import Path

import numpy as np
import pytest
from usearch.index import Index

from rebase_hf.errors import RowIndexError
from rebase_hf.index.dots import Queries
from rebase_hf.index.exact_scan import NO_ID, NO_SCORE, scan
from rebase_hf.index.graph_audit import link_unreachable, unreachable_keys
from rebase_hf.index.quantising import choose_scale, quantise
from rebase_hf.index.subsets import Subset
from rebase_hf.index.vectors import EXPANSION_ADD_FAST, GRAPH, VECTORS, VectorStore, build_graph, default_expansion
from tests.index.hashing_encoder import HashingEncoder


def unit_vectors(count: int, dimension: int = 384, seed: int = 1) -> np.ndarray:
    return normalised(np.random.default_rng(seed).standard_normal((count, dimension)))


def normalised(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def crowded(groups: int = 40, each: int = 60, dimension: int = 48, spread: float = 0.7) -> np.ndarray:
    """Vectors in groups that lie together in the file, as the rows of sources do."""
    centres = np.repeat(unit_vectors(groups, dimension), each, axis=0).astype(np.float32)
    return normalised(centres + spread * unit_vectors(groups * each, dimension, seed=2).astype(np.float32))


def write_store(folder, vectors, **options) -> VectorStore:
    np.save(folder / VECTORS, vectors, allow_pickle=False)
    scale = choose_scale(vectors)
    build_graph(np.load(folder / VECTORS, mmap_mode="r"), folder / GRAPH, scale=scale, **options)
    return VectorStore(folder, scale=scale)


@pytest.fixture(scope="module")
def grouped(tmp_path_factory) -> VectorStore:
    return write_store(tmp_path_factory.mktemp("grouped"), crowded(100, 60))


def expected_ids(vectors, queries, k, mask=None) -> np.ndarray:
    products = queries.astype(np.float64) @ vectors.astype(np.float64).T
    if mask is not None:
        products[:, ~mask] = -9
    return np.argsort(-products, axis=1, kind="stable")[:, :k]


def recall(ids, expected) -> float:
    shared = [len(set(found) & set(right)) for found, right in zip(ids.tolist(), expected.tolist(), strict=True)]
    return float(np.mean(shared)) / expected.shape[1]


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


@pytest.mark.parametrize("seed", [0, 5])
def test_the_same_vectors_make_the_same_graph(tmp_path, seed):
    vectors = unit_vectors(800)
    for name in ("one", "two"):
        build_graph(vectors, tmp_path / name, scale=500.0, seed=seed)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert [entry.name for entry in sorted(tmp_path.iterdir())] == ["one", "two"]


def test_a_graph_built_by_many_threads_leads_to_every_vector(tmp_path):
    vectors = crowded()
    store = write_store(tmp_path, vectors, single_thread_below=0)
    assert len(Index.restore(str(tmp_path / GRAPH), view=True)) == 2400
    found, _ = store.nearest(vectors.astype(np.float32), 10)
    assert unreachable_keys(tmp_path / GRAPH).tolist() == []
    assert sum(number not in ids for number, ids in enumerate(found)) <= 5  # threads differ from run to run


def test_the_audit_names_and_links_what_no_path_leads_to(tmp_path):
    path = tmp_path / GRAPH
    build_graph(crowded(), path, scale=500.0)
    assert unreachable_keys(path).tolist() == []
    content = bytearray(path.read_bytes())
    # Level 0 of every node is emptied of one neighbour: slot 7. Its key is no longer led to.
    levels_at = 8 + 2400 * 48 + 64 + 40
    levels = np.frombuffer(content, "<i2", 2400, levels_at)
    slot = int(np.flatnonzero(levels == 0)[7])
    at = levels_at + 2 * 2400
    for level in levels.tolist():
        neighbours = np.frombuffer(content, "<u4", 33, at + 10).copy()
        held = neighbours[1 : 1 + neighbours[0]]
        held[held == slot] = held[held != slot][0]
        content[at + 10 : at + 10 + 132] = neighbours.tobytes()
        if level == 0 and slot == 0:
            break
        at += 142 + 68 * level
    starts = np.cumsum([0, *(142 + 68 * int(level) for level in levels)]) + levels_at + 2 * 2400
    key = int(np.frombuffer(content, "<u8", 1, int(starts[slot]))[0])
    path.write_bytes(content)
    assert unreachable_keys(path).tolist() == [key]
    assert link_unreachable(path) == 1
    assert unreachable_keys(path).tolist() == []
    assert path.stat().st_size == len(content)
    codes = Index.restore(str(path), view=True)
    assert key in codes.search(codes.get(key), 5).keys


def test_the_audit_does_not_guess_at_a_layout_it_does_not_know(tmp_path):
    path = tmp_path / GRAPH
    build_graph(unit_vectors(50, 48), path, scale=500.0)
    content = path.read_bytes()
    for other in (content[:-1], content[:20], b"", content.replace(b"usearch\x02", b"usearch\x03")):
        path.write_bytes(other)
        assert unreachable_keys(path) is None
        assert link_unreachable(path) is None
        assert path.read_bytes() == other


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


def test_a_fast_build_makes_another_graph_of_the_same_vectors(tmp_path):
    vectors = crowded()
    fast = write_store(tmp_path, vectors, expansion_add=EXPANSION_ADD_FAST)
    ids, _ = fast.nearest(vectors[::50].astype(np.float32), 10)
    assert recall(ids, expected_ids(vectors, vectors[::50], 10)) >= 0.97


def test_a_graph_of_other_vectors_is_refused(tmp_path):
    vectors = unit_vectors(50, 48)
    write_store(tmp_path, vectors)
    np.save(tmp_path / VECTORS, vectors[:49], allow_pickle=False)
    with pytest.raises(RowIndexError, match="no graph of the 49 vectors"):
        VectorStore(tmp_path, scale=500.0)


def test_opening_reads_the_graphs_shape_and_maps_it_when_searched(tmp_path):
    store = write_store(tmp_path, unit_vectors(300, 48))
    mapped = str(tmp_path / GRAPH)
    assert mapped not in Path("/proc/self/maps").read_text()
    store.nearest(unit_vectors(1, 48), 3)
    assert mapped in Path("/proc/self/maps").read_text()


def test_searches_keep_more_in_view_as_an_index_grows():
    sizes = [default_expansion(count) for count in (0, 10_000, 100_000, 300_000, 1_000_000, 10**9)]
    assert sizes == sorted(sizes)
    assert sizes[0] >= 64
    assert sizes[-1] <= 1024
