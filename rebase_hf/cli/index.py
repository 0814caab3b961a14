"""`rebase-hf index`: build, look into, check, search, and push an index."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rebase_hf.index.row_index import RowIndex

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
    _show(index)


@app.command()
def info(path: Folder) -> None:
    """Show what an index holds."""
    from rebase_hf.index.row_index import RowIndex

    _show(RowIndex.open(path))


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
    k: Annotated[int, typer.Option("-k", min=1, help="How many rows.")] = 10,
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


def _show(index: "RowIndex") -> None:
    facts = index.info()
    licenses = ", ".join(f"{name} {rows}" for name, rows in facts["licenses"].items())
    size = f"{facts['bytes'] / 1e6:.1f} MB"
    typer.echo(
        f"{facts['path']}: {facts['rows']} rows of {len(index.sources)} sources, {facts['vectors']} vectors, {size}"
    )
    typer.echo(f"fingerprint {facts['fingerprint'][:16]}, encoder {facts['encoder']['name']}")
    typer.echo(f"rows by licence: {licenses}")
    width = max(len(source.dataset) for source in index.sources)
    for source in index.sources:
        total = "" if source.total_rows == source.rows else f" of {source.total_rows or 'an unknown number of'}"
        revision = (source.revision or "")[:12]
        typer.echo(
            f"  {source.dataset:<{width}}  {source.rows}{total} rows  {source.license or 'no licence'}  {revision}"
        )
    for skip in index.skipped:
        typer.echo(f"  left out: {skip.source} ({skip.reason}): {skip.detail}")
