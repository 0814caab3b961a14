"""Render what the teacher is asked and parse what it answers. Pure: text in, text out.

Rows are data. They stand in the prompt as JSON, and what a chat template or a server could take for more than text
(role tokens, Markdown images that TGI would fetch) is written with JSON escapes: the same text, without its power.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from rebase_hf.rows import Draft, Message, RetrievedRow
from rebase_hf.task import Task

# ReBase's fallback threshold: above this many characters a row is cut to its two best columns (its code, :634-641).
ROW_CHARS = 4000
MAX_ANSWER_CHARS = 200_000
# Role and control tokens of the chat templates in use (ChatML, Llama 2/3, Gemma, Mistral, Phi, DeepSeek), and `![`,
# which makes TGI's router fetch the address behind it (SYSTEMS 1, security).
_POWERFUL = re.compile(
    r"<(?=\|)|<(?=/?(?:s|bos|eos|pad|unk|start_of_turn|end_of_turn|system|user|assistant|tool|think|row)\b[^<>]{0,20}>)"
    r"|<(?=<SYS>>|</?SYS>>)|<(?=｜)|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS|TOOL_CALLS)\])|(?<=!)\[",
    re.IGNORECASE,
)
_FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Parsed:
    """An answer that has the task's fields; whether they are any good is for the checks to say."""

    fields: Mapping[str, str]
    rationale: str | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An answer that can't be read as the task's fields."""

    reason: str
    detail: str


@cache
def _templates() -> Environment:
    # Prompts are plain text for a model, not HTML: escaping them would change what the model reads.
    return Environment(  # noqa: S701
        loader=PackageLoader("rebase_hf.teacher"), undefined=StrictUndefined, keep_trailing_newline=False
    )


def row_json(row: Mapping[str, str]) -> str:
    """Return a row as JSON whose text can't be taken for anything but text."""
    text = json.dumps(_well_formed(dict(row)), ensure_ascii=False, indent=None)
    return _POWERFUL.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def answer_keys(task: Task) -> tuple[str, ...]:
    """Return the keys of an answer in order: inputs, then the rationale, then the output it leads to."""
    return (*task.inputs, "rationale", task.output) if task.reasons else task.fields


def answer_schema(task: Task) -> dict[str, Any]:
    """Return the JSON schema of an answer. One per task: servers compile each schema once, and keep few."""
    texts: dict[str, Any] = {name: {"type": "string", "minLength": 1} for name in answer_keys(task)}
    if task.labels:
        texts[task.output] = {"type": "string", "enum": list(task.labels)}
    return {"type": "object", "properties": texts, "required": list(texts), "additionalProperties": False}


def shown_cells(row: RetrievedRow, *, row_chars: int = ROW_CHARS, field_chars: int | None = None) -> dict[str, str]:
    """Return the cells of a row that a prompt shows.

    The whole row when it fits `row_chars`, else its best input and output columns, each cut to its share.

    Args:
        row_chars: Character budget of a row as JSON (ReBase: 4000).
        field_chars: Cut every cell to this many characters, as ReBase's code does (250); None cuts only what must be.
    """
    cells = dict(row.source.cells)
    if len(json.dumps(cells, ensure_ascii=False)) > row_chars:
        best = dict.fromkeys(row.columns.get(part, "") for part in ("input", "output"))
        cells = {name: cells[name] for name in best if name in cells} or cells
        share = max(1, row_chars // len(cells))
        field_chars = min(field_chars or share, share)
    if field_chars is None:
        return cells
    return {name: text if len(text) <= field_chars else text[:field_chars] + "..." for name, text in cells.items()}


def transform_messages(task: Task, row: RetrievedRow, *, cells: Mapping[str, str]) -> tuple[Message, ...]:
    """Return the chat that asks for one example of the task made from `cells` of a row."""
    examples = [
        json.dumps({name: example[name] for name in answer_keys(task)}, ensure_ascii=False)
        for example in task.examples
    ]
    description = row_json({"": row.source.description or row.source.dataset})[5:-1]
    prompt = (
        _templates()
        .get_template("transform.jinja")
        .render(task=task, examples=examples, description=description, row=row_json(cells), keys=answer_keys(task))
    )
    return (Message("user", prompt),)


def repair_draft(task: Task, draft: Draft, answer: str, problem: Unreadable) -> Draft:
    """Return the draft that shows the teacher its unreadable answer and asks once more."""
    ask = _templates().get_template("repair.jinja").render(detail=problem.detail, keys=answer_keys(task))
    shown = answer[:2000] or "(nothing)"
    return replace(
        draft, messages=(*draft.messages, Message("assistant", shown), Message("user", ask)), repair=draft.repair + 1
    )


def parse_answer(task: Task, text: str) -> Parsed | Unreadable:
    """Read an answer as the task's fields.

    Prose and code fences around the object are forgiven. Within it, nothing is: exactly the keys asked for, each a
    text (a lone number or boolean is taken as its text), no duplicate keys, no NaN, no nesting.
    """
    if len(text) > MAX_ANSWER_CHARS:
        return Unreadable("unparsable_answer", f"it is {len(text)} characters long, more than {MAX_ANSWER_CHARS}")
    found: dict[str, Any] | None = None
    keys = answer_keys(task)
    for candidate in _objects(text):
        found = candidate
        if set(candidate) == set(keys):
            break
    if found is None:
        return Unreadable("unparsable_answer", "it holds no JSON object")
    missing, extra = [k for k in keys if k not in found], [k for k in found if k not in keys]
    if missing or extra:
        lacks = f"it lacks {', '.join(map(repr, missing))}" if missing else ""
        has = f"it has {', '.join(map(repr, extra[:5]))}, which was not asked for" if extra else ""
        return Unreadable("wrong_fields", " and ".join(filter(None, (lacks, has))))
    fields: dict[str, str] = {}
    for key in keys:
        value = found[key]
        if not isinstance(value, str | int | float):
            return Unreadable("wrong_fields", f"{key!r} is {type(value).__name__}, not a text")
        fields[key] = _clean(value if isinstance(value, str) else json.dumps(value))
    rationale = fields.pop("rationale") if task.reasons else None
    return Parsed(fields, rationale)


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects in a text, those of fenced blocks first, each found in bounded time."""
    decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, strict=False)
    for part in (*_FENCE.findall(text), text):
        start, tries = part.find("{"), 0
        while start >= 0 and tries < 50:
            tries += 1
            try:
                value, end = decoder.raw_decode(part, start)
            except (ValueError, RecursionError):
                end = start + 1
            else:
                if isinstance(value, dict):
                    yield value
            start = part.find("{", end)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("duplicate keys")
    return dict(pairs)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _clean(text: str) -> str:
    """Return a text that Arrow can store: no lone surrogates, no NUL, no blanks around it."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "").strip()


def _well_formed(row: Mapping[str, str]) -> dict[str, str]:
    return {_clean(name): _clean(text) for name, text in row.items()}
