"""What a push would make public, looked through for what is personal or secret before anything is sent."""

import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from rebase_hf.errors import PublishError
from rebase_hf.index.row_index import RowIndex
from rebase_hf.public_text import public_name
from rebase_hf.publish.finished_run import FinishedRun
from rebase_hf.publish.privacy import Findings, find_private, look_through, redact, redact_all
from rebase_hf.students.saving import KNOWLEDGE

Files = Mapping[str, bytes | Path]
TEXT_FILES = (".md", ".json", ".yaml", ".svg", ".txt")
# Files of a student that hold its base model's vocabulary, not texts of the task.
VOCABULARY = ("tokenizer", "vocab", "merges", "special_tokens", "added_tokens")
# Columns that say what a row was made from.
_MADE_FROM = ("provenance", "sources")
# In a card's JSON a line break is two signs, and a sign of Markdown has another before it.
_ESCAPED_BLANK, _ESCAPE = re.compile(r"\\[nrt]"), re.compile(r"\\(?=[^A-Za-z0-9\s])")
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_WORDS = re.compile(r"(?<=>)[^<]+(?=<)")


def checked_files(folder: FinishedRun, files: Files, *, redacted: bool, keep_private: bool) -> dict[str, bytes | Path]:
    """Return the files of a push as they may be seen.

    Args:
        files: By their name in the repository: bytes, or the path of a file.
        redacted: Take out what looks personal or secret, with its kind in its place; the run folder stays as it is.
        keep_private: Send it as it is, on the user's word; keys are refused all the same.

    Raises:
        PublishError: Something was found, and what to do about it was not said.
    """
    _check_knowledge(folder, files, keep_private=keep_private)
    files = {name: _told_publicly(name, content) for name, content in files.items()}
    findings = look_through(_texts(folder, files))
    if not findings:
        return dict(files)
    if redacted:
        files = {name: _redacted(folder, name, content) for name, content in files.items()}
        if left := look_through(_file_texts(files)):
            raise PublishError(
                f"{folder.path} was not published: what looks personal or secret can't be taken out of what is told "
                f"of it ({left}). Take it out of the task file, the report or the card's own notes."
            )
        return dict(files)
    if keep_private and not findings.counts["key"]:
        return dict(files)
    raise PublishError(_refusal(folder, findings, keep_private=keep_private))


def with_redactions(folder: FinishedRun) -> FinishedRun:
    """Return a run whose report says how many values of its rows are replaced where it is published redacted.

    Under `redacted`: the rows that have one, and how many there are of each kind. Where none has, it is as it was.
    """
    counts: Counter[str] = Counter()
    rows = set()
    for row, _, text in _row_texts(folder):
        found = [one.kind for one in find_private(text)]
        counts.update(found)
        rows.update([row] * bool(found))
    if not rows:
        return folder
    told = {"rows": len(rows), "values": dict(sorted(counts.items()))}
    return FinishedRun(folder.path, {**folder.report, "redacted": told}, folder.task)


def _check_knowledge(folder: FinishedRun, files: Files, *, keep_private: bool) -> None:
    """Raise where a student's knowledge store holds what is personal or secret: an index can't be redacted."""
    if not any(name.startswith(f"{KNOWLEDGE}/") for name in files):
        return
    store = RowIndex.open(folder.path / "student" / KNOWLEDGE)
    rows = store.rows(range(len(store)))
    findings = look_through((f"knowledge {i}", text) for i, row in enumerate(rows) for text in row.cells.values())
    if findings and not (keep_private and not findings.counts["key"]):
        raise PublishError(
            f"{folder.path} was not published: its student's knowledge store holds what looks personal or secret: "
            f"{findings}. An index can't be redacted: build the store again from texts without it, and train anew."
        )


def _refusal(folder: FinishedRun, findings: Findings, *, keep_private: bool) -> str:
    if keep_private:
        return (
            f"{folder.path} was not published: it holds keys or passwords ({findings}). Those are never sent; publish "
            "with --redact, or take the rows out."
        )
    return (
        f"{folder.path} was not published: it holds what looks personal or secret: {findings}. Publish with --redact "
        "to have it taken out of what is sent, or, if you have looked at it and may publish it, with --keep-personal."
    )


def _texts(folder: FinishedRun, files: Files) -> Iterator[tuple[str, str]]:
    """Yield every text that would be sent, with where it stands."""
    if any(name.startswith("data/") for name in files):
        for row, name, text in _row_texts(folder):
            yield f"{row}, {name}", text
    yield from _file_texts(files)


def _file_texts(files: Files) -> Iterator[tuple[str, str]]:
    for name, content in files.items():
        if _is_text(name):
            for text in _said(name, _decoded(content)):
                yield name, text


def _row_texts(folder: FinishedRun) -> Iterator[tuple[str, str, str]]:
    """Yield every text of the dataset's rows, with its row and its column."""
    columns = _text_columns(folder)
    for place, (split, row) in enumerate(folder.rows()):
        for name in columns:
            held = row.get(name)
            for text in held if isinstance(held, list) else [held]:
                if isinstance(text, str):
                    yield f"{split} row {place}", name, text


def _decoded(content: bytes | Path) -> str:
    return (content.read_bytes() if isinstance(content, Path) else content).decode("utf-8", "replace")


def _said(name: str, text: str) -> Iterator[str]:
    """Yield what a file says: of JSON its texts and of SVG its words, since their numbers are no telephone's."""
    if name.endswith(".json"):
        yield from _strings(json.loads(text))
    elif name.endswith(".yaml"):
        yield from _strings(yaml.safe_load(text))
    elif name.endswith(".svg"):
        yield from _WORDS.findall(text)
    else:
        yield _ESCAPED_BLANK.sub(" ", _ESCAPE.sub("", text))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def _is_text(name: str) -> bool:
    return name.endswith(TEXT_FILES) and not name.rsplit("/", 1)[-1].startswith(VOCABULARY)


def _text_columns(folder: FinishedRun) -> tuple[str, ...]:
    task = folder.task
    written = () if task.labels else (task.output,)
    return (*task.inputs, *written, "rationale", "passages")


def _redacted(folder: FinishedRun, name: str, content: bytes | Path) -> bytes | Path:
    if name.endswith(".parquet"):
        return _redacted_rows(folder, content)
    if not _is_text(name):
        return content
    text = _decoded(content)
    if name.endswith(".json"):
        return (json.dumps(redact_all(json.loads(text)), indent=2, ensure_ascii=False) + "\n").encode()
    if name.endswith(".svg"):
        return _WORDS.sub(lambda words: redact(words[0]), text).encode()
    if name.endswith(".yaml"):
        return content  # made from the redacted task
    front = _FRONT_MATTER.match(text)
    head = front[0] if front else ""  # YAML, made from the redacted task: a kind in brackets would be a list there
    return (head + redact(text[len(head) :])).encode()


def _told_publicly(name: str, content: bytes | Path) -> bytes | Path:
    """Return a file of the dataset whose rows say without local paths what they were made from."""
    if not (name.startswith("data/") and name.endswith(".parquet")):
        return content
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(content) if isinstance(content, bytes) else content)
    changed = False
    for column in _MADE_FROM:
        if column in table.column_names:
            place = table.column_names.index(column)
            kind = table.schema.field(column)
            held = table.column(column).to_pylist()
            if (told := [_public_names(value) for value in held]) != held:
                table, changed = table.set_column(place, kind, _column(told, kind)), True
    return _parquet(table) if changed else content


def _public_names(value: Any) -> Any:
    if isinstance(value, str):
        return _public_name(value)
    if isinstance(value, Mapping):
        return {key: _public_names(item) for key, item in value.items()}
    return [_public_names(item) for item in value] if isinstance(value, list) else value


# The same few names stand in every row.
_public_name = lru_cache(maxsize=4096)(public_name)


def _parquet(table: Any) -> bytes:
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def _redacted_rows(folder: FinishedRun, content: bytes | Path) -> bytes:
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(content) if isinstance(content, bytes) else content)
    for name in _text_columns(folder):
        if name in table.column_names:
            place = table.column_names.index(name)
            kind = table.schema.field(name)
            table = table.set_column(place, kind, _column([_value(v) for v in table.column(name).to_pylist()], kind))
    return _parquet(table)


def _column(values: list[Any], kind: Any) -> Any:
    import pyarrow as pa

    return pa.array(values, type=kind.type)


def _value(value: Any) -> Any:
    if isinstance(value, list):
        return [_value(item) for item in value]
    return redact(value) if isinstance(value, str) else value
