from pathlib import Path

import numpy as np
import pytest
from usearch.index import Index

from rebase_hf.errors import RowIndexError
from rebase_hf.index.graph_audit import link_unreachable, unreachable_keys
from rebase_hf.index.graph_layout import bottom_links, map_graph
from rebase_hf.index.graph_order import write_in_order
from rebase_hf.index.vectors import EXPANSION_ADD_FAST, GRAPH, VECTORS, VectorStore, build_graph
from tests.index.made_vectors import crowded, expected_ids, recall, unit_vectors, write_store


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


def saved_graph(path: Path, vectors: np.ndarray) -> np.ndarray:
    """Save a graph as usearch itself does, and return its codes."""
    codes = np.rint(vectors.astype(np.float32) * 500).clip(-127, 127).astype(np.int8)
    graph = Index(ndim=vectors.shape[1], metric="ip", dtype="i8")
    graph.add(np.arange(len(codes))[::-1] + 7, codes, threads=1)
    graph.save(str(path))
    return codes


def test_walking_order_changes_no_answer(tmp_path):
    codes = saved_graph(tmp_path / "as_added", crowded())
    assert write_in_order(tmp_path / "as_added", tmp_path / "ordered")
    assert (tmp_path / "ordered").stat().st_size == (tmp_path / "as_added").stat().st_size
    assert (tmp_path / "ordered").read_bytes() != (tmp_path / "as_added").read_bytes()
    before, after = (Index.restore(str(tmp_path / name)) for name in ("as_added", "ordered"))
    assert after.nlevels == before.nlevels > 1
    for threads in (1, 2):
        found, again = before.search(codes, 20, threads=threads), after.search(codes, 20, threads=threads)
        assert (np.sort(found.keys) == np.sort(again.keys)).mean() > 0.999  # equal distances may change places
        np.testing.assert_array_equal(found.distances[:, :10], again.distances[:, :10])
    assert (after.get(np.array([7, 2406])) == codes[[2399, 0]]).all()


def test_walking_order_is_that_in_which_a_walk_from_the_entry_meets_the_nodes(tmp_path):
    saved_graph(tmp_path / "as_added", crowded())
    write_in_order(tmp_path / "as_added", tmp_path / "ordered")
    held, layout = map_graph(tmp_path / "ordered")
    _, counts, neighbours = bottom_links(held, layout)
    assert layout.entry == 0
    met = 1
    for place in range(200):
        own = neighbours[place, : counts[place]]
        following = own[own >= met]
        assert following.tolist() == list(range(met, met + len(following)))
        met += len(following)


def test_a_graph_in_walking_order_can_be_added_to(tmp_path):
    codes = saved_graph(tmp_path / "as_added", crowded())
    write_in_order(tmp_path / "as_added", tmp_path / "ordered")
    graph = Index.restore(str(tmp_path / "ordered"))
    graph.add(np.arange(9000, 9100), codes[:100][:, ::-1].copy())
    assert len(graph) == 2500
    assert graph.search(codes[5, ::-1].copy(), 1).keys.tolist() == [9005]


@pytest.mark.parametrize("count", [1, 2, 40])
def test_a_small_graph_is_put_in_walking_order(tmp_path, count):
    store = write_store(tmp_path, unit_vectors(count, 48))
    graph = Index.restore(str(tmp_path / GRAPH), view=True)
    assert sorted(graph.keys) == list(range(count))
    assert len(store) == count


def test_walking_order_is_not_guessed_at(tmp_path):
    saved_graph(tmp_path / "whole", unit_vectors(50, 48))
    content = (tmp_path / "whole").read_bytes()
    for other in (content[:-1], b"", content.replace(b"usearch\x02", b"usearch\x03")):
        (tmp_path / "other").write_bytes(other)
        assert not write_in_order(tmp_path / "other", tmp_path / "ordered")
        assert not (tmp_path / "ordered").exists()
