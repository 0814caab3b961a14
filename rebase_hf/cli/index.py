"""`rebase-hf index`: build, look into, check, search, and push an index."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rebase_hf.cli.story_text import terminal_line
from rebase_hf.errors import RowIndexError
from rebase_hf.index.hub_search import DEFAULT_LIMIT, HubSearch
from rebase_hf.index.source_records import MAX_SOURCE_BYTES, MAX_SOURCE_SECONDS

if TYPE_CHECKING:
    from rebase_hf.index.opening import GivenSource
    from rebase_hf.index.row_index import RowIndex

app = typer.Typer(help="Build and look into an index of rows.", no_args_is_help=True)

Folder = Annotated[str, typer.Argument(help="The index folder, or the id of a Hub repository that holds one.")]


@app.command()
def build(
    path: Annotated[Path, typer.Argument(help="Where the index goes.")],
    source: Annotated[
        list[str] | None,
        typer.Option(help="ID[@REVISION][:CONFIG[:SPLIT]] of the Hub, or a folder or file here. As often as needed."),
    ] = None,
    sources_file: Annotated[
        Path | None, typer.Option(help="A text file of sources, one a line; `#` begins a comment.")
    ] = None,
    hub_filter: Annotated[
        list[str] | None,
        typer.Option(help="Search the Hub for datasets with this tag, as task_categories:text-classification."),
    ] = None,
    language: Annotated[
        list[str] | None, typer.Option(help="Search the Hub for datasets in one of these languages: en,de.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Datasets that the search may give, most downloaded first. Default 100.")
    ] = None,
    license: Annotated[
        list[str] | None,
        typer.Option(help="Licences that sources may have: apache-2.0,mit; or `any`. Default: open licences."),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="A sentence-transformers model, onnx-int8:MODEL or static:MODEL.")
    ] = None,
    max_rows_per_source: Annotated[int, typer.Option(help="Rows taken of each source, evenly spread.")] = 1000,
    max_source_rows: Annotated[int | None, typer.Option(help="Leave out sources that are longer.")] = None,
    max_source_bytes: Annotated[
        int, typer.Option(help="Bytes fetched of a Hub source; beyond, its rows are less evenly spread. 0: no limit.")
    ] = MAX_SOURCE_BYTES,
    max_source_seconds: Annotated[
        float, typer.Option(help="Leave out a Hub source that has to be waited for longer. 0: wait for ever.")
    ] = MAX_SOURCE_SECONDS,
    min_text_columns: Annotated[int, typer.Option(help="Leave out sources with fewer columns of text.")] = 1,
) -> None:
    """Build an index over the rows of many datasets. A build that was cut short goes on where it was.

    Example: rebase-hf index build ./index --source SetFit/bbc-news --source ./my-rows.jsonl

    Example: rebase-hf index build ./index --hub-filter task_categories:text-classification --language en
    --license apache-2.0,mit --limit 500
    """
    from rebase_hf.index.licenses import DEFAULT_LICENSES
    from rebase_hf.index.row_index import RowIndex

    licenses = _listed(license)
    sources: list[GivenSource] = [*(source or ()), *(_read_list(sources_file) if sources_file else ())]
    search = _search(hub_filter, _listed(language), [] if "any" in licenses else licenses, limit)
    sources += [search] if search else []
    if not sources:
        raise RowIndexError("No source was given; name one with --source, --sources-file or --hub-filter.")
    index = RowIndex.build(
        path,
        sources,
        encoder=encoder,
        max_rows_per_source=max_rows_per_source,
        licenses="any" if "any" in licenses else licenses or DEFAULT_LICENSES,
        max_source_rows=max_source_rows,
        max_source_bytes=max_source_bytes or None,
        max_source_seconds=max_source_seconds or None,
        min_text_columns=min_text_columns,
    )
    _show(index)


def _listed(values: list[str] | None) -> list[str]:
    """Return the items of an option that takes `a,b` and may be given several times."""
    return [item.strip() for value in values or () for item in value.split(",") if item.strip()]


def _search(
    filters: list[str] | None, languages: list[str], licenses: list[str], limit: int | None
) -> HubSearch | None:
    if not filters and not languages:
        if limit is not None:
            raise RowIndexError("--limit is of a search of the Hub; give --hub-filter or --language, too.")
        return None
    search = HubSearch(filters or (), languages, licenses, DEFAULT_LIMIT if limit is None else limit)
    search.check()
    return search


def _read_list(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RowIndexError(f"--sources-file {path} can't be read: {error}.") from error
    return [text for line in lines if (text := line.strip()) and not text.startswith("#")]


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
        typer.echo(terminal_line(f"{found.score:.3f}  {row.dataset}[{row.row}].{column}  {shown}"))


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
    counts = f"{facts['rows']} rows of {len(index.sources)} sources, {facts['vectors']} vectors, {size}"
    typer.echo(terminal_line(f"{facts['path']}: {counts}"))
    typer.echo(terminal_line(f"fingerprint {facts['fingerprint'][:16]}, encoder {facts['encoder']['name']}"))
    typer.echo(terminal_line(f"rows by licence: {licenses}"))
    width = max(len(source.dataset) for source in index.sources)
    for source in index.sources:
        total = "" if source.total_rows == source.rows else f" of {source.total_rows or 'an unknown number of'}"
        revision = (source.revision or "")[:12]
        config = f"  {source.config}" if source.config else ""
        how = "" if source.sampling == "even" else f"  ({source.sampling.replace('_', ' ')})"
        typer.echo(
            terminal_line(
                f"  {source.dataset:<{width}}  {source.rows}{total} rows{how}  {source.license or 'no licence'}  "
                f"{revision}{config}"
            )
        )
    for skip in index.skipped:
        typer.echo(terminal_line(f"  left out: {skip.source} ({skip.reason}): {skip.detail}"))
