"""The checks that each answer must pass, whatever was accepted before, put together for a task.

What a task's examples do is allowed: where one of them is written in another language, or declines to help, a field's
answers may too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from rebase_hf.quality.checks import (
    Fields,
    Refusal,
    answer_not_in_input,
    empty_field,
    label_not_in_task,
    rationale_without_reasoning,
)
from rebase_hf.quality.languages import Spoken, known_language
from rebase_hf.quality.refusals import refusal_in
from rebase_hf.task import Task

# A shorter example is a name or a number; so short may any answer be, and ten times as long as if it were this long.
SHORT_CHARS = 20
RATIONALE = "rationale"


@dataclass(frozen=True, slots=True)
class AnswerCheck:
    """One check of an answer alone.

    Attributes:
        reasons: What it can refuse an answer for.
        refuse: Takes the task's fields and the rationale; returns None, or a reason and what a person needs.
        idle: Why it has nothing to say for this task; None where it does.
    """

    reasons: tuple[str, ...]
    refuse: Callable[[Fields, str | None], Refusal | None]
    idle: str | None = None


def answer_checks(
    task: Task, *, refusals: bool, length_factor: float | None, language: bool
) -> tuple[AnswerCheck, ...]:
    """Return the checks in the order in which they are applied.

    Args:
        refusals: Look for answers that decline to answer.
        length_factor: How many times as long as the longest example, or as short as the shortest, a field may be.
        language: Look for fields in another language than the task's.
    """
    written = _written_fields(task)
    return (
        AnswerCheck(("empty_field",), partial(empty_field, task)),
        _refusal_check(task, refusals),
        AnswerCheck(
            ("label_not_in_task",), partial(label_not_in_task, task), None if task.labels else "the task has no labels"
        ),
        AnswerCheck(
            ("answer_not_in_input",),
            partial(answer_not_in_input, task),
            None if task.extractive else "the task is not extractive",
        ),
        AnswerCheck(
            ("rationale_without_reasoning",),
            partial(rationale_without_reasoning, task),
            None if task.reasons else "the task has no rationales",
        ),
        _length_check(written, length_factor),
        _language_check(task, written, language),
    )


def _written_fields(task: Task) -> dict[str, list[str]]:
    """Return the fields that hold texts and no labels, with the examples' texts; spans are their inputs'."""
    names = task.fields if task.kind == "generation" else task.inputs
    written = {name: [example[name] for example in task.examples] for name in names}
    return written | {RATIONALE: [example[RATIONALE] for example in task.examples if RATIONALE in example]}


def _refusal_check(task: Task, wanted: bool) -> AnswerCheck:
    declining = {n for example in task.examples for n, text in example.items() if refusal_in(text) is not None}

    def refuse(fields: Fields, rationale: str | None) -> Refusal | None:
        for name, text in _with_rationale(fields, rationale).items():
            if name not in declining and (words := refusal_in(text)) is not None and not _belongs(task, name, fields):
                return "teacher_declined", f"`{name}` declines to answer: {words}"
        return None

    return AnswerCheck(("teacher_declined",), refuse if wanted else _pass, None if wanted else "it is off")


def _belongs(task: Task, name: str, fields: Fields) -> bool:
    """Whether an output is a label, or the span of an input, whatever its words."""
    if name != task.output:
        return False
    return fields[name] in task.labels or (task.extractive and answer_not_in_input(task, fields, None) is None)


def _length_check(written: Mapping[str, list[str]], factor: float | None) -> AnswerCheck:
    reasons = ("too_short", "too_long")
    if factor is None:
        return AnswerCheck(reasons, _pass, "any length will do")
    limits = {}
    for name, examples in written.items():
        lengths = [len(text.strip()) for text in examples]
        if lengths:
            least = min(lengths) / factor if min(lengths) >= SHORT_CHARS else 0.0
            limits[name] = (least, factor * max(SHORT_CHARS, *lengths), min(lengths), max(lengths))

    def refuse(fields: Fields, rationale: str | None) -> Refusal | None:
        texts = _with_rationale(fields, rationale)
        for name, (least, most, shortest, longest) in limits.items():
            length = len(texts.get(name, "").strip())
            if name in texts and not least <= length <= most:
                shown = f"`{name}` has {length} characters, the examples' {shortest} to {longest}"
                return ("too_short" if length < least else "too_long"), shown
        return None

    return AnswerCheck(reasons, refuse)


def _language_check(task: Task, written: Mapping[str, list[str]], wanted: bool) -> AnswerCheck:
    known = known_language(task.language)
    if not wanted or known is None:
        idle = f"nothing is known of language `{task.language}`" if wanted else "it is off"
        return AnswerCheck(("other_language",), _pass, idle)
    spoken = {name: Spoken.of(known, examples) for name, examples in written.items()}

    def refuse(fields: Fields, rationale: str | None) -> Refusal | None:
        for name, text in _with_rationale(fields, rationale).items():
            if name in spoken and (other := spoken[name].other(text)) is not None:
                return "other_language", f"`{name}` is in {other}; the task's language is `{task.language}`"
        return None

    return AnswerCheck(("other_language",), refuse)


def _with_rationale(fields: Fields, rationale: str | None) -> Fields:
    return fields if rationale is None else {**fields, RATIONALE: rationale}


def _pass(fields: Fields, rationale: str | None) -> None:
    return None
