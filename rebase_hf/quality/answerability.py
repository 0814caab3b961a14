"""Round-trip answerability: an example stays only if somebody who sees its inputs alone comes to its output.

1. Take an example that was made, with its output.
2. Have its inputs answered by the teacher itself, asked anew, up to `tries` times (after SimRAG, arXiv 2410.17952;
   Source2Synth, arXiv 2409.08239, asks a student that was trained on other examples: `cartography` is what does here).
3. Keep it if `needed` of the answers say what its output says. What no answer comes to was made badly, or can't be
   known from its inputs.

Answers are compared as `answers.same_answer` says: labels, numbers and short texts come out the same, long ones hardly
ever do. So it fits classification, extraction and tasks with short answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice

from rebase_hf.errors import TaskError
from rebase_hf.quality.answer_checks import AnswerCheck
from rebase_hf.quality.answers import same_answer
from rebase_hf.quality.checks import (
    Refusal,
    answer_not_in_input,
    empty_field,
    label_not_in_task,
    settle_label,
)
from rebase_hf.questions import Answered, Dialogue, Outcome
from rebase_hf.rows import Completion, Draft, Dropped
from rebase_hf.task import Task
from rebase_hf.teacher.blind_prompts import blind_draft, blind_keys
from rebase_hf.teacher.prompts import Unreadable, parse_object
from rebase_hf.teacher.target import Teacher

NAME = "not_answerable"
# Source2Synth's number of tries; one answer of them that is right will do there.
TRIES = 3
NEEDED = 1
# What these refuse is dropped for it anyway, and is not worth paying for.
AT_SIGHT = (empty_field, label_not_in_task, answer_not_in_input)
_SHOWN_CHARS = 80

Fields = Mapping[str, str]


def check_blind(needed: int, teacher: Teacher, tries: int = TRIES) -> None:
    """Check that a teacher can be asked blind as often as is needed.

    Args:
        needed: How many of `tries` answers must come to an output; 0 asks none.

    Raises:
        TaskError: `needed` is no such number, or the teacher can't be asked.
    """
    if isinstance(needed, bool) or not isinstance(needed, int) or not 0 <= needed <= tries:
        raise TaskError(
            f"answerable is {needed!r}; expected how many of {tries} blind answers must come to an example's output: "
            f"1 to {tries}, or 0 to ask none."
        )
    if needed and teacher.kind in ("few-shot", "none"):
        raise TaskError(
            f"answerable is {needed}, and the teacher `{teacher.target}` can't be asked for the output of a text. Set "
            "answerable to 0, or give a URL, a model id or `local:MODEL` as the teacher."
        )


def _right(task: Task, fields: Fields, given: Sequence[str | None]) -> int:
    return sum(text is not None and same_answer(task, fields[task.output], text) for text in given)


def _refusal(task: Task, fields: Fields, given: Sequence[str | None], needed: int) -> Refusal | None:
    right = _right(task, fields, given)
    if right >= needed:
        return None
    said = ", ".join("an unreadable answer" if text is None else f"`{text[:_SHOWN_CHARS]}`" for text in given)
    output = fields[task.output][:_SHOWN_CHARS]
    return NAME, f"asked blind, {right} of {len(given)} answers are `{output}`, {needed} needed; they are {said}"


def answerable(
    task: Task,
    dialogue: Dialogue,
    *,
    tries: int = TRIES,
    needed: int = NEEDED,
    checks: Sequence[AnswerCheck] = (),
) -> Dialogue:
    """Lead a dialogue, then have the teacher answer each of its outputs blind; drop those that it does not come to.

    Each output is asked about as many times as answers are still missing, as draws of their own, until `needed` are
    right or can't become right any more: one that is answered at once costs `needed` questions. Those about one draft
    are asked together. An answer that can't be read comes to nothing, and is not repaired. An output that a check
    refuses at sight is not asked about: the gate drops it with that reason.

    Args:
        checks: What the gate asks of an answer alone, by the run's options.
    """
    outcomes = yield from dialogue
    asked = worth_asking(task, outcomes, checks)
    given: dict[int, list[str | None]] = {place: [] for place in asked}
    while wanted := _wanted(task, asked, given, tries, needed):
        drafts = {
            place: blind_draws(task, asked[place][1], len(given[place]), count) for place, count in wanted.items()
        }
        answers = iter((yield tuple(draft for some in drafts.values() for draft in some)))
        for place, some in drafts.items():
            given[place] += [blind_answer(task, completion) for completion in islice(answers, len(some))]
    decided = list(outcomes)
    for place, (outcome, fields) in asked.items():
        if (refusal := _refusal(task, fields, given[place], needed)) is not None:
            completion = outcome.completion
            decided[place] = Dropped("checks", *refusal, outcome.draft.row, completion.key, completion.text)
    return tuple(decided)


def worth_asking(
    task: Task, outcomes: Sequence[Outcome], checks: Sequence[AnswerCheck]
) -> dict[int, tuple[Answered, dict[str, str]]]:
    """Return the outputs that no check refuses at sight, by their place, each with its fields."""
    return {
        place: (outcome, fields)
        for place, outcome in enumerate(outcomes)
        if isinstance(outcome, Answered)
        and not _refused(task, fields := settled_fields(task, outcome), outcome, checks)
    }


def _wanted(
    task: Task,
    asked: Mapping[int, tuple[Answered, Fields]],
    given: Mapping[int, list[str | None]],
    tries: int,
    needed: int,
) -> dict[int, int]:
    """Return how many more answers each output that is not decided yet is to get at once."""
    right = {place: _right(task, fields, given[place]) for place, (_, fields) in asked.items()}
    return {
        place: needed - found for place, found in right.items() if found < needed <= found + tries - len(given[place])
    }


def settled_fields(task: Task, outcome: Answered) -> dict[str, str]:
    """Return an output's fields, a label in the task's own spelling."""
    fields = dict(outcome.parsed.fields)
    if task.labels:
        fields[task.output] = settle_label(task, fields[task.output])
    return fields


def _refused(task: Task, fields: Fields, outcome: Answered, checks: Sequence[AnswerCheck]) -> bool:
    rationale = outcome.parsed.rationale
    if any(check(task, fields, rationale) is not None for check in AT_SIGHT):
        return True
    return any(check.refuse(fields, rationale) is not None for check in checks)


def blind_draws(task: Task, fields: Fields, first: int, count: int) -> tuple[Draft, ...]:
    """Return `count` draws of the question for an example's output, from the draw `first` on."""
    draft = blind_draft(task, fields)
    return tuple(replace(draft, sample=sample) for sample in range(first, first + count))


def blind_answer(task: Task, completion: Completion) -> str | None:
    """Return the output that a blind answer gives; None where none can be read."""
    found = parse_object(completion.text, blind_keys(task))
    return None if isinstance(found, Unreadable) else found[task.output]
