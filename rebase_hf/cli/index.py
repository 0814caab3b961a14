"""`rebase-hf index`: build an index, change it, look into it, search it, and push it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rebase_hf.cli import index_changes, index_queries
from rebase_hf.cli.index_options import Sources, SourcesFile, given_sources, listed
from rebase_hf.cli.index_text import show_index
from rebase_hf.errors import RowIndexError
from rebase_hf.index.hub_search import DEFAULT_LIMIT, HubSearch
from rebase_hf.index.source_records import MAX_SOURCE_BYTES, MAX_SOURCE_SECONDS

if TYPE_CHECKING:
    from rebase_hf.index.opening import GivenSource

app = typer.Typer(help="Build and look into an index of rows.", no_args_is_help=True)


@app.command()
def build(
    path: Annotated[Path, typer.Argument(help="Where the index goes.")],
    source: Sources = None,
    sources_file: SourcesFile = None,
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
    words: Annotated[
        bool | None,
        typer.Option(
            "--words/--no-words", help="Index the words, too, for lexical search. Default: where tantivy is installed."
        ),
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Build in less time what finds a little less.")] = False,
) -> None:
    """Build an index over the rows of many datasets. A build that was cut short goes on where it was.

    Example: rebase-hf index build ./index --source SetFit/bbc-news --source ./my-rows.jsonl

    Example: rebase-hf index build ./index --hub-filter task_categories:text-classification --language en
    --license apache-2.0,mit --limit 500
    """
    from rebase_hf.index.licenses import DEFAULT_LICENSES
    from rebase_hf.index.row_index import RowIndex

    licenses = listed(license)
    sources: list[GivenSource] = [*given_sources(source, sources_file)]
    search = _search(hub_filter, listed(language), [] if "any" in licenses else licenses, limit)
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
        words=words,
        fast=fast,
    )
    show_index(index)


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


index_changes.add_commands(app)
index_queries.add_commands(app)
