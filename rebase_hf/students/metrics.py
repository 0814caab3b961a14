"""Metrics, computed here: nothing is downloaded.

Every metric takes predictions and references, equally many and in the same order, and returns a share between 0 and 1.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from rebase_hf.errors import StudentError
from rebase_hf.quality.answers import normalize_answer
from rebase_hf.task import METRICS, Task

Metric = Callable[[Sequence[str], Sequence[str]], float]

# Metrics of which less is better.
ERRORS = frozenset({"ece"})
CALIBRATION_BINS = 15
CHRF_ORDER = 6
CHRF_BETA = 2.0


def score(task: Task, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Return the task's metric first, then the others that are usual for its kind.

    Raises:
        StudentError: There is nothing to score, or not one prediction a reference.
    """
    if len(predictions) != len(references) or not references:
        raise StudentError(
            f"{len(predictions)} predictions were given for {len(references)} references; "
            "scoring needs one prediction a reference, and at least one."
        )
    names = dict.fromkeys((task.metric, *METRICS[task.kind]))
    return {name: METRIC_FUNCTIONS[name](predictions, references) for name in names}


def accuracy(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Return the share of predictions that equal their reference."""
    return _mean([float(a == b) for a, b in zip(predictions, references, strict=True)])


def macro_f1(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Return the F1 of each label that occurs among references or predictions, averaged over labels."""
    hits = Counter(b for a, b in zip(predictions, references, strict=True) if a == b)
    predicted, expected = Counter(predictions), Counter(references)
    labels = sorted(predicted.keys() | expected.keys())
    return _mean([2 * hits[label] / (predicted[label] + expected[label]) for label in labels])


def exact_match(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Return the share of predictions that equal their reference after SQuAD's normalisation."""
    pairs = zip(predictions, references, strict=True)
    return _mean([float(normalize_answer(a) == normalize_answer(b)) for a, b in pairs])


def squad_f1(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Return SQuAD's F1: the overlap of normalised words as a bag, averaged over rows (arXiv 1606.05250)."""
    return _mean([_word_f1(a, b) for a, b in zip(predictions, references, strict=True)])


def rouge_l(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Return ROUGE-L: the F1 of the longest common subsequence of lower-case words, averaged over rows."""
    return _mean([_rouge_l(a, b) for a, b in zip(predictions, references, strict=True)])


def chrf(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Return chrF2 (Popović 2015): F2 of the mean precision and recall of character 1- to 6-grams, blanks left out.

    Counted over the whole set, as sacreBLEU does, and between 0 and 1.
    """
    precisions, recalls = [], []
    for order in range(1, CHRF_ORDER + 1):
        hits = predicted = expected = 0
        for prediction, reference in zip(predictions, references, strict=True):
            ours, theirs = _character_ngrams(prediction, order), _character_ngrams(reference, order)
            hits += (ours & theirs).total()
            predicted += ours.total()
            expected += theirs.total()
        if predicted and expected:
            precisions.append(hits / predicted)
            recalls.append(hits / expected)
    precision, recall = _mean(precisions), _mean(recalls)
    weight = CHRF_BETA**2
    return (1 + weight) * precision * recall / (weight * precision + recall) if precision + recall else 0.0


def expected_calibration_error(
    probabilities: np.ndarray, references: Sequence[str], labels: Sequence[str], bins: int = CALIBRATION_BINS
) -> float:
    """Return how far a classifier's confidence is from how often it is right (Guo et al., arXiv 1706.04599, eq. 3).

    Predictions are put into bins of equal width by the probability of the likeliest label; of each bin the mean
    confidence is compared with the accuracy, and bins weigh as many rows as they hold.

    Args:
        probabilities: Shape (rows, labels), in the order of `labels`.
    """
    confidence = probabilities.max(axis=1)
    right = np.array([labels[place] for place in probabilities.argmax(axis=1)]) == np.array(references)
    # A bin holds its upper edge, as in the paper.
    number = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = [abs(confidence[number == one].sum() - right[number == one].sum()) for one in range(bins)]
    return float(sum(gaps) / len(references))


METRIC_FUNCTIONS: dict[str, Metric] = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "exact_match": exact_match,
    "squad_f1": squad_f1,
    "rouge_l": rouge_l,
    "chrf": chrf,
}


def _word_f1(prediction: str, reference: str) -> float:
    ours, theirs = normalize_answer(prediction).split(), normalize_answer(reference).split()
    if not ours or not theirs:
        return float(ours == theirs)
    common = (Counter(ours) & Counter(theirs)).total()
    return 2 * common / (len(ours) + len(theirs))


def _rouge_l(prediction: str, reference: str) -> float:
    ours, theirs = re.findall(r"\w+", prediction.lower()), re.findall(r"\w+", reference.lower())
    if not ours or not theirs:
        return float(ours == theirs)
    return 2 * _common_subsequence(ours, theirs) / (len(ours) + len(theirs))


def _common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the length of the longest common subsequence, in memory for one row of the table."""
    lengths = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0
        for place, other in enumerate(second, start=1):
            above = lengths[place]
            lengths[place] = diagonal + 1 if word == other else max(above, lengths[place - 1])
            diagonal = above
    return lengths[-1]


def _character_ngrams(text: str, order: int) -> Counter[str]:
    characters = "".join(text.split())
    return Counter(characters[start : start + order] for start in range(len(characters) - order + 1))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
