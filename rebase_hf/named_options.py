"""Options by name: from a mapping, or the texts that a command line gives, to the dataclass that holds them."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from rebase_hf.errors import TaskError


def read_options(kind: type, given: Any, whose: str) -> Any:
    """Return options.

    Args:
        kind: A frozen dataclass, with a default for every option.
        given: None for its defaults, one of its kind, or a mapping; values in it may be texts.
        whose: Who has these options, for what is said of a wrong one.

    Raises:
        TaskError: They are of another kind, or a name or value is wrong.
    """
    if given is None:
        return kind()
    if isinstance(given, kind):
        return given
    if not isinstance(given, Mapping):
        raise TaskError(
            f"{whose} takes {kind.__name__} or a mapping, not {type(given).__name__}; leave it out for the defaults."
        )
    hints = get_type_hints(kind)
    known = [f.name for f in fields(kind)]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"its options are {', '.join(known)}."
            raise TaskError(f"{whose} has no option `{name}`; {hint}")
    return kind(**{name: read_value(name, value, hints[name]) for name, value in given.items()})


def read_value(name: str, value: Any, hint: Any) -> Any:
    """Return an option's value; a text is read as what the option takes.

    Raises:
        TaskError: It can't be.
    """
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if not isinstance(value, str) or str in kinds:
        return tuple(value) if isinstance(value, list) else value
    if value.lower() == "none" and NoneType in kinds:
        return None
    for kind in (kind for kind in kinds if kind is not NoneType):
        read = _READERS.get(get_origin(kind) or kind)
        if read is None:
            return value  # a Literal: the options say themselves what they take
        try:
            return read(value, get_args(kind))
        except ValueError:
            continue
    wanted = " or ".join(getattr(kind, "__name__", str(kind)) for kind in kinds)
    raise TaskError(f"Option `{name}` is `{value}`; expected {wanted}.")


def _read_flag(text: str, _: Any) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _read_pair(text: str, kinds: Any) -> tuple[Any, ...]:
    """Return texts such as `0.4,0.9` as a tuple of what it holds."""
    parts = text.split(",")
    if kinds and kinds[-1] is not Ellipsis and len(parts) != len(kinds):
        raise ValueError(text)
    return tuple(kinds[0](part) for part in parts)


def _read_shares(text: str, _: Any) -> dict[str, float]:
    """Return texts such as `a=0.4,b=0.6` as a mapping."""
    pairs = [part.rpartition("=") for part in text.split(",")]
    return {name.strip(): float(share) for name, _, share in pairs}


_READERS: dict[Any, Callable[[str, Any], Any]] = {
    bool: _read_flag,
    int: lambda text, _: int(text),
    float: lambda text, _: float(text),
    tuple: _read_pair,
    Mapping: _read_shares,
    Sequence: lambda text, kinds: _read_pair(text, (*kinds, ...)),
}
