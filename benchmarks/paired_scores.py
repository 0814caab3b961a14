"""Students' scores beside each other: means over seeds, and how sure their differences are.

A difference is uncertain for two reasons: another seed gives other training rows, and another test set would hold
other rows. The spread over seeds says the first. The interval says both: seeds and test rows are drawn with
replacement, for both students of a pair the same ones (a paired bootstrap), and it spans 95 % of the differences.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rebase_hf.task import Task

Array = np.ndarray[Any, Any]
RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Contender:
    """Students that learnt from one kind of data, one a seed.

    Attributes:
        rows: How many rows each learnt from.
        predictions: For each seed (number of test rows,) places in the task's labels.
    """

    rows: Sequence[int]
    predictions: Sequence[Array]


def metric_values(metric: str, expected: Array, predicted: Array, weights: Array, labels: int) -> Array:
    """Return a metric under each weighting of the test rows.

    Args:
        metric: `accuracy`, or `macro_f1` as `students.metrics` has it: over the labels that occur among either.
        weights: (weightings, test rows); all ones is the metric itself.
    """
    right = (expected == predicted).astype(float)
    if metric != "macro_f1":
        return np.asarray(weights @ right / weights.sum(axis=1))
    of = np.eye(labels)
    hits = weights @ (of[expected] * right[:, None])
    either = weights @ (of[expected] + of[predicted])
    f1 = np.divide(2 * hits, either, out=np.zeros_like(hits), where=either > 0)
    return np.asarray(f1.sum(axis=1) / (either > 0).sum(axis=1))


def compared(
    task: Task, held_out: Sequence[Mapping[str, str]], contenders: Mapping[str, Contender], pairs: Sequence[str]
) -> dict[str, Any]:
    """Return the figures of contenders, and of the first's differences from those named in `pairs`."""
    names = list(task.labels)
    expected = np.asarray([names.index(row[task.output]) for row in held_out])
    count, chance = len(expected), np.random.default_rng(0)
    drawn = chance.multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(np.float32)
    weights = np.concatenate([np.ones((1, count), np.float32), drawn])
    values = {
        name: np.stack([metric_values(task.metric, expected, p, weights, len(names)) for p in held.predictions])
        for name, held in contenders.items()
    }
    first = next(iter(contenders))
    seeds = values[first].shape[0]
    picks = chance.integers(0, seeds, size=(RESAMPLES, seeds))
    return {
        "metric": task.metric,
        "test_rows": count,
        "seeds": seeds,
        "scores": {name: _score(contenders[name], found[:, 0]) for name, found in values.items()},
        "differences": {name: _difference(values[first] - values[name], picks) for name in pairs if name in values},
    }


def _score(held: Contender, found: Array) -> dict[str, Any]:
    spread = float(found.std(ddof=1)) if len(found) > 1 else 0.0
    return {
        "mean": round(float(found.mean()), 4),
        "std": round(spread, 4),
        "rows": round(float(np.mean(held.rows)), 1),
        "by_seed": [round(float(score), 4) for score in found],
    }


def _difference(found: Array, picks: Array) -> dict[str, float]:
    """Return the mean of differences of shape (seeds, 1 + resamples), the first column of which is no resample."""
    own, resampled = found[:, 0], found[picks, 1 + np.arange(len(picks))[:, None]].mean(axis=1)
    low, high = np.percentile(resampled, [2.5, 97.5])
    error = float(own.std(ddof=1) / np.sqrt(len(own))) if len(own) > 1 else 0.0
    mean = float(own.mean())
    return {
        "mean": round(mean, 4),
        "error": round(error, 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
    }
