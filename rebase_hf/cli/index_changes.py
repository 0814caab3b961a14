"""`rebase-hf index add`, `remove`, `refresh`, `compact`: an index changed in place, the rest left as it lies."""

from typing import TYPE_CHECKING, Annotated

import typer

from rebase_hf.cli.index_options import OwnIndex, Sources, SourcesFile, given_sources
from rebase_hf.cli.index_text import show_counts, show_skipped
from rebase_hf.errors import RowIndexError

if TYPE_CHECKING:
    from rebase_hf.index.row_index import RowIndex

_NAMES = "Datasets, as NAME, NAME:CONFIG or NAME:CONFIG:SPLIT."


def add_commands(app: typer.Typer) -> None:
    """Add the commands that change an index."""
    for command in (add, remove, refresh, compact):
        app.command()(command)


def add(path: OwnIndex, source: Sources = None, sources_file: SourcesFile = None) -> None:
    """Add sources to an index, with the settings that it was built with; what has changed is read again.

    Example: rebase-hf index add ./index --source SetFit/bbc-news --source ./my-rows.jsonl
    """
    sources = given_sources(source, sources_file)
    if not sources:
        raise RowIndexError("No source was given; name one with --source or --sources-file.")
    before = _open(path)
    _show_change(before, before.add(sources))


def remove(path: OwnIndex, names: Annotated[list[str], typer.Argument(help=_NAMES)]) -> None:
    """Take sources out of an index.

    Example: rebase-hf index remove ./index SetFit/bbc-news my-rows
    """
    before = _open(path)
    _show_change(before, before.remove(names))


def refresh(
    path: OwnIndex, names: Annotated[list[str] | None, typer.Argument(help=f"{_NAMES} Default: all.")] = None
) -> None:
    """Read sources of an index again where they have changed.

    Example: rebase-hf index refresh ./index SetFit/bbc-news
    """
    before = _open(path)
    _show_change(before, before.refresh(names or None))


def compact(path: OwnIndex) -> None:
    """Take the rows of removed sources out of the files of an index, too.

    Example: rebase-hf index compact ./index
    """
    before = _open(path)
    after = before.compact()
    typer.echo(f"{before.info()['dead_rows'] - after.info()['dead_rows']} rows of removed sources are gone.")
    show_counts(after.info())


def _open(path: OwnIndex) -> "RowIndex":
    from rebase_hf.index.row_index import RowIndex

    if not path.exists():
        raise RowIndexError(
            f"There is no index at {path}; build one with `rebase-hf index build {path} --source ...`."
        )
    return RowIndex.open(path)


def _show_change(before: "RowIndex", after: "RowIndex") -> None:
    if before.fingerprint == after.fingerprint:
        typer.echo("Nothing has changed.")
    show_skipped(skip for skip in after.skipped if skip not in before.skipped)
    show_counts(after.info())
