"""What the commands of `rebase-hf index` share: their options, and how these are read."""

from pathlib import Path
from typing import Annotated

import typer

from rebase_hf.errors import RowIndexError

AnyIndex = Annotated[str, typer.Argument(help="The index folder, or the id of a Hub repository that holds one.")]
OwnIndex = Annotated[Path, typer.Argument(help="The index folder.")]
Sources = Annotated[
    list[str] | None,
    typer.Option(help="ID[@REVISION][:CONFIG[:SPLIT]] of the Hub, or a folder or file here. As often as needed."),
]
SourcesFile = Annotated[Path | None, typer.Option(help="A text file of sources, one a line; `#` begins a comment.")]


def listed(values: list[str] | None) -> list[str]:
    """Return the items of an option that takes `a,b` and may be given several times."""
    return [item.strip() for value in values or () for item in value.split(",") if item.strip()]


def given_sources(source: list[str] | None, sources_file: Path | None) -> list[str]:
    """Return the sources that were named one by one and in a file.

    Raises:
        RowIndexError: The file can't be read.
    """
    return [*(source or ()), *(_read_list(sources_file) if sources_file else ())]


def _read_list(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RowIndexError(f"--sources-file {path} can't be read: {error}.") from error
    return [text for line in lines if (text := line.strip()) and not text.startswith("#")]
