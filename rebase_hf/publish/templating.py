"""The templates of cards and report: where they are, and how they are filled."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rebase_hf.public_text import fenced, markdown

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def environment() -> "Environment":
    """Return the environment: HTML is escaped, and a name that a template misspells is an error.

    The card templates stand in `model_cards/` of a checkout, and in this package in a wheel.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    here = Path(__file__).parent
    filled = Environment(
        loader=FileSystemLoader([here / "templates", here.parents[1] / "model_cards"]),
        autoescape=select_autoescape(enabled_extensions=("html", "html.jinja"), default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filled.filters |= {"md": markdown, "fenced": fenced}
    return filled
