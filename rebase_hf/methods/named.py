"""The methods by name."""

import difflib

from rebase_hf.errors import TaskError
from rebase_hf.methods import fewgen, kard, rebase, retrieved, synthesizrr
from rebase_hf.methods.method import Method

METHODS: dict[str, Method] = {
    method.name: method for method in (rebase.METHOD, synthesizrr.METHOD, kard.METHOD, fewgen.METHOD, retrieved.METHOD)
}


def method_named(name: str) -> Method:
    """Return a method.

    Raises:
        TaskError: There is none of that name.
    """
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"use one of {', '.join(METHODS)}."
        raise TaskError(f"Method `{name}` is not known; {hint}")
    return METHODS[name]
