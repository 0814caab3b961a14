"""Texts made fit to be seen: no secrets or local paths in them, and no markup of their own where they are shown."""

import json
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

_SECRET = re.compile(r"\b(?:(?:hf|api|ghp|gho)_[A-Za-z0-9]{8,}|(?:sk|glpat)-[A-Za-z0-9_-]{16,})")
_CREDENTIALS = re.compile(r"(?<=://)[^/\s@:]*:[^/\s@]*@")
# A path that starts at the root: `/home/me/index`, never the `//host/path` of a URL.
_ABSOLUTE_PATH = re.compile(r"(?<![\w:/.~-])(?:~|[A-Za-z]:)?[/\\](?:[\w.@+-]+[/\\])+(?=[\w.@+-])")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#~$])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufffe\uffff\ud800-\udfff]")


def public(value: Any) -> Any:
    """Return `value` (text, or JSON of any shape) without tokens, credentials in URLs, and folders of this machine."""
    if isinstance(value, str):
        text = _CREDENTIALS.sub("", _SECRET.sub("***", value))
        return _ABSOLUTE_PATH.sub("", text)
    if isinstance(value, Mapping):
        return {public(key) if isinstance(key, str) else key: public(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [public(item) for item in value]
    return value


def public_name(name: str) -> str:
    """Return a model's or dataset's name; of a local path only the last part."""
    return PurePath(name).name if name.startswith(("/", "~", ".")) else name


def shorten(text: Any, limit: int) -> str:
    """Return a text of at most `limit` characters, cut at a word's end where there is one near."""
    content = _CONTROL.sub(" ", str(text))
    if len(content) <= limit:
        return content
    cut = content[: limit - 1]
    at_word = cut.rsplit(None, 1)[0]
    return (at_word if len(at_word) > limit * 0.6 else cut).rstrip() + "…"


def markdown(text: Any, limit: int = 200) -> str:
    """Return a text as one line of Markdown that shows it as it is, also inside a table."""
    return _MARKDOWN.sub(r"\\\1", " ".join(shorten(text, limit).split()))


def fenced(value: Any, language: str = "") -> str:
    """Return a fenced block of Markdown; the fence is longer than any run of backticks in it."""
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    text = _CONTROL.sub(" ", text)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def script_json(value: Any) -> str:
    """Return JSON that may stand inside a `<script>` element: nothing in it can close that or open a comment."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
