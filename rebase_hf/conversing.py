"""Leading a talk through a teacher: what it asks is asked, until it ends."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Generic

from rebase_hf.questions import Dialogue, Outcome, T, Talk, no_answer
from rebase_hf.rows import Completion, Draft, Dropped
from rebase_hf.teacher.asking import Asker, Unanswered


@dataclass(slots=True)
class Asked:
    """What was asked in a talk.

    Attributes:
        attempts: How often was tried in all.
        keys: The requests, in the order in which they were made; blank where one had none.
    """

    attempts: int = 0
    keys: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Led(Generic[T]):
    """What a talk returned, and what was asked in it."""

    value: T
    asked: Asked


def unasked(dropped: Dropped) -> Led[tuple[Outcome, ...]]:
    """Return what comes of a draft that nothing is asked about."""
    return Led((dropped,), Asked())


async def lead_dialogue(asker: Asker, dialogue: Dialogue, draft: Draft) -> Led[tuple[Outcome, ...]]:
    """Ask what is asked about a draft, to its end; a question that has no usable answer is the end too."""
    asked = Asked()
    try:
        outcomes = await lead(asker, dialogue, asked)
    except Unanswered as error:
        asked.keys.append(error.key or "")
        lost = Dropped("teacher", error.reason, error.detail, draft.row, error.key, attempts=error.attempts)
        return Led((lost,), asked)
    return Led(
        tuple(
            replace(one, attempts=asked.attempts) if isinstance(one, Dropped) and one.stage == "teacher" else one
            for one in outcomes
        ),
        asked,
    )


async def lead(asker: Asker, talk: Talk[T], asked: Asked | None = None) -> T:
    """Ask what a talk asks, to its end, and return what it returns.

    Args:
        asked: Is told what was asked.

    Raises:
        Unanswered: A question that is not optional has no usable answer.
        RebaseError: The teacher can't be asked any more.
    """
    asked = asked or Asked()
    try:
        questions = next(talk)
        while True:
            questions = talk.send(await _answers(asker, questions, asked))
    except StopIteration as end:
        value: T = end.value
        return value


async def _answers(asker: Asker, questions: tuple[Draft, ...], asked: Asked) -> tuple[Completion, ...]:
    """Ask what may be asked at the same time; what is asked is answered and kept even where one fails."""
    found = await asyncio.gather(*map(asker.ask, questions), return_exceptions=True)
    answers: list[Completion] = []
    for question, answer in zip(questions, found, strict=True):
        if isinstance(answer, Unanswered) and question.optional:
            answers.append(no_answer(answer.key, asker.identity.model))
            continue
        if isinstance(answer, Unanswered):
            answer.attempts += asked.attempts
        if isinstance(answer, BaseException):
            raise answer
        answers.append(answer)
    asked.attempts += sum(answer.attempts for answer in answers)
    asked.keys += [answer.key for answer in answers]
    return tuple(answers)
