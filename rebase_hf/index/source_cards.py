"""What a dataset's card says: licence, languages, description."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    """

    licenses: tuple[str, ...] = ()
    language: tuple[str, ...] = ()
    description: str = ""
    pretty_name: str = ""
    url: str | None = None


def read_card(path: Path) -> SourceCard:
    """Return what the card file says.

    Raises:
        ValueError: Its YAML can't be read.
    """
    from huggingface_hub import DatasetCard

    card = DatasetCard(path.read_text(encoding="utf-8", errors="replace"), ignore_metadata_errors=False)
    data = card.data.to_dict()  # type: ignore[no-untyped-call]
    return SourceCard(
        licenses=tuple(name.lower() for name in _texts(data.get("license"))),
        language=_texts(data.get("language")),
        description=first_prose(card.text),
        pretty_name=" ".join(_texts(data.get("pretty_name"))),
        url=next(iter(_texts(data.get("url") or data.get("homepage"))), None),
    )


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


def _texts(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    values = value if isinstance(value, list | tuple) else [value]
    return tuple(str(item).strip() for item in values if item is not None and str(item).strip())
