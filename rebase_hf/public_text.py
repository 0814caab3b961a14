"""Texts made fit to be seen: no secrets or local paths in them, and no markup of their own where they are shown."""

import json
import re
import shlex
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import PurePath, PureWindowsPath
from typing import Any

from rebase_hf.secrets_in_text import without_secrets

# What may stand between two separators of a path; blanks, where a separator follows and no word is an option.
_FOLDER = r"[\w.@+()-]+(?: (?!-)[\w.@+()-]+){0,4}[/\\]"
# A path that starts at the root, a home or a drive: `/home/me/index`, never the `//host/path` of a URL.
_ABSOLUTE_PATH = re.compile(
    rf"(?<![\w/.~-])(?:file:/{{2,3}}|\\\\|(?:~|[A-Za-z]:)?[/\\](?![/\\]))(?:{_FOLDER})+(?=[\w.@+-])"
)
_HOME_OR_ROOT = re.compile(r"(?:file:)?(?:~[\w.-]*|[A-Za-z]:)?[/\\]|file:")
_PREFIXES = re.compile(r"(?:local:|--?[\w-]+=|\w+=)+")
_HOST = re.compile(r"(?<=://)(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?=[:/\s\"'`)\],;?]|$)")
_PRIVATE_ADDRESS = re.compile(
    r"(?<![\w.])(?:10\.\d{1,3}|192\.168|172\.(?:1[6-9]|2\d|3[01])|169\.254)\.\d{1,3}\.\d{1,3}(?![\w.]\d|\w)"
)
# Endings of names that lead somewhere in a house alone (RFC 6762 and 8375, ICANN's `internal`, and habit).
_PRIVATE_ENDINGS = (".local", ".lan", ".internal", ".intranet", ".corp", ".home", ".home.arpa", ".private")
PRIVATE_HOST = "private-host"
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#~$])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufffe\uffff\ud800-\udfff]")


def public(value: Any) -> Any:
    """Return `value` (text, or JSON of any shape) as everybody may see it.

    Taken out are tokens, credentials in URLs, folders of this machine, and hosts that are found from here alone. What
    stands under a key `command` is read as a command line, so that paths with blanks are seen for what they are.
    """
    if isinstance(value, str):
        return _public_text(value)
    if isinstance(value, Mapping):
        return {
            public(key) if isinstance(key, str) else key: public_command(item)
            if key == "command" and isinstance(item, str)
            else public(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [public(item) for item in value]
    return value


def public_command(command: str) -> str:
    """Return a command line without secrets, folders of this machine and private hosts.

    Example:
        >>> public_command("rebase-hf run '/home/me/my tasks/task.yaml' --teacher local:/home/me/llm")
        'rebase-hf run task.yaml --teacher local:llm'
    """
    try:
        words = shlex.split(command)
    except ValueError:  # an open quote: no shell wrote it
        return _public_text(command)
    return shlex.join(_public_word(word) for word in words)


def public_name(name: str) -> str:
    """Return a model's or dataset's name; of a local path only the last part."""
    before = _PREFIXES.match(name)
    prefix, rest = (before[0], name[before.end() :]) if before else ("", name)
    if "://" in rest and not rest.startswith("file:"):
        return prefix + _public_text(rest)
    if _HOME_OR_ROOT.match(rest) or rest.startswith("."):
        kind = PureWindowsPath if "\\" in rest or rest[1:2] == ":" else PurePath
        return prefix + (kind(rest.removeprefix("file:")).name or "folder")
    return name


def _public_word(word: str) -> str:
    return _public_text(public_name(without_secrets(word)))


def _public_text(text: str) -> str:
    text = without_secrets(text)
    text = _HOST.sub(lambda host: PRIVATE_HOST if _is_private(host[0]) else host[0], text)
    return _ABSOLUTE_PATH.sub("", _PRIVATE_ADDRESS.sub(PRIVATE_HOST, text))


def _is_private(host: str) -> bool:
    """Return whether a host tells of somebody's network; this machine's own name for itself tells nothing."""
    name = host.strip("[]").lower().rstrip(".")
    try:
        return not ip_address(name).is_loopback
    except ValueError:
        return name != "localhost" and ("." not in name or name.endswith(_PRIVATE_ENDINGS))


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
