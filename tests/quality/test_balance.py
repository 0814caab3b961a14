from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebase_hf.errors import TaskError
from rebase_hf.quality.balance import TOLERANCE, balanced_rows, distance, label_balance


def counted(rows: list[str], keep: list[bool]) -> dict[str, int]:
    return dict(Counter(row for row, stays in zip(rows, keep, strict=True) if stays))


def rows_of(**counts: int) -> list[str]:
    return [label for label, count in counts.items() for _ in range(count)]


def test_shares_entropy_and_missing_labels_are_told():
    found = label_balance(rows_of(a=2, b=2, x=0), ["a", "b", "c"])
    assert found.counts == {"a": 2, "b": 2, "c": 0} and found.missing == ("c",)
    assert found.shares == {"a": 0.5, "b": 0.5, "c": 0.0}
    assert found.entropy == pytest.approx(1.0) and found.evenness == pytest.approx(0.6309, abs=1e-4)
    assert found.to_report() == {
        "counts": {"a": 2, "b": 2, "c": 0},
        "shares": {"a": 0.5, "b": 0.5, "c": 0.0},
        "entropy_bits": 1.0,
        "evenness": 0.6309,
        "missing": ["c"],
    }


def test_one_label_has_no_entropy_and_no_rows_have_no_shares():
    assert (label_balance(["a"] * 5, ["a", "b"]).entropy, label_balance(["a"], ["a", "b"]).evenness) == (0.0, 0.0)
    empty = label_balance([], ["a", "b"])
    assert empty.shares == {"a": 0.0, "b": 0.0} and empty.missing == ("a", "b")
    assert label_balance(["z"], ["a"]).counts == {"a": 0, "z": 1}


def test_the_distance_is_the_share_of_rows_that_would_change():
    assert distance({"a": 0.6, "b": 0.4}, {"a": 0.5, "b": 0.5}) == pytest.approx(0.1)
    assert distance({"a": 1.0}, {"b": 1.0}) == pytest.approx(1.0)


def test_every_label_gets_what_the_scarcest_has():
    rows = rows_of(a=50, b=20, c=9)
    assert counted(rows, balanced_rows(rows)) == {"a": 9, "b": 9, "c": 9}


def test_a_given_distribution_is_reached_with_as_many_rows_as_can_be():
    rows = rows_of(a=50, b=50, c=50)
    keep = balanced_rows(rows, {"a": 0.7, "b": 0.3})
    assert counted(rows, keep) == {"a": 50, "b": 21}
    assert counted(rows, balanced_rows(rows, {"a": 3, "b": 2, "c": 1})) == {"a": 50, "b": 33, "c": 17}


def test_a_set_within_the_tolerance_stays_as_it_is():
    rows = rows_of(a=51, b=49)
    assert all(balanced_rows(rows)) and not all(balanced_rows(rows, tolerance=0.005))
    assert counted(rows, balanced_rows(rows, tolerance=0.005)) == {"a": 49, "b": 49}
    assert balanced_rows([]) == []


def test_the_same_seed_keeps_the_same_rows_and_another_label_changes_none():
    rows = rows_of(a=40, b=10)
    assert balanced_rows(rows, seed=1) == balanced_rows(rows, seed=1) != balanced_rows(rows, seed=2)
    more = rows + ["c"] * 10
    assert balanced_rows(more, seed=1)[:50] == balanced_rows(rows, seed=1)


def test_a_label_without_rows_is_named():
    with pytest.raises(TaskError, match=r"no row has `c`, of which 50\.0% were asked for"):
        balanced_rows(rows_of(a=5, b=5), {"a": 1, "c": 1})


def test_too_few_rows_for_the_target_are_an_error():
    with pytest.raises(
        TaskError, match=r"come to the target is 3 rows, .* off; expected at most 2\.0%.*more rows of `a`"
    ):
        balanced_rows(rows_of(a=3, b=3), {"a": 0.8, "b": 0.2})


@pytest.mark.parametrize("target", [{"a": -1.0, "b": 2.0}, {"a": 0.0}, {"a": float("nan")}])
def test_a_target_that_is_none_is_named(target):
    with pytest.raises(TaskError, match="expected a share above zero"):
        balanced_rows(["a", "b"], target)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=300),
    st.dictionaries(st.sampled_from("abcd"), st.floats(0.05, 10), min_size=1),
    st.integers(0, 3),
)
def test_what_stays_has_the_target_s_shares_or_nothing_does(rows, target, seed):
    try:
        keep = balanced_rows(rows, target, seed=seed)
    except TaskError:
        return
    kept = counted(rows, keep)
    shares = {label: count / sum(kept.values()) for label, count in kept.items()}
    wanted = {label: weight / sum(target.values()) for label, weight in target.items()}
    assert distance(shares, wanted) <= TOLERANCE + 1e-9
    assert all(count <= rows.count(label) for label, count in kept.items())
