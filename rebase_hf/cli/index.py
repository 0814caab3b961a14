"""`rebase-hf index`: build, look into, check, search, and push an index."""

from pathlib import Path
from typing import Annotated

import typer

from rebase_hf.errors import RebaseError

app = typer.Typer(help="Build and look into an index of rows.", no_args_is_help=True)

Folder = Annotated[str, typer.Argument(help="The index folder, or the id of a Hub repository that holds one.")]


@app.command()
def build(
    path: Annotated[Path, typer.Argument(help="Where the index goes.")],
    source: Annotated[
        list[str],
        typer.Option(help="ID[:CONFIG[:SPLIT]] of the Hub, or a folder or file here. Give it as often as needed."),
    ],
    license: Annotated[
        list[str] | None,
        typer.Option(help="A licence that sources may have, or `any`. Default: open licences."),
    ] = None,
    encoder: Annotated[str | None, typer.Option(help="A sentence-transformers model, or static:MODEL.")] = None,
    max_rows_per_source: Annotated[int, typer.Option(help="Rows taken of each source, evenly spread.")] = 1000,
) -> None:
    """Build an index over the rows of many datasets. A build that was cut short goes on where it was.

    Example: rebase-hf index build ./index --source SetFit/bbc-news --source ./my-rows.jsonl
    """
    from rebase_hf.index.licenses import DEFAULT_LICENSES
    from rebase_hf.index.row_index import RowIndex

    licenses = "any" if license and "any" in license else license or DEFAULT_LICENSES
    index = RowIndex.build(path, source, encoder=encoder, max_rows_per_source=max_rows_per_source, licenses=licenses)
    _show(index.info())


@app.command()
def info(path: Folder) -> None:
    """Show what an index holds."""
    from rebase_hf.index.row_index import RowIndex

    _show(RowIndex.open(path).info())


@app.command()
def verify(path: Folder) -> None:
    """Check every file of an index against its sha256."""
    from rebase_hf.index.row_index import RowIndex

    RowIndex.open(path).verify()
    typer.echo("Every file is as it was built.")


@app.command()
def search(
    path: Folder,
    text: Annotated[str, typer.Argument(help="What to look for.")],
    k: Annotated[int, typer.Option("-k", help="How many rows.")] = 10,
) -> None:
    """Show the rows that have a cell nearest to a text."""
    from rebase_hf.index.row_index import RowIndex

    for found in RowIndex.open(path).search(text, k=k):
        row = found.source
        column = found.columns["text"]
        shown = " ".join(row.cells[column].split())
        shown = shown if len(shown) <= 100 else shown[:99] + "…"
        typer.echo(f"{found.score:.3f}  {row.dataset}[{row.row}].{column}  {shown}")


@app.command()
def push(
    path: Folder,
    repo_id: Annotated[str, typer.Argument(help="The Hub dataset repository to write to.")],
) -> None:
    """Publish an index to the Hub."""
    from rebase_hf.index.row_index import RowIndex

    typer.echo(RowIndex.open(path).push_to_hub(repo_id))


def _show(facts: dict[str, object]) -> None:
    if not facts:
        raise RebaseError("The index says nothing about itself; build it again.")
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        if isinstance(value, list):
            typer.echo(f"{name}:")
            for entry in value:
                parts = entry.items() if isinstance(entry, dict) else [("", entry)]
                typer.echo("  " + "  ".join(f"{key}={item}" if key else str(item) for key, item in parts if item))
        else:
            typer.echo(f"{name:<{width}}  {value}")
