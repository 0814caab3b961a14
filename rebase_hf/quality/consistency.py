"""Self-consistency: of several reasoned answers to one question, the answer that most of them come to.

Wang et al. (arXiv 2203.11171) sample several rationales and take the answer that most lead to. Where few agree the
answer is a guess, whatever the best rationale says, so the share that agrees says what to keep.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rebase_hf.quality.answers import answer_key
from rebase_hf.quality.checks import Refusal
from rebase_hf.task import Task

# Three of five, our own choice: more than half, so that no other answer has as many.
AGREEING = 0.6


@dataclass(frozen=True, slots=True)
class Vote:
    """What several answers come to.

    Attributes:
        answer: The one that most say, as the first of them spells it; None where none could be read.
        places: Which of the answers say it, in order: the first of their rationales leads to it.
        asked: How many there were, unreadable ones included.
    """

    answer: str | None
    places: tuple[int, ...]
    asked: int

    @property
    def share(self) -> float:
        """The share of all answers that say it; 0 where none were given."""
        return len(self.places) / self.asked if self.asked else 0.0


def vote(task: Task, answers: Sequence[str | None]) -> Vote:
    """Return the answer that most of several give; of as many, that which was given first.

    Args:
        answers: A task's outputs, None for one that could not be read: it counts as an answer that agrees with none.
    """
    places: dict[str, list[int]] = {}
    for place, answer in enumerate(answers):
        if answer is not None:
            places.setdefault(answer_key(task, answer), []).append(place)
    if not places:
        return Vote(None, (), len(answers))
    most = max(places.values(), key=len)  # the first of equals: keys stand in the order in which they were given
    return Vote(answers[most[0]], tuple(most), len(answers))


def inconsistent(task: Task, answers: Sequence[str | None], *, least: float = AGREEING) -> Refusal | None:
    """Refuse a question whose answers do not agree; None where the share `least` of them, or more, is of one answer.

    Raises:
        ValueError: `least` is no share.
    """
    if not 0 <= least <= 1:
        raise ValueError(f"least is {least!r}; expected a share from 0 to 1, such as {AGREEING}.")
    found = vote(task, answers)
    if found.answer is not None and found.share >= least:
        return None
    said = (
        "none could be read" if found.answer is None else f"{len(found.places)} of {found.asked} are `{found.answer}`"
    )
    return "inconsistent_answers", f"{said}; {least:.0%} must agree"
