"""Which threshold of a number separates the questions that context helps from those that it does not."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Literal

from rebase_hf.errors import TaskError

Use = Literal["above", "below", "always", "never"]
# A question: its number, and whether it was answered right with context and without.
Marked = tuple[float, bool, bool]


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What a threshold brings on the development split.

    Attributes:
        threshold: None for the two rules that ask for none, always and never.
        accuracy: Share of right answers.
        retrieved: Share of questions that are answered with context.
    """

    threshold: float | None
    accuracy: float
    retrieved: float


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What the choice brings on questions that it was not made on: means over bootstrap draws.

    Attributes:
        accuracy: Of the rule chosen, with its standard deviation in `accuracy_std`.
        always: Accuracy with context for all of the same questions.
        never: Accuracy without.
    """

    draws: int
    accuracy: float
    accuracy_std: float
    always: float
    never: float
    retrieved: float


def marked_questions(
    values: Sequence[float], correct_with: Sequence[bool], correct_without: Sequence[bool]
) -> list[Marked]:
    """Return the questions by value: (value, right with context, right without)."""
    counts = len(values), len(correct_with), len(correct_without)
    if len(set(counts)) > 1 or not counts[0]:
        raise TaskError(
            f"A threshold is chosen on as many values as answers with and without context, at least one; got "
            f"{counts[0]}, {counts[1]} and {counts[2]}."
        )
    return sorted(zip(values, map(bool, correct_with), map(bool, correct_without), strict=True))


def cuts_between(marked: Sequence[Marked]) -> list[float]:
    """Return a threshold between every two neighbours whose numbers differ."""
    cuts = []
    for (low, *_), (high, *_) in zip(marked, marked[1:], strict=False):
        if low < high:
            middle = (low + high) / 2
            cuts.append(middle if low < middle else high)
    return cuts


def curve_of(marked: Sequence[Marked], cuts: Sequence[float], use: Use) -> list[CurvePoint]:
    """Return what each threshold brings, between the two ends: context for all questions, and for none.

    Args:
        marked: By number.
        cuts: Ascending.
        use: `above` gives context to the questions from a threshold on, `below` to those under it.
    """
    always, never = end_points(marked)
    # Right answers where all questions are on the upper side; each that comes to lie under a threshold changes sides.
    right = sum(with_ if use == "above" else without for _, with_, without in marked)
    points, under, count = [], 0, len(marked)
    for cut in cuts:
        while under < count and marked[under][0] < cut:
            _, with_, without = marked[under]
            right += (without - with_) if use == "above" else (with_ - without)
            under += 1
        retrieved = count - under if use == "above" else under
        points.append(CurvePoint(cut, right / count, retrieved / count))
    all_, none = CurvePoint(None, always, 1.0), CurvePoint(None, never, 0.0)
    return [all_, *points, none] if use == "above" else [none, *points, all_]


def end_points(marked: Sequence[Marked]) -> tuple[float, float]:
    """Return the accuracy with context for all questions, and for none."""
    return fmean(with_ for _, with_, _ in marked), fmean(without for _, _, without in marked)


def best_of(curve: Sequence[CurvePoint]) -> CurvePoint:
    """Return the point of highest accuracy; of equal ones that which retrieves least."""
    return max(curve, key=lambda point: (point.accuracy, -point.retrieved))


def used(point: CurvePoint, use: Use) -> Use:
    """Return the rule that a point of a curve stands for."""
    if point.threshold is not None:
        return use
    return "always" if point.retrieved else "never"


def uses_context(value: float, threshold: float | None, use: Use) -> bool:
    """Return whether a rule gives context to a question with this number."""
    if threshold is None:
        return use == "always"
    return (value >= threshold) == (use == "above")


def held_out(marked: Sequence[Marked], cuts: Sequence[float], use: Use, draws: int, seed: int) -> HeldOut:
    """Choose on draws with repetition and score on what each leaves out; on all where a draw leaves nothing."""
    chance = random.Random(seed)
    scores: list[tuple[float, float, float, float]] = []
    for _ in range(draws):
        drawn = sorted(chance.choices(range(len(marked)), k=len(marked)))
        taken = set(drawn)
        left = [question for i, question in enumerate(marked) if i not in taken] or marked
        best = best_of(curve_of([marked[i] for i in drawn], cuts, use))
        context = [uses_context(value, best.threshold, used(best, use)) for value, _, _ in left]
        right = [with_ if given else without for given, (_, with_, without) in zip(context, left, strict=True)]
        scores.append((fmean(right), *end_points(left), fmean(context)))
    accuracy, always, never, retrieved = map(fmean, zip(*scores, strict=True))
    return HeldOut(draws, accuracy, pstdev(score[0] for score in scores), always, never, retrieved)
