"""Dataset cartography: which examples a student finds hard to learn, and so may be labelled wrongly.

Swayamdipta et al. (arXiv 2009.10795) train on a dataset and watch, epoch after epoch, the probability of each
example's own label. SynthesizRR (arXiv 2405.10040) keeps the most confident 83 % of each label, and drops what is
mostly not what its label says.

1. Record the dynamics: `learning.py` trains a linear head on vectors, or a caller brings those of its own student.
2. An example's confidence is the mean over the epochs, its variability the standard deviation, its correctness the
   share of epochs in which its label was the likeliest.
3. Keep the share with the highest confidence, label by label; or a range of confidences; or all but those for which
   another label was far likelier.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rebase_hf.quality.checks import Refusal

# SynthesizRR's share (its code: CART_FRAC, the 0.17 quantile of each label is the threshold).
SHARE = 0.83
HARD = "hard_to_learn"
EASY = "easy_to_learn"
CONTRADICTED = "label_contradicted"
# How many times as likely as its own another label must have been. A share of every set goes however good its labels
# are; by these odds little does where the learner knows nothing (`python -m benchmarks.students_development`).
ODDS = 3.0

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Dynamics:
    """What was watched while something was trained.

    Attributes:
        gold: The probability of each example's own label, of shape (epochs, examples).
        correct: Whether its own label was the likeliest, of the same shape.
        rival: The probability of the likeliest of the other labels, of the same shape; None where nobody watched it.
    """

    gold: Floats
    correct: NDArray[np.bool_]
    rival: Floats | None = None


@dataclass(frozen=True, slots=True)
class Map:
    """Where each example lies on the map; one number each.

    Attributes:
        confidence: Mean probability of its label over the epochs.
        variability: Standard deviation of that probability over the epochs (of the population, as the paper's).
        correctness: Share of epochs in which its label was the likeliest.
        rival: Mean probability of the likeliest other label; None where nobody watched it.
    """

    confidence: Floats
    variability: Floats
    correctness: Floats
    epochs: int
    rival: Floats | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """Which examples stay.

    Attributes:
        mask: True where an example stays.
        reasons: For each example None, or why it does not stay: a reason and its detail.
    """

    mask: NDArray[np.bool_]
    reasons: tuple[Refusal | None, ...]


def draw_map(dynamics: Dynamics) -> Map:
    """Return where each example lies.

    Raises:
        ValueError: The dynamics are not of one shape (epochs, examples), or hold no epoch.
    """
    gold, correct = np.asarray(dynamics.gold, dtype=np.float64), np.asarray(dynamics.correct)
    if gold.ndim != 2 or gold.shape != correct.shape or not len(gold):
        raise ValueError(
            f"Dynamics have the shapes {gold.shape} and {correct.shape}; expected (epochs, examples) twice, and at "
            "least one epoch."
        )
    rival = None if dynamics.rival is None else np.asarray(dynamics.rival, dtype=np.float64).mean(axis=0)
    return Map(gold.mean(axis=0), gold.std(axis=0), correct.mean(axis=0), len(gold), rival)


def keep_confident(found: Map, labels: Sequence[str], *, share: float = SHARE, by_label: bool = True) -> Kept:
    """Keep the share of examples with the highest confidence, in their order.

    Args:
        share: Above 0, to 1. The threshold is the (1 - share) quantile; what equals it stays.
        by_label: Of each label by itself. Labels are not equally hard, and over all of them the hard ones would be
            thinned out; False is the overall share.

    Raises:
        ValueError: The share is out of range, or there is not one label for each example.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is {share!r}; expected a share above 0, to 1, such as {SHARE}.")
    groups = np.asarray(labels if by_label else [""] * len(labels))
    if len(groups) != len(found.confidence):
        raise ValueError(f"{len(groups)} labels were given for {len(found.confidence)} examples; expected one each.")
    least = np.zeros(len(groups))
    for group in np.unique(groups):
        members = groups == group
        least[members] = np.quantile(found.confidence[members], 1 - share)
    return _kept(found, least, np.ones(len(groups)))


def keep_range(found: Map, low: float = 0.0, high: float = 1.0) -> Kept:
    """Keep the examples whose confidence lies in a range, whatever their label.

    A `high` below 1 leaves out what is learnt at once (the paper's easy-to-learn region), as far as it teaches little.

    Raises:
        ValueError: The range is none.
    """
    if not 0 <= low <= high <= 1:
        raise ValueError(f"The range is {low!r} to {high!r}; expected two numbers from 0 to 1, the lower one first.")
    count = len(found.confidence)
    return _kept(found, np.full(count, low), np.full(count, high))


def keep_uncontradicted(found: Map, *, odds: float = ODDS) -> Kept:
    """Keep the examples for which no other label was so many times as likely as their own, in the mean over epochs.

    How many go is for the examples to say, not fixed: a set that is labelled well, and one that is too hard for the
    learner, lose next to nothing.

    Args:
        odds: At least 1.

    Raises:
        ValueError: The odds are below 1, or the map does not say how likely other labels were.
    """
    if not odds >= 1:
        raise ValueError(f"odds is {odds!r}; expected at least 1, such as {ODDS:g}.")
    if found.rival is None:
        raise ValueError("The map does not say how likely other labels were. Draw it from dynamics with `rival`.")
    reasons: list[Refusal | None] = [
        (
            CONTRADICTED,
            f"another label is {rival:.3f} likely, its own {own:.3f}, on average over {found.epochs} epochs",
        )
        if rival >= odds * own
        else None
        for own, rival in zip(found.confidence.tolist(), found.rival.tolist(), strict=True)
    ]
    return Kept(np.array([reason is None for reason in reasons], dtype=bool), tuple(reasons))


def _kept(found: Map, least: Floats, most: Floats) -> Kept:
    reasons: list[Refusal | None] = []
    for confidence, low, high in zip(found.confidence.tolist(), least.tolist(), most.tolist(), strict=True):
        told = f"its label has the probability {confidence:.3f}, on average over {found.epochs} epochs"
        if confidence < low:
            reasons.append((HARD, f"{told}; kept are {low:.3f} and more"))
        elif confidence > high:
            reasons.append((EASY, f"{told}; kept are {high:.3f} and less"))
        else:
            reasons.append(None)
    return Kept(np.array([reason is None for reason in reasons], dtype=bool), tuple(reasons))
