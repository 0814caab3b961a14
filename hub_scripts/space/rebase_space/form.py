"""The page's form, read as a task, and a task as the form shows it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from rebase_hf import Task
from rebase_hf.errors import TaskError

MAX_NAME, MAX_TEXT, MAX_LABELS, MAX_FIELDS = 60, 2000, 30, 5
MIN_ROWS = 10


@dataclass(frozen=True, slots=True)
class Form:
    """What a visitor typed, as it was typed.

    Attributes:
        labels: One a line, `label: phrase that describes a text with it`; the phrase may be left out, and all of it
            for a task whose answers are texts.
        examples: One a line: its fields separated by `|` or tabs, the output last, or a JSON object.
        inputs: Names of the input fields, separated by commas.
        num_examples: How many examples to make.
    """

    name: str
    instruction: str
    labels: str
    examples: str
    inputs: str
    output: str
    num_examples: float


def read_task(form: Form) -> Task:
    """Return the task that a form describes.

    Raises:
        TaskError: A line can't be read, something is too long, or the task is wrong.
    """
    inputs = [name.strip() for name in form.inputs.split(",") if name.strip()]
    if not 1 <= len(inputs) <= MAX_FIELDS:
        raise TaskError(f"The form names {len(inputs)} input fields; expected 1 to {MAX_FIELDS}, with commas between.")
    _check_length("name", form.name, MAX_NAME)
    _check_length("instruction", form.instruction, MAX_TEXT)
    _check_length("list of fields", f"{form.inputs}, {form.output}", MAX_TEXT)
    fields = [*inputs, form.output.strip()]
    examples = [_example(line, fields, number) for number, line in enumerate(_lines(form.examples), start=1)]
    task = {
        "name": form.name.strip().replace(" ", "-"),
        "instruction": form.instruction,
        "inputs": inputs,
        "output": form.output,
        "labels": _labels(form.labels),
        "examples": examples,
    }
    return Task.load(task)


def read_number(form: Form, most: int) -> int:
    """Return how many examples are asked for.

    Raises:
        TaskError: It is no whole number that this Space takes.
    """
    number = form.num_examples
    if not isinstance(number, int | float) or not MIN_ROWS <= number <= most or number != int(number):
        raise TaskError(f"{number} examples are asked for; this Space makes {MIN_ROWS} to {most}.")
    return int(number)


def form_of(task: Task, num_examples: int) -> Form:
    """Return the form that `read_task` reads back as a task with the same instruction, fields, labels and examples."""
    named = [f"{label}: {phrase}" if phrase != label else label for label, phrase in task.labels.items()]
    examples = [_line([example[name] for name in task.fields], task.fields) for example in task.examples]
    return Form(
        name=task.name,
        instruction=task.instruction,
        labels="\n".join(named),
        examples="\n".join(examples),
        inputs=", ".join(task.inputs),
        output=task.output,
        num_examples=num_examples,
    )


def _line(values: Sequence[str], fields: Sequence[str]) -> str:
    plain = " | ".join(values)
    if any("\n" in value or "|" in value or "\t" in value for value in values) or plain.startswith("{"):
        return json.dumps(dict(zip(fields, values, strict=True)), ensure_ascii=False)
    return plain


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]


def _labels(text: str) -> dict[str, str]:
    lines = _lines(text)
    if len(lines) > MAX_LABELS:
        raise TaskError(f"The form has {len(lines)} labels; this Space takes up to {MAX_LABELS}.")
    labels: dict[str, str] = {}
    for line in lines:
        _check_length("label", line, MAX_TEXT)
        label, _, phrase = (part.strip() for part in line.partition(":"))
        if label in labels:
            raise TaskError(f"Label `{label}` stands there twice. Remove one line.")
        labels[label] = phrase
    return labels


def _example(line: str, fields: Sequence[str], number: int) -> dict[str, str]:
    _check_length(f"example {number}", line, MAX_TEXT)
    if line.startswith("{"):
        return _object(line, number)
    # From the right: a text may hold a bar of its own, a label won't.
    parts = line.split("\t") if "\t" in line else line.rsplit("|", len(fields) - 1)
    if len(parts) != len(fields):
        raise TaskError(
            f"Example {number} has {len(parts)} of {len(fields)} parts: `{line:.60}`. Write it as "
            f"`{' | '.join(fields)}`, one example a line."
        )
    return {name: part.strip() for name, part in zip(fields, parts, strict=True)}


def _object(line: str, number: int) -> dict[str, str]:
    try:
        read = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise TaskError(f"Example {number} begins with a brace but is no JSON object: {error}.") from error
    _check_length(f"example {number}", json.dumps(read, ensure_ascii=False), 2 * MAX_TEXT)
    return dict(read)


def _check_length(what: str, text: str, most: int) -> None:
    if len(text) > most:
        raise TaskError(f"The {what} has {len(text)} characters; this Space takes up to {most}.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TaskError(f"The {what} holds half of a character ({error.reason}). Type it again.") from error
