import numpy as np
import pytest

from rebase_hf.errors import StudentError
from rebase_hf.students.metrics import (
    accuracy,
    chrf,
    exact_match,
    expected_calibration_error,
    macro_f1,
    rouge_l,
    score,
    squad_f1,
)
from rebase_hf.task import Task

LABELLED = {"name": "t", "instruction": "i", "labels": ["a", "b"], "examples": [{"input": "x", "output": "a"}]}


def test_accuracy_is_the_share_of_equal_labels():
    assert accuracy(["a", "b", "a", "b"], ["a", "a", "a", "b"]) == 0.75


def test_macro_f1_weighs_a_rare_label_as_much_as_a_frequent_one():
    # a: precision 2/3, recall 1 -> .8; b: nothing predicted right -> 0
    assert macro_f1(["a", "a", "a"], ["a", "a", "b"]) == pytest.approx(0.4)


def test_macro_f1_counts_a_label_that_is_only_predicted():
    assert macro_f1(["a", "c"], ["a", "a"]) == pytest.approx((2 / 3 + 0) / 2)


@pytest.mark.parametrize(
    ("prediction", "reference", "same"),
    [("The Eiffel Tower.", "eiffel tower", 1), ("a  cat", "cat", 1), ("theory", "ory", 0), ("", "x", 0)],
)
def test_exact_match_normalises_as_squad_does(prediction, reference, same):
    assert exact_match([prediction], [reference]) == same


@pytest.mark.parametrize(
    ("prediction", "reference", "f1"),
    [
        ("the cat sat", "cat sat down", 0.8),  # without articles: 2 of 2 and 2 of 3
        ("cat cat", "cat", 2 / 3),
        ("dog", "cat", 0),
        ("the", "a", 1),  # both are nothing after normalisation
        ("", "cat", 0),
    ],
)
def test_squad_f1_is_the_overlap_of_words_as_a_bag(prediction, reference, f1):
    assert squad_f1([prediction], [reference]) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("prediction", "reference", "f1"),
    [
        ("police killed the gunman", "police kill the gunman", 0.75),  # Lin 2004, section 3: 3 of 4 words in order
        ("the gunman kill police", "police kill the gunman", 0.5),  # the same words, 2 in order
        ("x", "y", 0),
    ],
)
def test_rouge_l_is_the_longest_common_subsequence(prediction, reference, f1):
    assert rouge_l([prediction], [reference]) == pytest.approx(f1)


def test_chrf_is_one_for_equal_and_nought_for_disjoint_texts():
    assert chrf(["the cat"], ["the cat"]) == pytest.approx(1)
    assert chrf(["xyz"], ["abc"]) == 0
    assert chrf([""], ["abc"]) == 0


def test_chrf_by_hand():
    # "abc" against "abd": 1-grams 2 of 3, 2-grams 1 of 2, 3-grams 0 of 1; precision = recall = their mean.
    assert chrf(["abc"], ["abd"]) == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)


def test_score_puts_the_tasks_metric_first():
    assert list(score(Task.load({**LABELLED, "metric": "macro_f1"}), ["a"], ["a"])) == [
        "macro_f1",
        "accuracy",
    ]
    generation = Task.load({**LABELLED, "labels": {}})
    assert list(score(generation, ["a"], ["a"])) == ["rouge_l", "exact_match", "chrf", "squad_f1"]


@pytest.mark.parametrize(("predictions", "references"), [([], []), (["a"], ["a", "b"])])
def test_score_refuses_nothing_and_unequal_numbers(predictions, references):
    with pytest.raises(StudentError, match="scoring needs one prediction a reference"):
        score(Task.load(LABELLED), predictions, references)


def test_calibration_error_is_the_gap_between_confidence_and_accuracy_by_bin():
    # Two rows 90 % sure of `a`, one of them right; two 60 % sure of `b`, both right.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    gap = expected_calibration_error(probabilities, ["a", "b", "b", "b"], ["a", "b"])
    assert gap == pytest.approx((2 * abs(0.9 - 0.5) + 2 * abs(0.6 - 1.0)) / 4)


def test_rows_of_one_bin_are_compared_together():
    # .85 and .75 fall into one of 2 bins: on average 80 % sure, and half right.
    probabilities = np.array([[0.85, 0.15], [0.75, 0.25]])
    assert expected_calibration_error(probabilities, ["a", "b"], ["a", "b"], bins=2) == pytest.approx(0.3)
    assert expected_calibration_error(probabilities, ["a", "b"], ["a", "b"]) == pytest.approx(0.15 / 2 + 0.75 / 2)


def test_a_sure_student_that_is_right_is_calibrated():
    assert expected_calibration_error(np.eye(2), ["a", "b"], ["a", "b"]) == 0
