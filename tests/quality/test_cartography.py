import numpy as np
import pytest

from rebase_hf.quality.cartography import (
    CONTRADICTED,
    EASY,
    HARD,
    Dynamics,
    draw_map,
    keep_confident,
    keep_range,
    keep_uncontradicted,
)
from rebase_hf.quality.learning import training_dynamics


def dynamics(*rows: list[float]) -> Dynamics:
    """Return dynamics of examples given by their probabilities, epoch after epoch; above a half they are right."""
    gold = np.array(rows).T
    return Dynamics(gold, gold > 0.5)


def test_the_map_by_hand():
    found = draw_map(dynamics([0.2, 0.4, 0.9], [0.6, 0.6, 0.6]))
    assert found.confidence == pytest.approx([0.5, 0.6])
    assert found.variability == pytest.approx([np.sqrt((0.3**2 + 0.1**2 + 0.4**2) / 3), 0.0])
    assert found.correctness == pytest.approx([1 / 3, 1.0])
    assert found.epochs == 3


def test_the_most_confident_share_of_each_label_stays():
    confidences = [i / 100 for i in range(100)]
    labels = ["hard"] * 50 + ["easy"] * 50
    found = draw_map(dynamics(*([c] for c in confidences)))
    kept = keep_confident(found, labels)
    assert kept.mask.tolist() == ([False] * 9 + [True] * 41) * 2  # the 0.17 quantile of 50 numbers lies above the 9th
    reason, detail = kept.reasons[50]
    assert reason == HARD and "0.500" in detail and "0.583" in detail
    assert [reason is None for reason in kept.reasons] == kept.mask.tolist()
    overall = keep_confident(found, labels, by_label=False)
    assert overall.mask.tolist() == [False] * 17 + [True] * 83


def test_examples_that_are_alike_stay_together_and_a_share_of_one_keeps_all():
    found = draw_map(dynamics(*([0.5] for _ in range(10))))
    assert keep_confident(found, ["a"] * 10).mask.all()
    spread = draw_map(dynamics(*([c / 10] for c in range(10))))
    assert keep_confident(spread, ["a"] * 10, share=1.0).mask.all()
    assert keep_confident(spread, list("abcdefghij")).mask.all()  # a label's only example is its most confident


def test_a_range_leaves_out_the_hard_and_the_easy():
    kept = keep_range(draw_map(dynamics([0.1], [0.5], [0.95])), 0.2, 0.9)
    assert kept.mask.tolist() == [False, True, False]
    assert [reason and reason[0] for reason in kept.reasons] == [HARD, None, EASY]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda found: keep_confident(found, ["a"] * 2, share=0.0), "share is 0.0"),
        (lambda found: keep_confident(found, ["a"]), "1 labels were given for 2 examples"),
        (lambda found: keep_range(found, 0.9, 0.1), "0.9 to 0.1"),
        (lambda found: draw_map(Dynamics(np.ones((2, 3)), np.ones((2, 4), bool))), r"\(2, 3\) and \(2, 4\)"),
        (lambda found: training_dynamics(np.ones((4, 2), np.float32), ["a"] * 4), "4 labels of 1 kinds"),
    ],
)
def test_wrong_arguments_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong(draw_map(dynamics([0.1], [0.5])))


def planted(count: int = 600, *, kinds: int = 4, wrong: float = 0.15, seed: int = 0):
    """Return vectors around the centres of their labels, labels of which some are wrong, and which those are."""
    chance = np.random.default_rng(seed)
    true = chance.integers(0, kinds, count)
    vectors = 0.6 * chance.standard_normal((kinds, 24))[true] + chance.standard_normal((count, 24)) / np.sqrt(2)
    flipped = chance.random(count) < wrong
    told = np.where(flipped, (true + chance.integers(1, kinds, count)) % kinds, true)
    return vectors.astype(np.float32), [f"label{k}" for k in told], flipped


@pytest.mark.parametrize("folds", [1, 5])
def test_planted_wrong_labels_are_what_is_hard_to_learn(folds):
    vectors, labels, flipped = planted()
    found = draw_map(training_dynamics(vectors, labels, folds=folds))
    kept = keep_confident(found, labels)
    assert flipped[~kept.mask].mean() > 0.7 and flipped[kept.mask].mean() < 0.05
    assert found.correctness[~flipped].mean() > 0.85


def test_an_example_is_not_judged_by_what_was_learnt_from_it():
    # Labels that say nothing about vectors of many dimensions: what is shown is memorised, the rest can't be known.
    chance = np.random.default_rng(0)
    vectors, labels = chance.standard_normal((60, 200)).astype(np.float32), list("ab") * 30
    memorised = draw_map(training_dynamics(vectors, labels, epochs=60, folds=1))
    unseen = draw_map(training_dynamics(vectors, labels, epochs=60))
    assert memorised.correctness.mean() > 0.9
    assert unseen.correctness.mean() < 0.7


def test_dynamics_depend_on_the_seed_alone():
    vectors, labels, _ = planted(100)
    first, again, other = (training_dynamics(vectors, labels, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.gold, again.gold) and not np.array_equal(first.gold, other.gold)
    assert first.gold.shape == first.correct.shape == (6, 100)


def test_a_label_of_one_example_is_no_trouble():
    vectors, labels, _ = planted(50)
    found = draw_map(training_dynamics(vectors, [*labels[:-1], "alone"]))
    assert found.confidence[-1] < 0.5 and keep_confident(found, [*labels[:-1], "alone"]).mask[-1]


def test_what_another_label_contradicts_goes_and_no_share_is_filled():
    gold = np.array([[0.1, 0.2, 0.8], [0.3, 0.2, 0.8]])
    rival = np.array([[0.8, 0.4, 0.1], [0.4, 0.4, 0.1]])
    found = draw_map(Dynamics(gold, gold > rival, rival))
    kept = keep_uncontradicted(found, odds=3.0)  # means of .6 against .2, .4 against .2, .1 against .8
    assert kept.mask.tolist() == [False, True, True]
    reason, detail = kept.reasons[0]
    assert reason == CONTRADICTED and "0.600" in detail and "0.200" in detail
    with pytest.raises(ValueError, match="odds is 0.5"):
        keep_uncontradicted(found, odds=0.5)
    with pytest.raises(ValueError, match="how likely other labels were"):
        keep_uncontradicted(draw_map(Dynamics(gold, gold > rival)))


def test_the_learner_contradicts_planted_wrong_labels_and_little_else():
    vectors, labels, flipped = planted()
    found = draw_map(training_dynamics(vectors, labels))
    gone = ~keep_uncontradicted(found).mask
    assert gone[flipped].mean() > 0.8 and flipped[gone].mean() > 0.8
    right, chance = planted(wrong=0.0), np.random.default_rng(0)
    assert keep_uncontradicted(draw_map(training_dynamics(*right[:2]))).mask.mean() > 0.97
    unknowable = chance.standard_normal((600, 24)).astype(np.float32), ["a", "b"] * 300
    assert keep_uncontradicted(draw_map(training_dynamics(*unknowable))).mask.mean() > 0.9
