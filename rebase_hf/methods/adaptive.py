"""When not to retrieve (arXiv 2212.10511): a threshold, chosen on a development split, decides question by question.

1. The split's questions are answered with retrieved context and without, and both answers are marked right or wrong.
2. They are sorted by a number that is known before anything is retrieved or read: how similar the nearest row is, or,
   as in the paper, how popular the thing is that is asked about (log10 of its page views, in 10 bins).
3. Every cut between two of them is a rule: on one side the context is used, on the other it is not. The rule with most
   right answers is taken; "always" and "never" are cuts too. Of equal rules, the one that retrieves less.
4. How far that holds for other questions is told by bootstrap (100 draws there as well): the rule is chosen on a draw
   with repetition, and scored on the questions that the draw left out.

The official notebook chooses one threshold for each relation of its questions; tasks here have one kind of question.
This file imports nothing of the rest, so that a student can decide by it at inference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import log10
from typing import Any, Literal

from rebase_hf.methods.thresholds import (
    CurvePoint,
    HeldOut,
    Marked,
    Use,
    best_of,
    curve_of,
    cuts_between,
    end_points,
    held_out,
    marked_questions,
    used,
    uses_context,
)

Measure = Literal["similarity", "popularity"]
BINS = 10
DRAWS = 100


@dataclass(frozen=True, slots=True)
class AdaptiveDecision:
    """For which questions context is used.

    Attributes:
        use: `above`: from the threshold on; `below`: under it; `always`; `never`.
        threshold: Of similarity, or of log10 of popularity; None for `always` and `never`.
        rows: Questions of the development split.
        accuracy: What the rule reached on them; `always` and `never` are what these would have.
        retrieved: Share of them that it uses context for.
        curve: What every threshold reached, in ascending order.
    """

    use: Use
    threshold: float | None
    measure: Measure
    rows: int
    accuracy: float
    always: float
    never: float
    retrieved: float
    curve: tuple[CurvePoint, ...]
    held_out: HeldOut

    @property
    def calls_saved(self) -> float:
        """Share of the questions for which nothing is retrieved."""
        return 1.0 - self.retrieved

    def uses_context(self, value: float) -> bool:
        """Return whether context is used for a question of this similarity, or popularity."""
        return uses_context(log_popularity(value) if self.measure == "popularity" else value, self.threshold, self.use)

    def to_dict(self) -> dict[str, Any]:
        """Return it as `report.json` holds it, `calls_saved` included."""
        return asdict(self) | {"curve": [asdict(point) for point in self.curve], "calls_saved": self.calls_saved}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> "AdaptiveDecision":
        """Return what `to_dict` told."""
        held = {name: told[name] for name in told if name != "calls_saved"}
        held["curve"] = tuple(CurvePoint(**point) for point in told["curve"])
        return cls(**held | {"held_out": HeldOut(**told["held_out"])})


def choose_threshold(
    similarity: Sequence[float],
    correct_with: Sequence[bool],
    correct_without: Sequence[bool],
    *,
    use: Literal["above", "below"] = "above",
    draws: int = DRAWS,
    seed: int = 0,
) -> AdaptiveDecision:
    """Return the rule that answers most of a development split's questions right.

    Args:
        similarity: Of each question: how near the nearest row found for it comes.
        correct_with: Whether its answer with context is right.
        correct_without: Whether its answer without is.
        use: On which side of a threshold context is used: where something near is found, or where nothing is.

    Raises:
        TaskError: There are no questions, or not as many of each.
    """
    marked = marked_questions(similarity, correct_with, correct_without)
    return _decision(marked, cuts_between(marked), use, "similarity", draws, seed)


def choose_popularity_threshold(
    popularity: Sequence[float],
    correct_with: Sequence[bool],
    correct_without: Sequence[bool],
    *,
    bins: int = BINS,
    draws: int = DRAWS,
    seed: int = 0,
) -> AdaptiveDecision:
    """Return the paper's rule: context for what is less popular than a threshold.

    Thresholds are the edges of `bins` bins of equal width over log10 of the popularity.

    Args:
        popularity: Of what each question asks about: page views, or any count.

    Raises:
        TaskError: There are no questions, or not as many of each.
    """
    marked = marked_questions([log_popularity(value) for value in popularity], correct_with, correct_without)
    low, high = marked[0][0], marked[-1][0]
    edges = [low + (high - low) * i / bins for i in range(1, bins)] if high > low else []
    return _decision(marked, edges, "below", "popularity", draws, seed)


def _decision(
    marked: Sequence[Marked], cuts: Sequence[float], use: Use, measure: Measure, draws: int, seed: int
) -> AdaptiveDecision:
    curve = curve_of(marked, cuts, use)
    best = best_of(curve)
    always, never = end_points(marked)
    return AdaptiveDecision(
        use=used(best, use),
        threshold=best.threshold,
        measure=measure,
        rows=len(marked),
        accuracy=best.accuracy,
        always=always,
        never=never,
        retrieved=best.retrieved,
        curve=tuple(curve),
        held_out=held_out(marked, cuts, use, draws, seed),
    )


def log_popularity(popularity: float) -> float:
    """Return the number that a threshold of popularity is one of."""
    return log10(max(popularity, 1.0))
