"""MAUVE: how near the distribution of one set of texts is to another's (Pillutla et al., arXiv 2102.01454).

1. Both sets' features are brought to unit length, and reduced to the directions that hold 90 % of their variance.
2. Their union is quantised: k-means, a bucket a cluster; each set becomes a histogram over the buckets.
3. Between the two histograms runs the divergence frontier: for every mixture of them, how far each is from it.
4. MAUVE is the area under the frontier of `exp(-c KL)`: 1 for equal histograms, 0 for those that share nothing.

The paper takes the features of GPT-2; here they are whatever vectors are at hand, so that figures compare only where
the vectors, the numbers of texts and the numbers of buckets are the same.
"""

import numpy as np
from numpy.typing import NDArray

# The paper's scaling of divergences (section 3). SynthesizRR takes 1, which gives sets that share nothing 0.5.
SCALING = 5.0
# SynthesizRR's number of buckets. The paper takes a tenth of the texts: as many as that are never exceeded.
BUCKETS = 30
VARIANCE = 0.9
MIXTURES = 25
RESTARTS = 5
MAX_ROUNDS = 100

Vectors = NDArray[np.float32]
Histogram = NDArray[np.float64]


def mauve(ours: Vectors, theirs: Vectors, *, buckets: int = BUCKETS, scaling: float = SCALING, seed: int = 0) -> float:
    """Return how near two sets of texts are, by vectors of them: from 0 to 1, higher is nearer.

    A diagnostic of a finished dataset and never a criterion to select it by: selected by it, a dataset is fitted to
    the texts that it is compared with, which are those that its student is evaluated on.

    Args:
        ours: Vectors of shape (n, d).
        theirs: Vectors of shape (m, d). Equal n and m are best: the fewer there are of either, the lower the figure.
        buckets: At most; not more than a tenth of the texts on either side, and at least 2.

    Raises:
        ValueError: One side has no vectors, or they differ in length.
    """
    if ours.ndim != 2 or theirs.ndim != 2 or not len(ours) or not len(theirs) or ours.shape[1] != theirs.shape[1]:
        raise ValueError(
            f"MAUVE compares two sets of vectors of one length, not of shapes {ours.shape}, {theirs.shape}."
        )
    count = max(2, min(buckets, len(ours) // 10, len(theirs) // 10))
    features = _reduced(np.concatenate([ours, theirs]).astype(np.float64))
    bucket = quantise(features, count, seed=seed)
    first, second = (
        np.bincount(part, minlength=count) / len(part) for part in (bucket[: len(ours)], bucket[len(ours) :])
    )
    return frontier_area(first, second, scaling=scaling)


def _reduced(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return features at unit length, projected on the directions that hold 90 % of their variance."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    features = features / np.where(lengths > 0, lengths, 1.0)
    centred = features - features.mean(axis=0)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    held = np.cumsum(sizes**2)
    kept = int(np.searchsorted(held, VARIANCE * held[-1])) + 1
    return np.asarray(centred @ directions[:kept].T)


def quantise(features: NDArray[np.float64], count: int, *, seed: int = 0) -> NDArray[np.int64]:
    """Return the number of its cluster for each row: the best of 5 runs of k-means, begun by k-means++."""
    chance = np.random.default_rng(seed)
    best, least = np.zeros(len(features), dtype=np.int64), np.inf
    for _ in range(RESTARTS):
        centres = _first_centres(features, count, chance)
        bucket = np.full(len(features), -1)
        for _ in range(MAX_ROUNDS):
            distances = _distances(features, centres)
            moved = distances.argmin(axis=1)
            if np.array_equal(moved, bucket):
                break
            bucket = moved
            centres = _means(features, bucket, centres)
        spread = float(distances.min(axis=1).sum())
        if spread < least:
            best, least = bucket, spread
    return best


def _first_centres(features: NDArray[np.float64], count: int, chance: np.random.Generator) -> NDArray[np.float64]:
    """Return rows that lie apart: each is drawn by its squared distance to those before (k-means++)."""
    chosen = [int(chance.integers(len(features)))]
    nearest = _distances(features, features[chosen])[:, 0]
    while len(chosen) < count:
        total = nearest.sum()
        shares = nearest / total if total > 0 else None  # fewer different rows than clusters
        chosen.append(int(chance.choice(len(features), p=shares)))
        nearest = np.minimum(nearest, _distances(features, features[chosen[-1:]])[:, 0])
    return features[chosen]


def _distances(features: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return squared distances, of shape (rows, centres)."""
    squares = (features**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1)[None]
    return np.asarray(np.maximum(squares - 2 * features @ centres.T, 0.0))


def _means(
    features: NDArray[np.float64], bucket: NDArray[np.int64], before: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return each cluster's mean; one that lost its last row stays where it was."""
    member = np.eye(len(before))[bucket]
    sizes = member.sum(axis=0)[:, None]
    return np.where(sizes > 0, member.T @ features / np.maximum(sizes, 1), before)


def frontier_area(first: Histogram, second: Histogram, *, scaling: float = SCALING) -> float:
    """Return the area under the divergence frontier of two histograms over the same buckets, each with the sum 1.

    For mixtures r = w p + (1 - w) q the curve runs through (exp(-c KL(q, r)), exp(-c KL(p, r))), from (1, 0) to (0, 1)
    as w grows (section 3; 25 mixtures as in the authors' package).
    """
    shares = np.linspace(1e-6, 1 - 1e-6, MIXTURES)
    mixtures = [share * first + (1 - share) * second for share in shares]
    x = np.exp([0.0, *(-scaling * _divergence(second, mixture) for mixture in mixtures), -np.inf])
    y = np.exp([-np.inf, *(-scaling * _divergence(first, mixture) for mixture in mixtures), 0.0])
    return float((-np.diff(x) * (y[1:] + y[:-1])).sum() / 2)


def _divergence(first: Histogram, second: Histogram) -> float:
    """Return the Kullback-Leibler divergence of `first` from `second`, in nats."""
    held = first > 0
    return float((first[held] * np.log(first[held] / second[held])).sum())
