from collections import Counter

from rebase_hf.students.batches import by_length, labels_in_turn, longest_first


def test_labels_are_shown_equally_often_and_their_rows_in_turn():
    ids = [0] * 9 + [1] * 2 + [2]
    shown = labels_in_turn(ids, 27, seed=1)
    assert Counter(ids[row] for row in shown) == {0: 9, 1: 9, 2: 9}
    assert Counter(shown)[11] == 9 and {Counter(shown)[row] for row in range(9)} == {1}
    assert shown == labels_in_turn(ids, 27, seed=1) != labels_in_turn(ids, 27, seed=2)


def test_exactly_as_many_rows_are_shown_as_said():
    assert len(labels_in_turn([0, 1, 2, 3], 10, seed=0)) == 10
    assert set(Counter(labels_in_turn([0, 1, 2, 3], 10, seed=0)).values()) == {2, 3}


def test_rows_of_like_length_share_a_batch_and_none_is_lost():
    lengths = [n * 37 % 101 for n in range(400)]
    order = by_length(lengths, distinct=400, batch_size=8, seed=3)
    assert sorted(order) == list(range(400))

    def padding(places):
        batches = [[lengths[p] for p in places[n : n + 8]] for n in range(0, 400, 8)]
        return sum(max(batch) * len(batch) - sum(batch) for batch in batches)

    assert padding(order) < 0.2 * padding(range(400))
    # Not by length at large: a student must not see all short rows first.
    assert sorted(order[:128]) == list(range(128))
    assert [lengths[p] for p in order[:128:8]] != sorted(lengths[p] for p in order[:128:8])


def test_a_row_shown_again_is_not_sorted_beside_itself():
    rows = 20
    shown = [row for _ in range(8) for row in range(rows)]
    order = by_length([5 + row for row in shown], distinct=rows, batch_size=16, seed=0)
    batches = [[shown[p] for p in order[n : n + 16]] for n in range(0, len(order), 16)]
    assert all(len(set(batch)) == 16 for batch in batches)


def test_a_short_last_batch_stays_last():
    order = by_length([3, 9, 4, 8, 5], distinct=5, batch_size=2, seed=0)
    assert len(order) == 5 and order[-1] == 4


def test_the_longest_are_computed_first():
    assert list(longest_first([3, 9, 1, 7], 3)) == [[1, 3, 0], [2]]
