"""Self-consistency: of several reasoned answers to one question, the answer that most of them come to.

Wang et al. (arXiv 2203.11171) sample several rationales and take the answer that most lead to. Where few agree the
answer is a guess, whatever the best rationale says, so the share that agrees says what to keep.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from rebase_hf.errors import TaskError
from rebase_hf.quality.answer_checks import AnswerCheck
from rebase_hf.quality.answerability import Fields, blind_answer, blind_draws, worth_asking
from rebase_hf.quality.answers import answer_key, same_answer
from rebase_hf.quality.checks import Refusal
from rebase_hf.questions import Dialogue
from rebase_hf.rows import Dropped
from rebase_hf.task import Task
from rebase_hf.teacher.target import Teacher

NAME = "inconsistent_answers"
# Reasoned answers to each question: as many as KARD's student votes by.
DRAWS = 5

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
    return NAME, f"{said}; {least:.0%} must agree"


def check_consistent(task: Task, least: float | None, teacher: Teacher) -> None:
    """Check that there is reasoning whose answers can agree, and a teacher to draw it from.

    Args:
        least: The share that must agree; None asks nothing.

    Raises:
        TaskError: There is not.
    """
    if least is None:
        return
    if not task.reasons:
        raise TaskError(
            f"consistent is {least:g}, and the examples of task `{task.name}` have no rationales: there is no "
            "reasoning to compare. Give them some, or use answerable=2, which asks for the output alone."
        )
    if teacher.kind in ("few-shot", "none"):
        raise TaskError(
            f"consistent is {least:g}, and the teacher `{teacher.target}` does not reason. Leave it out, or give a "
            "URL, a model id or `local:MODEL` as the teacher."
        )


def consistent(
    task: Task, dialogue: Dialogue, *, least: float, draws: int = DRAWS, checks: Sequence[AnswerCheck] = ()
) -> Dialogue:
    """Lead a dialogue, then have the teacher reason anew from each output's inputs; drop what it does not agree on.

    An output stays where a share `least` of the draws, or more, come to one answer, and that answer is the output.
    The draws are those of `answerability`, so what both ask is paid once.

    Args:
        checks: What the gate asks of an answer alone, by the run's options: what these refuse is not asked about.
    """
    outcomes = yield from dialogue
    asked = worth_asking(task, outcomes, checks)
    if not asked:
        return outcomes
    drafts = [draft for _, fields in asked.values() for draft in blind_draws(task, fields, 0, draws)]
    said = iter((yield tuple(drafts)))
    decided = list(outcomes)
    for place, (outcome, fields) in asked.items():
        answers = [blind_answer(task, completion) for completion in islice(said, draws)]
        if (refusal := _disagreement(task, fields, answers, least)) is not None:
            completion = outcome.completion
            decided[place] = Dropped("checks", *refusal, outcome.draft.row, completion.key, completion.text)
    return tuple(decided)


def _disagreement(task: Task, fields: Fields, answers: Sequence[str | None], least: float) -> Refusal | None:
    if (refusal := inconsistent(task, answers, least=least)) is not None:
        return refusal
    found, output = vote(task, answers).answer, fields[task.output]
    if found is None or same_answer(task, output, found):
        return None
    return NAME, f"asked anew, most come to `{found[:80]}`, not to `{output[:80]}`"
