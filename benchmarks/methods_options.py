"""The options of the methods as tables, read from the classes that hold them: name, default, meaning."""

import inspect
import re
from collections.abc import Iterable
from dataclasses import MISSING, Field, fields
from typing import Any

from rebase_hf.methods.method import Method
from rebase_hf.methods.named import METHODS

_ATTRIBUTE = re.compile(r"^    (\w+): ")


def options_text() -> str:
    """Return a heading and a table for each method that has options of its own."""
    parts = []
    for method in METHODS.values():
        rows = [f"| `{field.name}` | {_default(field)} | {meaning} |" for field, meaning in described(method)]
        parts.append("\n".join([f"### `{method.name}`", "", _summary(method), "", *_head(rows), *rows]).rstrip())
    return "\n\n".join(parts)


def described(method: Method) -> list[tuple[Field[Any], str]]:
    """Return the options of a method that its class explains, in order, with what it says of each.

    Raises:
        SystemExit: One that it adds is not explained.
    """
    said = explained(inspect.getdoc(method.options) or "")
    inherited = {field.name for base in method.options.__mro__[1:-1] for field in fields(base)}
    if missing := [f.name for f in fields(method.options) if f.name not in said and f.name not in inherited]:
        raise SystemExit(f"{method.options.__name__} does not say under `Attributes:` what `{missing[0]}` is.")
    return [(field, said[field.name]) for field in fields(method.options) if field.name in said]


def explained(docstring: str) -> dict[str, str]:
    """Return what the section `Attributes:` of a docstring says, by name."""
    found: dict[str, list[str]] = {}
    for text in _section(docstring.splitlines()):
        if match := _ATTRIBUTE.match(text):
            found[match[1]] = [text[match.end() :]]
        elif found:
            found[next(reversed(found))].append(text.strip())
    return {name: " ".join(parts).strip() for name, parts in found.items()}


def _section(lines: Iterable[str]) -> Iterable[str]:
    inside = False
    for text in lines:
        if inside and text and not text.startswith(" "):
            return
        if inside and text:
            yield text
        inside |= text == "Attributes:"


def _head(rows: list[str]) -> list[str]:
    return ["| `--option` | default | |", "|---|---|---|"] if rows else []


def _summary(method: Method) -> str:
    paper = f" [Paper]({method.paper})." if method.paper else ""
    return (inspect.getdoc(method.options) or "").split("\n\n")[0].replace("\n", " ") + paper


def _default(field: Field[Any]) -> str:
    value = None if field.default is MISSING else field.default
    shown = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"`{shown}`" if shown else "none"
