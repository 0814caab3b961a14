import numpy as np
import pytest

from rebase_hf.quality.mauve import frontier_area, mauve, quantise

CENTRES = np.random.default_rng(5).standard_normal((20, 32))


def drawn(count: int, topics: range, seed: int) -> np.ndarray:
    """Return vectors that lie around the centres of some topics."""
    chance = np.random.default_rng(seed)
    chosen = chance.choice(list(topics), count)
    return (CENTRES[chosen] + 0.5 * chance.standard_normal((count, 32))).astype(np.float32)


def test_texts_of_one_distribution_are_near_and_of_two_far():
    ours = drawn(400, range(10), seed=1)
    assert mauve(ours, drawn(400, range(10), seed=2)) > 0.95
    assert mauve(ours, drawn(400, range(10, 20), seed=3)) < 0.02
    half = mauve(ours, drawn(400, range(5, 15), seed=4))
    assert 0.02 < half < 0.5


def test_a_set_is_as_near_as_can_be_to_itself():
    ours = drawn(100, range(10), seed=1)
    assert mauve(ours, ours) == pytest.approx(1.0)


def test_equal_inputs_give_equal_figures_and_neither_side_is_first():
    ours, theirs = drawn(200, range(10), seed=1), drawn(200, range(8), seed=2)
    assert mauve(ours, theirs, seed=7) == mauve(ours, theirs, seed=7)
    assert mauve(ours, theirs) == pytest.approx(mauve(theirs, ours), abs=0.1)


def test_the_area_under_the_frontier_has_the_limits_of_the_paper():
    even, left, right = np.full(4, 0.25), np.array([0.5, 0.5, 0, 0]), np.array([0, 0, 0.5, 0.5])
    assert frontier_area(even, even) == pytest.approx(1.0)
    # Of two that share nothing, the curve is ((1 - w)^c, w^c): with c = 1 a straight line.
    assert frontier_area(left, right, scaling=1.0) == pytest.approx(0.5, abs=1e-3)
    assert frontier_area(left, right) < 0.01


def test_the_area_is_that_of_the_curve_drawn_finely():
    first, second = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.3, 0.5])
    shares = np.linspace(1e-9, 1 - 1e-9, 20_001)[:, None]
    mixed = shares * first + (1 - shares) * second
    x = np.exp(-5 * (second * np.log(second / mixed)).sum(axis=1))
    y = np.exp(-5 * (first * np.log(first / mixed)).sum(axis=1))
    x, y = np.concatenate([[1], x, [0]]), np.concatenate([[0], y, [1]])
    fine = float(-(np.diff(x) * (y[1:] + y[:-1])).sum() / 2)
    assert frontier_area(first, second) == pytest.approx(fine, abs=1e-3)
    assert frontier_area(second, first) == pytest.approx(frontier_area(first, second))


def test_clusters_are_found_and_rows_that_are_all_alike_are_no_trouble():
    apart = np.concatenate([np.full((30, 2), place) for place in (0.0, 5.0, 9.0)])
    bucket = quantise(apart + np.random.default_rng(0).normal(0, 0.1, apart.shape), 3)
    assert len({tuple(bucket[start : start + 30]) for start in (0, 30, 60)}) == 3
    assert all(len(set(bucket[start : start + 30])) == 1 for start in (0, 30, 60))
    alike = np.ones((50, 4), dtype=np.float32)
    assert mauve(alike, alike) == pytest.approx(1.0)


def test_vectors_that_do_not_fit_together_are_refused():
    with pytest.raises(ValueError, match=r"shapes \(3, 4\), \(3, 5\)"):
        mauve(np.ones((3, 4), np.float32), np.ones((3, 5), np.float32))
