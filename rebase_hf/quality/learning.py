"""A small learner whose training is watched: a linear softmax head on vectors, in numpy. It needs no LLM and no GPU.

SynthesizRR watches the student that is trained on the very examples it judges, so that each had its say, right or
wrong, in the probability that it is judged by. Here an example is judged by a head that never saw it (cross-fitted),
unless one fold is asked for. It finds planted wrong labels as well where labels are easy to learn, and better where a
head memorises more than it learns (`python -m benchmarks.quality_insight`).
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from rebase_hf.quality.cartography import Dynamics, Floats
from rebase_hf.quality.mauve import Vectors

# SynthesizRR's number of epochs.
EPOCHS = 6
# Each fold is watched by a head trained on the four others; 1 watches what it is trained on, as the papers do.
FOLDS = 5
BATCH = 32
# Large, because gradients of vectors of unit length are small.
RATE = 4.0

Numbers = NDArray[np.int64]


def training_dynamics(
    vectors: Vectors, labels: Sequence[str], *, epochs: int = EPOCHS, folds: int = FOLDS, seed: int = 0
) -> Dynamics:
    """Train a linear softmax head by stochastic gradient descent, and return what each epoch says of each example.

    The same arguments give the same dynamics.

    Args:
        vectors: Of shape (n, d); an encoder's. They are centred and brought to unit length.
        labels: n of them, of at least two kinds.
        epochs: How often the head sees what it is trained on, in batches of 32 in a shuffled order.
        folds: Into how many parts the examples are dealt, label by label; each part is watched by a head trained on
            the others. 1: one head, which is trained on what it watches.

    Raises:
        ValueError: There is not one label for each vector, or only one kind, or there are fewer examples than folds.
    """
    if len(vectors) != len(labels) or len(set(labels)) < 2 or not 1 <= folds <= len(labels) or epochs < 1:
        raise ValueError(
            f"{len(vectors)} vectors, {len(labels)} labels of {len(set(labels))} kinds, {folds} folds, {epochs} "
            "epochs; expected one label a vector, two kinds at least, one epoch at least, and no more folds than "
            "examples."
        )
    own: Numbers = np.unique(np.asarray(labels), return_inverse=True)[1].reshape(-1)
    features = _features(vectors)
    chance = np.random.default_rng(seed)
    fold = _dealt(own, folds, chance)
    gold, rival = np.zeros((epochs, len(own))), np.zeros((epochs, len(own)))
    correct = np.zeros((epochs, len(own)), dtype=bool)
    for number in range(folds):
        watched = np.flatnonzero(fold == number)
        shown = watched if folds == 1 else np.flatnonzero(fold != number)
        for epoch, weights in enumerate(_trained(features[shown], own[shown], int(own.max()) + 1, epochs, chance)):
            said = _softmax(features[watched] @ weights)
            places = np.arange(len(watched)), own[watched]
            gold[epoch, watched] = said[places]
            correct[epoch, watched] = said.argmax(axis=1) == own[watched]
            said[places] = 0.0
            rival[epoch, watched] = said.max(axis=1)
    return Dynamics(gold, correct, rival)


def _features(vectors: Vectors) -> Floats:
    """Return centred vectors of unit length, and a 1 for the bias."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.concatenate([centred / np.where(lengths > 0, lengths, 1.0), np.ones((len(vectors), 1))], axis=1)


def _dealt(own: Numbers, folds: int, chance: np.random.Generator) -> Numbers:
    """Return for each example its fold: shuffled, then dealt out label by label."""
    order = chance.permutation(len(own))
    order = order[np.argsort(own[order], kind="stable")]
    fold = np.empty(len(own), dtype=np.int64)
    fold[order] = np.arange(len(own)) % folds
    return fold


def _trained(
    features: Floats, own: Numbers, classes: int, epochs: int, chance: np.random.Generator
) -> Iterator[Floats]:
    """Yield the head after each epoch: weights of shape (features, classes)."""
    weights = np.zeros((features.shape[1], classes))
    for _ in range(epochs):
        order = chance.permutation(len(own))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            wrong = _softmax(features[rows] @ weights)
            wrong[np.arange(len(rows)), own[rows]] -= 1
            weights -= RATE / len(rows) * features[rows].T @ wrong
        yield weights


def _softmax(scores: Floats) -> Floats:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
