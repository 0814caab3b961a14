"""What a dataset's card says: licence, languages, description."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rebase_hf.index.source_records import SourceUnusable

MAX_DESCRIPTION_CHARS = 600
# Prose is collected until this much is there: a one-line first paragraph says little about a dataset.
_ENOUGH_CHARS = 250
_NO_PROSE = re.compile(r"(?:[#|<>!=`~]|[-*+]\s|\d+\.\s|\[!\[|\[\[?more information needed|---)", re.I)


@dataclass(frozen=True, slots=True)
class SourceCard:
    """The part of a dataset card that an index keeps.

    Attributes:
        licenses: Licence ids in lower case; empty when the card names none.
        description: The first prose of the card, at most about 600 characters; empty when there is none.
        configs: Names of the configurations that it declares.
        default_config: The one that it marks as the default, or calls so.
        data_files: Every path or pattern of data files that it names.
    """

    licenses: tuple[str, ...] = ()
    language: tuple[str, ...] = ()
    description: str = ""
    pretty_name: str = ""
    url: str | None = None
    configs: tuple[str, ...] = ()
    default_config: str | None = None
    data_files: tuple[str, ...] = ()


def read_card(path: Path) -> SourceCard:
    """Return what the card file says.

    Raises:
        ValueError: Its YAML can't be read.
    """
    from huggingface_hub import DatasetCard

    card = DatasetCard(path.read_text(encoding="utf-8", errors="replace"), ignore_metadata_errors=False)
    data = card.data.to_dict()  # type: ignore[no-untyped-call]
    configs = [config for config in _items(data.get("configs")) if isinstance(config, dict)]
    names = tuple(str(config.get("config_name", "default")) for config in configs)
    marked = next((name for name, config in zip(names, configs, strict=True) if config.get("default")), None)
    return SourceCard(
        licenses=tuple(name.lower() for name in _texts(data.get("license"))),
        language=_texts(data.get("language")),
        description=first_prose(card.text),
        pretty_name=" ".join(_texts(data.get("pretty_name"))),
        url=next(iter(_texts(data.get("url") or data.get("homepage"))), None),
        configs=names,
        default_config=marked or ("default" if "default" in names else None),
        data_files=tuple(
            path for config in configs for key in ("data_files", "data_dir") for path in _paths(config.get(key))
        ),
    )


def check_files_named(data_files: Iterable[str]) -> None:
    """Check that a card names data files of its own folder only.

    `datasets` reads whatever a card names: /etc/passwd, ../../secrets.csv, or a file on another server.

    Raises:
        SourceUnusable: It names others.
    """
    for path in data_files:
        parts = re.split(r"[/\\]", path)
        if "://" in path or "::" in path or ".." in parts or parts[0] in ("", "~") or re.match(r"[A-Za-z]:", path):
            raise SourceUnusable("outside_files", f"its card names data files outside of it: {path}")


def first_prose(text: str) -> str:
    """Return the first paragraphs of a card's text, up to 600 characters: no headings, lists, tables, badges, code."""
    text = re.sub(r"```.*?```|~~~.*?~~~|<!--.*?-->|<(script|style|table|details)\b.*?</\1>", "\n\n", text, flags=re.S)
    taken: list[str] = []
    for block in re.split(r"\n\s*\n", text):
        lines = [line.strip() for line in block.splitlines()]
        prose = " ".join(_plain(line) for line in lines if line and not _NO_PROSE.match(line)).strip()
        if len(prose) >= 20:
            taken.append(prose)
        if sum(map(len, taken)) >= _ENOUGH_CHARS:
            break
    return shorten(" ".join(taken))


def shorten(text: str) -> str:
    """Return the text cut at a word's end to about 600 characters."""
    if len(text) <= MAX_DESCRIPTION_CHARS:
        return text
    return text[:MAX_DESCRIPTION_CHARS].rsplit(" ", 1)[0] + " ..."


def _plain(line: str) -> str:
    line = re.sub(r"!\[[^\]]*\]\([^)]*\)|<[^>]+>", "", line)
    line = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line)
    return re.sub(r"\s+", " ", re.sub(r"(\*\*|__|`)", "", line)).strip()


def _items(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _paths(value: Any) -> Iterator[str]:
    """Yield the paths in a card's `data_files`: a path, a list of these, or one of the same by split."""
    if isinstance(value, Mapping):
        nested = [value["path"]] if "path" in value else list(value.values())
    else:
        nested = _items(value)
    for item in nested:
        if isinstance(item, Mapping | list | tuple):
            yield from _paths(item)
        else:
            yield str(item)


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(item).strip() for item in _items(value) if item is not None and str(item).strip())
