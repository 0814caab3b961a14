"""A row as text cells: nested fields flattened, class ids decoded where they truly are class ids, binary left out."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time
from typing import Any

# A cell keeps this much of a text. No prompt holds more, and one row of a crawl must not fill the memory.
MAX_CELL_CHARS = 50_000
# Lists of more single words than this are running text cut into tokens, and are joined by blanks.
MAX_LISTED_WORDS = 8
# Half of a character: it can't be written as UTF-8 and would abort a build far from here.
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
# Feature types of `datasets` whose values are no text; ArrayND, Image and the like are matched by name because the
# set grows with every release of `datasets` (Pdf, Video, Nifti, Mesh, ...).
_BINARY_FEATURES = frozenset(
    [
        "Image",
        "Audio",
        "Video",
        "Pdf",
        "Nifti",
        "Mesh",
        "BioSequence",
        "BioStructure",
        "Array2D",
        "Array3D",
        "Array4D",
        "Array5D",
    ]
)

_WORDY_TYPES = frozenset(["string", "large_string", "string_view", "dict", "null"])


def row_cells(row: Mapping[str, Any], features: Mapping[str, Any] | None) -> dict[str, str]:
    """Return a row's text cells in column order; cells without text are left out.

    Nested dicts are flattened with dots (`answers.text`). A list of strings is joined by newlines (by blanks when it
    is a long list of single words), a list of numbers by `, `, a list of dicts becomes `key: value` lines. Class ids
    become names only where the feature is a `ClassLabel`. Images, audio and bytes are left out.

    Args:
        features: The dataset's features, where they are known.
    """
    cells: dict[str, str] = {}
    for name, value in row.items():
        for path, text in _flatten(name, value, None if features is None else features.get(name)):
            text = _clean(text)
            if text:
                cells[path] = text
    return cells


def has_text(feature: Any) -> bool:
    """Return whether a feature can hold text: false for images, audio, bytes and arrays."""
    if type(feature).__name__ in _BINARY_FEATURES:
        return False
    if isinstance(feature, Mapping):
        return any(has_text(inner) for inner in feature.values())
    inner = _list_item(feature)
    if inner is not None:
        return has_text(inner)
    return "binary" not in str(getattr(feature, "dtype", ""))


def has_words(feature: Any) -> bool:
    """Return whether a feature can hold words: strings and class names, alone or within lists and structs."""
    if not has_text(feature):
        return False
    if isinstance(feature, Mapping):
        return any(has_words(inner) for inner in feature.values())
    inner = _list_item(feature)
    if inner is not None:
        return has_words(inner)
    # What is no plain value (Translation, Json, ...) may hold anything, and so may a column that begins with nulls.
    return getattr(feature, "names", None) is not None or str(getattr(feature, "dtype", "string")) in _WORDY_TYPES


def _flatten(path: str, value: Any, feature: Any) -> Iterator[tuple[str, str]]:
    if value is None or (feature is not None and not has_text(feature)):
        return
    if isinstance(value, Mapping):
        fields = feature if isinstance(feature, Mapping) else {}
        for name, inner in value.items():
            yield from _flatten(f"{path}.{name}", inner, fields.get(name))
    elif isinstance(value, list | tuple):
        yield path, _list_text(value, _list_item(feature))
    else:
        yield path, _scalar_text(value, feature)


def _list_item(feature: Any) -> Any:
    """Return the feature of a list's items; the item of `[feature]`, `List`, `LargeList` and `Sequence` alike."""
    if isinstance(feature, list):
        return feature[0] if feature else None
    return getattr(feature, "feature", None)


def _list_text(values: Sequence[Any], feature: Any) -> str:
    values = [value for value in values if value is not None]
    if any(isinstance(value, Mapping) for value in values):
        return "\n\n".join(_record_text(value, feature) for value in values)
    if any(isinstance(value, list | tuple) for value in values):
        return json.dumps(_plain(values, feature), ensure_ascii=False)
    texts = [text for value in values if (text := _scalar_text(value, feature))]
    if not any(isinstance(value, str) for value in values) and getattr(feature, "names", None) is None:
        return ", ".join(texts)
    words = len(texts) > MAX_LISTED_WORDS and not any(any(char.isspace() for char in text) for text in texts)
    return (" " if words else "\n").join(texts)


def _record_text(value: Any, feature: Any) -> str:
    fields = feature if isinstance(feature, Mapping) else {}
    if not isinstance(value, Mapping):
        return _scalar_text(value, None)
    lines = []
    for name, inner in value.items():
        if isinstance(inner, Mapping | list | tuple):
            lines.append(f"{name}: {json.dumps(_plain(inner, fields.get(name)), ensure_ascii=False)}")
        elif text := _scalar_text(inner, fields.get(name)):
            lines.append(f"{name}: {text}")
    return "\n".join(lines)


def _plain(value: Any, feature: Any) -> Any:
    """Return the value with every leaf as JSON can hold it."""
    if isinstance(value, Mapping):
        fields = feature if isinstance(feature, Mapping) else {}
        return {str(name): _plain(inner, fields.get(name)) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, _list_item(feature)) for inner in value]
    if isinstance(value, bool | int | None) and getattr(feature, "names", None) is None:
        return value
    return _scalar_text(value, feature)


def _scalar_text(value: Any, feature: Any) -> str:
    names = getattr(feature, "names", None)
    if names is not None and isinstance(value, int):
        return str(names[value]) if 0 <= value < len(names) else ""
    if value is None or isinstance(value, bytes | bytearray | memoryview) or not _is_plain(feature):
        return ""
    if isinstance(value, float) and math.isnan(value):
        return ""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value)


def _is_plain(feature: Any) -> bool:
    return feature is None or has_text(feature)


def _clean(text: str) -> str:
    return _LONE_SURROGATE.sub("\ufffd", text.strip()[:MAX_CELL_CHARS])
