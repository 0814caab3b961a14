"""`rebase-hf index info`, `verify`, `search` and `push`: what is in an index, whether it is whole, and for others."""

import json
from typing import TYPE_CHECKING, Annotated, cast

import typer

from rebase_hf.cli.index_options import AnyIndex, listed
from rebase_hf.cli.index_text import found_line, show_index
from rebase_hf.index.roles import ROLES

if TYPE_CHECKING:
    from rebase_hf.index.searching import Mode

Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of the Hub repository.")]


def add_commands(app: typer.Typer) -> None:
    """Add the commands that leave an index as it is."""
    for command in (info, verify, search, push):
        app.command()(command)


def info(
    path: AnyIndex,
    revision: Revision = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything that is known of it, as JSON.")] = False,
) -> None:
    """Show what an index holds.

    Example: rebase-hf index info ./index --json
    """
    from rebase_hf.index.row_index import RowIndex

    index = RowIndex.open(path, revision=revision)
    if as_json:
        typer.echo(json.dumps(index.info(), indent=1))
    else:
        show_index(index)


def verify(path: AnyIndex, revision: Revision = None) -> None:
    """Read every file of an index and check it against its sha256.

    Example: rebase-hf index verify ./index
    """
    from rebase_hf.index.row_index import RowIndex

    RowIndex.open(path, revision=revision).verify()
    typer.echo("Every file is as it was built.")


def search(
    path: AnyIndex,
    text: Annotated[str, typer.Argument(help="What to look for.")],
    k: Annotated[int, typer.Option("-k", min=1, help="How many rows.")] = 10,
    mode: Annotated[
        str, typer.Option(help="dense: by meaning; lexical: by words; both: the two lists fused.")
    ] = "dense",
    source: Annotated[
        list[str] | None, typer.Option(help="Only of these sources: NAME, NAME:CONFIG or NAME:CONFIG:SPLIT.")
    ] = None,
    license: Annotated[list[str] | None, typer.Option(help="Only under these licences: apache-2.0,mit.")] = None,
    language: Annotated[list[str] | None, typer.Option(help="Only in one of these languages: en,de.")] = None,
    role: Annotated[list[str] | None, typer.Option(help=f"Only in such columns: {', '.join(ROLES)}.")] = None,
    revision: Revision = None,
) -> None:
    """Show the rows that a text finds: score (the cosine of the nearest cell), what else counted, row, cell.

    Example: rebase-hf index search ./index "where is my parcel" --mode both --license mit,apache-2.0 --role question
    """
    from rebase_hf.index.row_index import RowIndex

    found = RowIndex.open(path, revision=revision).search(
        text,
        k=k,
        mode=cast("Mode", mode),
        sources=listed(source) or None,
        licenses=listed(license) or None,
        languages=listed(language) or None,
        roles=listed(role) or None,
    )
    for row in found:
        typer.echo(found_line(row))
    if not found:
        typer.echo("No row was found.", err=True)


def push(
    path: AnyIndex,
    repo_id: Annotated[str, typer.Argument(help="The Hub dataset repository to write to.")],
    private: Annotated[bool, typer.Option("--private", help="Make it a private repository.")] = False,
) -> None:
    """Publish an index to the Hub, with a card, in one commit; what is there already is not sent again.

    Example: rebase-hf index push ./index my-name/my-index --private
    """
    from rebase_hf.index.row_index import RowIndex

    typer.echo(RowIndex.open(path).push_to_hub(repo_id, private=private or None))
