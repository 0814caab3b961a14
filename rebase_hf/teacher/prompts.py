"""Render what the teacher is asked and parse what it answers. Pure: text in, text out.

Rows are data. They stand in the prompt as JSON, and what a chat template or a server could take for more than text
(role tokens, Markdown images that TGI would fetch, invisible characters) is written with JSON escapes: the same text,
without its power.
"""

import json
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from rebase_hf.rows import Draft, Message, RetrievedRow, SourceRow
from rebase_hf.task import Task
from rebase_hf.teacher.advice import Advice

# ReBase's fallback threshold: above this many characters a row is cut to its two best columns (its code, :634-641).
ROW_CHARS = 4000
# A name or a description comes from whoever made the dataset, or the index, and must not crowd out the task.
NAME_CHARS = 200
DESCRIPTION_CHARS = 1000
MAX_COLUMNS = 40
MAX_ANSWER_CHARS = 200_000
# What opens a role or control token of a chat template (`<|im_start|>`, `</s>`, `<start_of_turn>`, `<image>`,
# `[INST]`, `[|user|]`, `<<SYS>>`, `]~b]`, full-width forms), and the `![` that makes TGI's router fetch an address
# (SYSTEMS 1, security). The list of tokens grows with every model, so any `<` that could open one counts; `a < b`,
# `x <= 3` and `<3` stay. Line separators, direction marks, blanks of no width and tag characters are text that a
# person who reads the prompt does not see; those that emoji and scripts are joined by (U+200C, U+200D, U+FE0F) stay.
_POWERFUL = re.compile(
    r"[<\uff1c\ufe64](?!<?\s|[=\d\\]|$)|<(?=0x|\d\w*>)"
    r"|\[(?=/?(?:[A-Z][A-Z_]+\d*|(?i:inst)|[gs]MASK|@[A-Z]+@|(?:control_|unused)\d+)\]|\||e~)|\](?=~!?b)|(?<=!)\["
    r"|[\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_FENCE = re.compile(r"```(.*?)```", re.DOTALL)
_THOUGHT_END = "</think>"
# Objects looked for from the front of a text, and as many from its end: reasoning is full of braces, but not endless.
_STARTS = 50
# Characters read in all while looking for them: each start of a nest that is never closed reads to its end.
_READ_CHARS = 4 * MAX_ANSWER_CHARS
_REPAIR_SHOWS = 2000


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
        loader=PackageLoader("rebase_hf.teacher"), undefined=StrictUndefined, auto_reload=False
    )


def row_json(row: Mapping[str, str]) -> str:
    """Return a row as JSON whose text can't be taken for anything but text."""
    return _json({_well_formed(name): _well_formed(text) for name, text in row.items()})


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

    The whole row when it fits `row_chars`, else its best input and output columns, each cut to its share: the budget
    is divided evenly, and what a short column leaves over goes to the longer one.

    Args:
        row_chars: Character budget of a row as JSON (ReBase: 4000).
        field_chars: Cut every cell to this many characters, as ReBase's code does (250); None cuts only what must be.
    """
    cells = dict(row.source.cells)
    cuts = dict.fromkeys(cells, field_chars)
    if len(json.dumps(cells, ensure_ascii=False)) > row_chars:
        best = dict.fromkeys(row.columns.get(part, "") for part in ("input", "output"))
        cells = {name: cells[name] for name in best if name in cells} or dict(islice(cells.items(), MAX_COLUMNS))
        left = row_chars
        for number, name in enumerate(sorted(cells, key=lambda name: len(cells[name]))):
            share = max(1, left // (len(cells) - number))
            cuts[name] = min(field_chars or share, share)
            left -= min(len(cells[name]), share)
    return {_cut(name, NAME_CHARS): _cut(text, cuts[name]) for name, text in cells.items()}


def _cut(text: str, chars: int | None) -> str:
    return text if chars is None or len(text) <= chars else text[:chars] + "..."


def transform_messages(
    task: Task,
    row: RetrievedRow,
    *,
    cells: Mapping[str, str],
    plan: str | None = None,
    advice: Advice | None = None,
) -> tuple[Message, ...]:
    """Return the chat that asks for one example of the task made from `cells` of a row.

    Args:
        plan: How rows of its dataset become examples; then the answer says first whether the row is `usable`.
        advice: What a small model says of the row's text.
    """
    return render(
        "transform.jinja",
        task=task,
        examples=example_lines(task),
        description=described(row.source),
        row=row_json(cells),
        keys=answer_keys(task) if plan is None else ("usable", *answer_keys(task)),
        plan=None if plan is None else plain_text(plan),
        advice=advice,
    )


def render(template: str, **values: Any) -> tuple[Message, ...]:
    """Return a chat of one question. Values that are not ours must have lost their power already."""
    return (Message("user", _templates().get_template(template).render(**values)),)


def example_lines(task: Task) -> list[str]:
    """Return the task's examples as JSON, as a prompt shows them."""
    return [row_json({name: example[name] for name in answer_keys(task)}) for example in task.examples]


def described(source: SourceRow) -> str:
    """Return what a row's dataset is, as a JSON text."""
    return _json(_well_formed(_cut(source.description or source.dataset, DESCRIPTION_CHARS)))


def plain_text(text: str) -> str:
    """Return a text that is not ours, such as an earlier answer, as it may stand in a prompt: without its power."""
    return _powerless(_well_formed(text))


def repair_draft(keys: Sequence[str], draft: Draft, answer: str, problem: Unreadable) -> Draft:
    """Return the draft that shows the teacher its unreadable answer and asks once more, for an object with `keys`.

    The answer may repeat what stands in the row, so it is shown without its power too.
    """
    detail = _powerless(_well_formed(problem.detail))
    ask = _templates().get_template("repair.jinja").render(detail=detail, keys=keys)
    shown = _powerless(_well_formed(answer[:_REPAIR_SHOWS])) or "(nothing)"
    return replace(
        draft, messages=(*draft.messages, Message("assistant", shown), Message("user", ask)), repair=draft.repair + 1
    )


def parse_answer(task: Task, text: str) -> Parsed | Unreadable:
    """Read an answer as the task's fields; see `parse_object`."""
    fields = parse_object(text, answer_keys(task))
    if isinstance(fields, Unreadable):
        return fields
    rationale = fields.pop("rationale") if task.reasons else None
    return Parsed(fields, rationale)


def parse_object(text: str, keys: Sequence[str]) -> dict[str, str] | Unreadable:
    """Read an answer as a JSON object of texts.

    Prose, thoughts and code fences around the object are forgiven. Within it, nothing is: exactly the keys asked for,
    each a text (a lone number or boolean is taken as it is written), no duplicate keys, no NaN, no nesting.
    """
    if len(text) > MAX_ANSWER_CHARS:
        return Unreadable("unparsable_answer", f"it is {len(text)} characters long, more than {MAX_ANSWER_CHARS}")
    found: dict[str, Any] | None = None
    for candidate in _objects(text):
        found = candidate
        if set(candidate) == set(keys):
            break
    if found is None:
        return Unreadable("unparsable_answer", "it holds no valid JSON object")
    return _texts(found, keys)


def parse_objects(text: str, keys: Sequence[str]) -> list[dict[str, str]] | Unreadable:
    """Read an answer that may hold several JSON objects of texts, in a list or one after another: those that fit.

    What does not fit is passed over where others do; where none does, what is wrong with the first is returned.
    """
    if len(text) > MAX_ANSWER_CHARS:
        return Unreadable("unparsable_answer", f"it is {len(text)} characters long, more than {MAX_ANSWER_CHARS}")
    read: list[dict[str, str]] = []
    problem = Unreadable("unparsable_answer", "it holds no valid JSON object")
    for number, candidate in enumerate(_objects(text)):
        for found in _listed(candidate):
            texts = _texts(found, keys)
            if isinstance(texts, Unreadable):
                problem = problem if number else texts
            elif texts not in read:  # a fenced block is read twice, alone and in the text around it
                read.append(texts)
    return read or problem


def _listed(candidate: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the objects in an object's only list, else the object itself."""
    values = list(candidate.values())
    if len(values) == 1 and isinstance(values[0], list):
        return [value for value in values[0] if isinstance(value, dict)]
    return [candidate]


def _texts(found: Mapping[str, Any], keys: Sequence[str]) -> dict[str, str] | Unreadable:
    missing, extra = [k for k in keys if k not in found], [k for k in found if k not in keys]
    if missing or extra:
        lacks = f"it lacks {', '.join(map(repr, missing))}" if missing else ""
        # Not which: a key may be an instruction that the row put there, and this is shown to the teacher.
        has = f"it has {_keys(len(extra))} not asked for" if extra else ""
        return Unreadable("wrong_fields", " and ".join(filter(None, (lacks, has))))
    fields: dict[str, str] = {}
    for key in keys:
        value = found[key]
        if isinstance(value, bool):
            value = "true" if value else "false"
        if not isinstance(value, str):
            return Unreadable("wrong_fields", f"{key!r} is {_JSON_NAMES[type(value)]}, not a text")
        fields[key] = _well_formed(value).strip()
    return fields


def _keys(count: int) -> str:
    return f"{count} key that was" if count == 1 else f"{count} keys that were"


_JSON_NAMES: dict[type, str] = {dict: "an object", list: "a list", type(None): "null"}


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects in a text, those of fenced blocks first, each found in bounded time."""
    decoder = json.JSONDecoder(
        object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=str, parse_int=str, strict=False
    )
    left = _READ_CHARS
    for part in (part for said in _after_thoughts(text) for part in (*_FENCE.findall(said), said)):
        starts = (match.start() for match in re.finditer(r"\{", part))
        done = 0
        for start in (*islice(starts, _STARTS), *deque(starts, _STARTS)):
            if start < done:
                continue
            if left <= 0:
                return
            try:
                value, done = decoder.raw_decode(part, start)
            except json.JSONDecodeError as error:
                left -= error.pos - start
            except (ValueError, RecursionError):
                left -= len(part) - start
            else:
                yield value


def _after_thoughts(text: str) -> Iterator[str]:
    """Yield where an answer may stand, likeliest first.

    A model that thinks aloud drafts answers on the way; the answer is what comes after. But the mark of a thought's
    end may also stand in the answer itself, copied from a row.
    """
    first, last = text.find(_THOUGHT_END), text.rfind(_THOUGHT_END)
    if first >= 0:
        yield text[last + len(_THOUGHT_END) :]
    if first != last:
        yield text[first + len(_THOUGHT_END) :]
    if first < 0 or text.lstrip("\ufeff \r\n\t").startswith(("{", "```")):
        yield text


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("duplicate keys")
    return dict(pairs)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _json(value: Any) -> str:
    return _powerless(json.dumps(value, ensure_ascii=False))


def _powerless(text: str) -> str:
    return _POWERFUL.sub(lambda match: _escaped(match.group()), text)


def _escaped(char: str) -> str:
    return re.sub("....", r"\\u\g<0>", char.encode("utf-16-be").hex())


def _well_formed(text: str) -> str:
    """Return a text that can be written as UTF-8 and stored by Arrow: no lone surrogates, no NUL."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "")
