"""What is asked about one draft, one question after another, and what comes of it.

A dialogue does nothing itself: it yields the questions to ask next, is sent their answers, and returns the outcomes.
So the leader can lead it through the teacher, and a rehearsal through the journal alone. Questions that are yielded
together do not depend on each other and may be asked at the same time.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from rebase_hf.rows import Completion, Draft, Dropped
from rebase_hf.task import Task
from rebase_hf.teacher.faults import BY_READING
from rebase_hf.teacher.prompts import Parsed, Unreadable, answer_keys, parse_answer, repair_draft


@dataclass(frozen=True, slots=True)
class Answered:
    """A draft with one output that was read from its answer.

    Attributes:
        draft: As it was asked in the end, with whatever rows and passages went into the output.
        completion: The answer that the output stands in.
    """

    draft: Draft
    completion: Completion
    parsed: Parsed


# How an optional question ended that has no usable answer.
UNANSWERED = "unanswered"
T = TypeVar("T")
Outcome = Answered | Dropped
# What asks: yields questions, is sent their answers, returns what came of them.
Talk = Generator[tuple[Draft, ...], tuple[Completion, ...], T]
Dialogue = Talk[tuple[Outcome, ...]]


@dataclass(frozen=True, slots=True)
class Read(Generic[T]):
    """What an answer says, with the question (the first, or a repair) that it answers."""

    draft: Draft
    completion: Completion
    value: T


def no_answer(key: str | None, model: str) -> Completion:
    """Return what an optional question without a usable answer counts as: one that says nothing."""
    return Completion(key or "", "", UNANSWERED, model, attempts=0)


def ask_until_read(
    draft: Draft, read: Callable[[str], T | Unreadable], keys: Sequence[str]
) -> Talk[Read[T] | Dropped]:
    """Ask a draft, and once more where its answer can't be read; return what it says, or that it can't be read.

    How often a row is asked about is said where faults are (`faults.BY_READING`).

    Args:
        read: Reads an answer's text.
        keys: The keys of the JSON object that a repair asks for.
    """
    while True:
        (completion,) = yield (draft,)
        if completion.finish_reason == UNANSWERED:
            return Dropped("teacher", UNANSWERED, completion.text, draft.row, completion.key)
        value = read(completion.text)
        if not isinstance(value, Unreadable):
            return Read(draft, completion, value)
        if draft.repair + 1 >= BY_READING[value.reason].attempts:
            return Dropped("teacher", value.reason, value.detail, draft.row, completion.key, completion.text)
        draft = repair_draft(keys, draft, completion.text, value)


def one_example(task: Task, draft: Draft) -> Dialogue:
    """Ask for one example of the task as a JSON object with its fields: one output."""
    found = yield from ask_until_read(draft, lambda text: parse_answer(task, text), answer_keys(task))
    if isinstance(found, Dropped):
        return (found,)
    return (Answered(found.draft, found.completion, found.value),)


def together(talks: Sequence[Talk[T]]) -> Talk[list[T]]:
    """Lead several talks at once: what all of them ask next is asked together; return what each returns, in order."""
    ended: dict[int, T] = {}
    asking: dict[int, tuple[Draft, ...]] = {}
    answers: dict[int, tuple[Completion, ...] | None] = dict.fromkeys(range(len(talks)))
    while answers:
        asking.clear()
        for number, given in answers.items():
            try:
                asking[number] = next(talks[number]) if given is None else talks[number].send(given)
            except StopIteration as end:
                ended[number] = end.value
        if not asking:
            break
        said = iter((yield tuple(draft for drafts in asking.values() for draft in drafts)))
        answers = {number: tuple(islice(said, len(drafts))) for number, drafts in asking.items()}
    return [ended[number] for number in range(len(talks))]
