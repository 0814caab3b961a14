"""Ask for the reasoning behind a known answer, and for the answer that a reasoning leads to. Pure: text in, text out.

Questions, passages and explanations are data and stand in the prompts as JSON, as rows do (`prompts.py`).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rebase_hf.rows import Message
from rebase_hf.task import Task
from rebase_hf.teacher.advice import Advice
from rebase_hf.teacher.prompts import Unreadable, parse_object, render, row_json

RATIONALE_KEYS = ("rationale",)
RATIONALE_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"rationale": {"type": "string", "minLength": 1}},
    "required": ["rationale"],
    "additionalProperties": False,
}
# Where an explanation ends by stating its answer: `Answer: C`, `So, the final answer is: 12`.
_STATED = re.compile(
    r"(?:^|(?<=[.!?])\s)[\s*_]*(?:(?:so|thus|therefore|hence),?\s+)?(?:the\s+)?(?:(?:final|correct|right)\s+)?"
    r"answer(?:\s+is)?[\s*_]*:[^\n]*$",
    re.IGNORECASE | re.MULTILINE,
)

# The last sentence, where it states the answer without a colon and gives no reason: `The answer is C.`
_CONCLUDED = re.compile(
    r"(?:^|(?<=[.!?])\s)[\s*_]*(?:(?:so|thus|therefore|hence),?\s+)?the\s+(?:(?:final|correct|right)\s+)?answer\s+is\b"
    r"(?:(?!(?<=[.!?])\s|\b(?:because|since)\b)[^\n])*\s*\Z",
    re.IGNORECASE | re.MULTILINE,
)


def output_keys(task: Task) -> tuple[str, ...]:
    """Return the keys of an answer that gives the output alone."""
    return (task.output,)


def output_schema(task: Task) -> dict[str, Any]:
    """Return the JSON schema of an answer that gives the output alone."""
    text: dict[str, Any] = {"type": "string", "minLength": 1}
    if task.labels:
        text["enum"] = list(task.labels)
    return {
        "type": "object",
        "properties": {task.output: text},
        "required": [task.output],
        "additionalProperties": False,
    }


def rationale_messages(
    task: Task, fields: Mapping[str, str], *, shots: Sequence[Mapping[str, str]] = ()
) -> tuple[Message, ...]:
    """Return the chat that asks for the reasoning behind a question's known output.

    Args:
        fields: The question's inputs and its output.
        shots: Examples of the task that have a `rationale`.
    """
    keys = (*task.inputs, task.output, "rationale")
    return render(
        "rationale.jinja",
        task=task,
        shots=[row_json({name: shot[name] for name in keys}) for shot in shots],
        question=_question(task, fields),
        answer=row_json({task.output: fields[task.output]}),
    )


def reading_messages(
    task: Task, fields: Mapping[str, str], rationale: str, *, advice: Advice | None = None
) -> tuple[Message, ...]:
    """Return the chat that asks which output a reasoning leads to; the question's own output is not in it.

    Nor is what the reasoning itself gives as its answer at its end.

    Args:
        advice: What a small model says of the question.
    """
    told = row_json({"explanation": without_answer(rationale)})
    return _question_messages(task, fields, rationale=told, advice=advice)


def question_messages(task: Task, fields: Mapping[str, str], passages: Sequence[str] = ()) -> tuple[Message, ...]:
    """Return the chat that asks for a question's output, with passages to answer it by or without any."""
    return _question_messages(task, fields, passages=[row_json({"passage": passage}) for passage in passages])


def _question_messages(
    task: Task,
    fields: Mapping[str, str],
    *,
    rationale: str | None = None,
    passages: Sequence[str] = (),
    advice: Advice | None = None,
) -> tuple[Message, ...]:
    return render(
        "answer_question.jinja",
        task=task,
        question=_question(task, fields),
        rationale=rationale,
        passages=passages,
        advice=advice,
    )


def without_answer(rationale: str) -> str:
    r"""Return a reasoning without the lines or sentences that only state its answer.

    Example:
        >>> without_answer("Iron rusts. Rust is an oxide.\nAnswer: oxide")
        'Iron rusts. Rust is an oxide.'
        >>> without_answer("Iron rusts. Rust is an oxide. So the answer is oxide.")
        'Iron rusts. Rust is an oxide.'
    """
    return _CONCLUDED.sub("", _STATED.sub("", rationale).strip()).strip()


def parse_rationale(text: str) -> str | Unreadable:
    """Read an answer as a reasoning, without the answer that it may state at its end."""
    found = parse_object(text, RATIONALE_KEYS)
    if isinstance(found, Unreadable):
        return found
    reasoning = without_answer(found["rationale"])
    return reasoning or Unreadable("wrong_fields", "'rationale' says nothing that leads to an answer")


def parse_output(task: Task, text: str) -> str | Unreadable:
    """Read an answer as the task's output."""
    found = parse_object(text, output_keys(task))
    return found if isinstance(found, Unreadable) else found[task.output]


def _question(task: Task, fields: Mapping[str, str]) -> str:
    return row_json({name: fields[name] for name in task.inputs})
