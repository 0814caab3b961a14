"""Prompts by which a text is written for a task, from a document or from nothing; what it may differ in; and plans."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rebase_hf.rows import Message, SourceRow
from rebase_hf.task import Task
from rebase_hf.teacher.prompts import (
    Unreadable,
    answer_keys,
    answer_schema,
    described,
    example_lines,
    parse_object,
    plain_text,
    render,
    row_json,
)

MAX_DIMENSIONS = 12
MAX_VALUES = 40
VALUE_CHARS = 120
PLAN_CHARS = 3000
PLAN_ROWS = 3


@dataclass(frozen=True, slots=True)
class Shot:
    """One example in a prompt: the task's fields, and the document that it was written from, where there is one."""

    fields: Mapping[str, str]
    document: str | None = None


def written_keys(task: Task, label: str | None) -> tuple[str, ...]:
    """Return the keys of what is written: the task's, without the output where the label is given."""
    if label is None:
        return answer_keys(task)
    return (*task.inputs, "rationale") if task.reasons else task.inputs


def write_schema(task: Task, label: str | None, count: int = 1) -> dict[str, Any]:
    """Return the JSON schema of `count` written examples."""
    keys = written_keys(task, label)
    whole = answer_schema(task)
    one = whole | {"properties": {key: whole["properties"][key] for key in keys}, "required": list(keys)}
    if count == 1:
        return one
    several = {"type": "array", "items": one, "minItems": count, "maxItems": count}
    return {
        "type": "object",
        "properties": {"examples": several},
        "required": ["examples"],
        "additionalProperties": False,
    }


def write_messages(
    task: Task,
    *,
    label: str | None = None,
    document: str | None = None,
    shots: Sequence[Shot] = (),
    attributes: Mapping[str, str] | None = None,
    count: int = 1,
    words: int | None = None,
) -> tuple[Message, ...]:
    """Return the chat that asks for examples of the task.

    Args:
        label: What the right output is to be; None leaves it to the teacher.
        document: What the example is written from.
        attributes: What it is to be like, by dimension.
        count: How many examples one answer is to hold.
        words: About how long an example's inputs are in all.
    """
    keys = written_keys(task, label)
    return render(
        "write.jinja",
        task=task,
        label=label,
        phrase=None if label is None else task.labels.get(label, label),
        document=None if document is None else plain_text(document),
        shots=[_shown(shot, keys) for shot in shots],
        attributes={plain_text(name): plain_text(value) for name, value in (attributes or {}).items()},
        count=count,
        words=words,
        keys=keys,
    )


def _shown(shot: Shot, keys: Sequence[str]) -> dict[str, Any]:
    example = row_json({key: shot.fields[key] for key in keys if key in shot.fields})
    return {"document": None if shot.document is None else plain_text(shot.document), "example": example}


def attribute_messages(task: Task, *, dimensions: int, values: int) -> tuple[Message, ...]:
    """Return the chat that asks what texts of the task differ in."""
    return render("attributes.jinja", task=task, examples=example_lines(task), dimensions=dimensions, values=values)


def attribute_schema() -> dict[str, Any]:
    """Return the JSON schema of proposed dimensions."""
    text = {"type": "string", "minLength": 1}
    dimension = {
        "type": "object",
        "properties": {"name": text, "values": {"type": "array", "items": text, "minItems": 2}},
        "required": ["name", "values"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"dimensions": {"type": "array", "items": dimension, "minItems": 1}},
        "required": ["dimensions"],
        "additionalProperties": False,
    }


def parse_attributes(text: str) -> dict[str, tuple[str, ...]] | Unreadable:
    """Read proposed dimensions: names, each with at least two values; what is no such thing is passed over."""
    start, stop = text.find("{"), text.rfind("}")
    try:
        given = json.loads(text[start : stop + 1])["dimensions"]
        found = {
            " ".join(str(one["name"]).split())[:VALUE_CHARS]: _values(one["values"]) for one in given[:MAX_DIMENSIONS]
        }
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        return Unreadable("unparsable_answer", f"it names no dimensions with values ({type(error).__name__})")
    found = {name: values for name, values in found.items() if name and len(values) > 1}
    return found or Unreadable("wrong_fields", "no dimension has two values")


def _values(given: Sequence[Any]) -> tuple[str, ...]:
    texts = (_one_line(value) for value in given[:MAX_VALUES] if isinstance(value, str))
    return tuple(dict.fromkeys(text for text in texts if text))


def _one_line(text: str) -> str:
    return " ".join(text.split())[:VALUE_CHARS]


def drawn_attributes(attributes: Mapping[str, Sequence[str]], chance: random.Random) -> dict[str, str]:
    """Return one value of each dimension, at random."""
    return {name: chance.choice(values) for name, values in attributes.items()}


def plan_messages(task: Task, source: SourceRow, rows: Sequence[Mapping[str, str]]) -> tuple[Message, ...]:
    """Return the chat that asks how rows of a dataset become examples of the task; the same for all of its rows.

    Args:
        source: Any row of the dataset, for its description.
        rows: Some of its rows, as a prompt shows them.
    """
    shown = [row_json(row) for row in rows]
    return render("plan.jinja", task=task, examples=example_lines(task), description=described(source), rows=shown)


def plan_schema() -> dict[str, Any]:
    """Return the JSON schema of a plan."""
    plan = {"plan": {"type": "string", "minLength": 1}}
    return {"type": "object", "properties": plan, "required": ["plan"], "additionalProperties": False}


def parse_plan(text: str) -> str | Unreadable:
    """Read a plan."""
    found = parse_object(text, ("plan",))
    if isinstance(found, Unreadable):
        return found
    return found["plan"][:PLAN_CHARS] or Unreadable("wrong_fields", "the plan is empty")


def supposed_plan(task: Task) -> str:
    """Return an answer with the longest plan that a prompt shows, in the task's own words: what an estimate takes."""
    words = f"{task.instruction} "
    return json.dumps({"plan": (words * (PLAN_CHARS // len(words) + 1))[:PLAN_CHARS]}, ensure_ascii=False)


def planned_schema(task: Task) -> dict[str, Any]:
    """Return the JSON schema of an example made by a plan: whether the row is usable; if not, texts may be empty."""
    schema = answer_schema(task)
    texts = {name: {k: v for k, v in part.items() if k != "minLength"} for name, part in schema["properties"].items()}
    if task.labels:
        texts[task.output] = {"type": "string", "enum": [*task.labels, ""]}
    texts = {"usable": {"type": "string", "enum": ["yes", "no"]}, **texts}
    return schema | {"properties": texts, "required": list(texts)}
