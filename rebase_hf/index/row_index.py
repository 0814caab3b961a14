"""RowIndex: the rows of many datasets, built once, verified when opened, searched by meaning."""

import logging
import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, overload

import numpy as np

from rebase_hf.errors import RowIndexError
from rebase_hf.index.build_settings import EXACT_BELOW, BuildSettings
from rebase_hf.index.building import build_index
from rebase_hf.index.encoders import Encoder, encode_texts, encoder_of_index, load_encoder
from rebase_hf.index.hub_search import HubSearch
from rebase_hf.index.index_info import describe
from rebase_hf.index.index_reading import IndexReader
from rebase_hf.index.junk import is_junk
from rebase_hf.index.licenses import DEFAULT_LICENSES
from rebase_hf.index.manifest import MANIFEST, Manifest, read_manifest
from rebase_hf.index.opening import GivenSource
from rebase_hf.index.roles import check_roles
from rebase_hf.index.row_filter import RowFilter, choose_filter
from rebase_hf.index.searching import Mode, Search, check_mode, find_rows
from rebase_hf.index.sharing import download_index, upload_index
from rebase_hf.index.source_records import MAX_SOURCE_BYTES, MAX_SOURCE_SECONDS
from rebase_hf.index.updating import add_sources, compact_index, refresh_sources, remove_sources
from rebase_hf.index.verification import check_files
from rebase_hf.rows import RetrievedRow, SourceRow

if TYPE_CHECKING:
    from rebase_hf.index.lexical import LexicalIndex

logger = logging.getLogger(__name__)

Array = np.ndarray[Any, Any]

_OPENING_TRIES = 20
_OPENING_TRIES = 20


class RowIndex:
    """Rows of many datasets, found by meaning. Reading is thread-safe.

    Attributes:
        path: The index folder.
        fingerprint: Digest of its content; the same rows, sources and encoder give the same.
        sources: The sources whose rows it holds.
        skipped: The sources that were left out, and why.
        description_vectors: float32 (sources, dimension), of unit length.
        approximate: Whether search goes through graphs; below `exact_below` texts it looks at all of them.

    Example:
        >>> index = RowIndex.build("./index", sources=["examples/bank/bank_complaints"])  # doctest: +SKIP
        >>> index.search("I was charged twice", k=1)[0].source.cells  # doctest: +SKIP
        {'complaint': 'The same payment left my account two times.', 'topic': 'charges'}
    """

    def __init__(
        self, path: Path, manifest: Manifest, *, encoder: str | Encoder | None = None, exact_below: int | None = None
    ) -> None:
        self.path = path
        self.fingerprint = manifest.fingerprint
        self._manifest = manifest
        self._reader = IndexReader(path, manifest)
        self.sources = tuple(one.source for one in self._reader.catalog.sources)
        self.skipped = self._reader.catalog.skipped
        self.description_vectors: Array = self._reader.catalog.description_vectors
        below = int(manifest.parameters["exact_below"]) if exact_below is None else exact_below
        self.approximate = manifest.counts["texts"] >= below
        self._encoder_spec = encoder
        self._exact_below = exact_below
        self._encoder: Encoder | None = None
        self._loading = threading.Lock()

    @classmethod
    def build(
        cls,
        path: str | Path,
        sources: "Sequence[GivenSource] | GivenSource",
        *,
        encoder: str | Encoder | None = None,
        max_rows_per_source: int = 1000,
        licenses: Sequence[str] | str = DEFAULT_LICENSES,
        max_source_rows: int | None = None,
        max_source_bytes: int | None = MAX_SOURCE_BYTES,
        max_source_seconds: float | None = MAX_SOURCE_SECONDS,
        min_text_columns: int = 1,
        exact_below: int = EXACT_BELOW,
        words: bool | None = None,
        fast: bool = False,
        max_segment_texts: int | None = None,
        seed: int = 0,
        token: str | bool | None = None,
    ) -> "RowIndex":
        """Build an index folder and open it.

        A build that was interrupted goes on. Where there is an index already, what it holds of these sources is kept
        and only the rest is read: the same rows, vectors and exact results as of an index built from nothing.

        Args:
            path: The index's own folder. What is built replaces what was there only when it is whole.
            sources: Hub ids `org/name[@revision][:CONFIG[:SPLIT]]`, local folders or files (`PATH[:CONFIG[:SPLIT]]`),
                `datasets.Dataset` objects, or a HubSearch. What exists on this machine is local.
            encoder: An Encoder, a sentence-transformers id or folder, or `static:` and a model2vec one; None for
                all-MiniLM-L6-v2.
            max_rows_per_source: Rows taken of each source, spread evenly over it.
            licenses: Licence ids that are allowed, or `any`. A source of unknown licence is refused but for `any`.
            max_source_rows: Leave out sources that are longer; None samples them, however long.
            max_source_bytes: Bytes fetched of one Hub source; what would be more is sampled by Parquet row groups, or
                from its beginning (`sampling` of the source says so). None for any number.
            max_source_seconds: Leave out Hub sources that have to be waited for longer in all; None waits for ever.
            min_text_columns: Leave out sources with fewer columns that can hold text.
            exact_below: Search looks at every vector while there are fewer texts than this.
            words: Index the words too, for lexical search; None does where tantivy is installed.
            fast: Build graphs in less time that find a little less.
            max_segment_texts: Texts after which a new segment begins; None where its files come near 5 GB.
            token: For gated or private sources.

        Raises:
            RowIndexError: No source could be used, or the folder holds something else.
            MissingExtraError: The encoder's package is not installed.
        """
        settings = BuildSettings(
            max_rows_per_source=max_rows_per_source,
            licenses=licenses if isinstance(licenses, str) else tuple(licenses),
            max_source_rows=max_source_rows,
            max_source_bytes=max_source_bytes,
            max_source_seconds=max_source_seconds,
            min_text_columns=min_text_columns,
            exact_below=exact_below,
            words=words,
            fast=fast,
            max_segment_texts=max_segment_texts,
            seed=seed,
        )
        loaded = load_encoder(encoder)
        build_index(path, _as_list(sources), encoder=loaded, settings=settings, token=token)
        return cls.open(path, encoder=loaded)

    @classmethod
    def open(
        cls,
        path_or_repo_id: str | Path,
        *,
        revision: str | None = None,
        encoder: str | Encoder | None = None,
        exact_below: int | None = None,
        token: str | bool | None = None,
    ) -> "RowIndex":
        """Open an index folder, or a Hub dataset repo that holds one, after checking every file's sha256.

        A file that was checked before is not read again while its size, times and inode stay the same; `verify` reads
        all of them.

        Args:
            revision: Branch, tag or commit of the Hub repo.
            encoder: The encoder it was built with, where its name does not lead there; loaded when first used.
            exact_below: In place of what it was built with: 0 searches through the graph, however small it is.

        Raises:
            RowIndexError: It is no index, is damaged, was written by another version, or built by another encoder.
        """
        path = Path(path_or_repo_id).expanduser()
        if not path.exists():
            path = download_index(str(path_or_repo_id), revision=revision, token=token)
        elif revision is not None:
            raise RowIndexError(f"{path} is a folder here, and has no revision `{revision}`; only Hub repos have.")
        index = _opened(path.resolve(), encoder, exact_below)
        if encoder is not None and not isinstance(encoder, str):
            _ = index.encoder  # an object costs nothing to check now
        return index

    def verify(self) -> None:
        """Read every file again and compare it to the manifest.

        Raises:
            RowIndexError: A file is missing or differs; the message names it.
        """
        manifest = read_manifest(self.path)
        check_files(self.path, manifest, full=True)
        if manifest.fingerprint != self.fingerprint:
            raise RowIndexError(f"Index {self.path} was built anew since it was opened. Open it again.")

    @property
    def encoder(self) -> Encoder:
        """The encoder that it was built with, loaded on first use.

        Raises:
            RowIndexError: The encoder given, or found under the name, is another one.
        """
        with self._loading:
            if self._encoder is None:
                about = self._manifest.encoder
                spec = about["name"] if self._encoder_spec is None else self._encoder_spec
                self._encoder = encoder_of_index(spec, about, self.path)
            return self._encoder

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker opens the folder again, and verifies it: memory maps do not travel.
        return _reopen, (str(self.path), self._encoder_spec, self._exact_below, self.fingerprint)

    def __len__(self) -> int:
        return len(self._reader.places)

    def rows(self, keys: Sequence[int] | Array) -> list[SourceRow]:
        """Return the rows of these keys (0 to `len(self) - 1`), in their order.

        Raises:
            RowIndexError: There is no such key.
        """
        return self._reader.rows(np.asarray(keys, dtype=np.int64))

    def sources_of(self, keys: Sequence[int] | Array) -> Array:
        """Return which source each of these rows is of, int64; rows stand source by source."""
        return self._reader.places.sources_of(np.asarray(keys, dtype=np.int64))

    def source_keys(self, source: int) -> range:
        """Return the keys of a source's rows."""
        first, last = self._reader.places.source_starts[source : source + 2].tolist()
        return range(first, last)

    def words(self) -> "LexicalIndex":
        """Return the index of its rows' words, to be searched by them alone: no encoder is loaded for that.

        Raises:
            RowIndexError: It was built without.
            MissingExtraError: tantivy is not installed.
        """
        return self._reader.words()

    def best_cells(
        self,
        queries: Array,
        keys: Array | None = None,
        *,
        junk: bool = False,
        roles: Collection[str] | None = None,
        without: Array | None = None,
    ) -> tuple[Array, Array]:
        """Return for each row and query the best cell's dot product and its column, looking at every cell.

        Args:
            queries: float32 (m, dimension).
            keys: Rows to score, in this order; None scores all.
            junk: Whether booleans, numbers, ids and very short texts compete.
            roles: Only columns that are for this compete, as in `search`; None lets all.
            without: int (rows,), a column for each row that does not compete there.

        Returns:
            Scores, float32 (rows, m), and columns of the row's source, int32 (rows, m); -1.0 and -1 where no cell of
            the row competes.
        """
        chosen = RowFilter(roles=None if roles is None else check_roles(roles))
        asked = np.atleast_2d(np.asarray(queries, np.float32))
        return self._reader.best_cells(asked, keys, junk=junk, chosen=chosen, without=without)

    def column_scores(self, queries: Array, keys: Array, *, junk: bool = False) -> dict[int, Array]:
        """Return for each column of some rows of one source how near its cells are to the queries on average.

        Args:
            queries: float32 (m, dimension).
            keys: Rows of one source.

        Returns:
            Column of the source to mean dot products, float32 (m).
        """
        return self._reader.column_scores(np.atleast_2d(np.asarray(queries, np.float32)), keys, junk=junk)

    def nearest_rows(self, query: Array, k: int, *, junk: bool = False) -> tuple[Array, Array, float]:
        """Return the k rows whose best cell is nearest to a query: through graphs when `approximate`, else exactly.

        Args:
            query: float32 (dimension,).

        Returns:
            Keys, best first; their exact scores; and a floor: up to the graph's recall, no cell of a row that is not
            returned scores above it.
        """
        return self._reader.nearest_rows(np.asarray(query, np.float32), k, junk=junk, exact=not self.approximate)

    @overload
    # A text is a sequence of texts too; the first match wins.
    def search(  # type: ignore[overload-overlap]
        self, texts: str, **asked: Unpack[Search]
    ) -> list[RetrievedRow]: ...
    @overload
    def search(self, texts: Sequence[str], **asked: Unpack[Search]) -> list[list[RetrievedRow]]: ...
    def search(
        self,
        texts: str | Sequence[str],
        *,
        k: int = 10,
        mode: Mode = "dense",
        sources: str | Collection[str] | None = None,
        licenses: str | Collection[str] | None = None,
        languages: str | Collection[str] | None = None,
        roles: str | Collection[str] | None = None,
    ) -> list[RetrievedRow] | list[list[RetrievedRow]]:
        """Return the k rows found for each text, best first; for a single text its rows alone.

        Filters are part of the search: k rows come back wherever k rows pass. A text that is itself a number or an id
        is compared with such cells too.

        Args:
            mode: `dense` finds rows by the cell nearest in meaning, `lexical` by the row's words (BM25), `both` fuses
                the two by reciprocal rank.
            sources: Only rows of these datasets: `name`, `name:CONFIG` or `name:CONFIG:SPLIT`.
            licenses: Only rows of sources all of whose licences are among these.
            languages: Only rows of sources in one of these languages.
            roles: Only columns that are for this: `question`, `answer`, `label`, `title`, `context`, `text`.

        Returns:
            Rows whose `score` means the same in every mode: the cosine of the text with the row's best cell, whose
            column `columns["text"]` names. `parts` holds it as `dense`, beside `lexical` (BM25) and `fused` (the sum
            of 1 / (60 + rank)) where these counted.

        Raises:
            RowIndexError: A filter names a source or a role that there is not, or words were not indexed.
            MissingExtraError: tantivy, which lexical search needs, is not installed.
        """
        check_mode(mode, k)
        catalog = self._reader.catalog.sources
        chosen = choose_filter(catalog, sources=sources, licenses=licenses, languages=languages, roles=roles)
        several = [texts] if isinstance(texts, str) else list(texts)
        if not several:
            return []
        if strange := [text for text in several if not isinstance(text, str)]:
            raise RowIndexError(f"{strange[0]!r} is no text; expected a text to search for, or a list of texts.")
        found = find_rows(
            self._reader,
            several,
            encode_texts(self.encoder, several),
            [is_junk(text) for text in several],
            k=k,
            mode=mode,
            chosen=chosen,
            exact=not self.approximate,
        )
        return found[0] if isinstance(texts, str) else found

    def info(self) -> dict[str, Any]:
        """Return what the index holds, ready to be printed or written as JSON."""
        return describe(
            self._manifest,
            self.sources,
            self.skipped,
            path=self.path,
            approximate=self.approximate,
        )

    def add(self, sources: "Sequence[GivenSource] | GivenSource", *, token: str | bool | None = None) -> "RowIndex":
        """Add sources to the index, with the settings that it was built with, and return it opened anew.

        A source that it has already, by dataset, config and split, is read again where it has changed. Nothing else is
        touched: new rows make a segment of their own, until there are many small ones.

        Raises:
            RowIndexError: None of them can be used, or the index came from the Hub and is not yours to change.
        """
        add_sources(self._own_path(), _as_list(sources), self.encoder, token=token)
        return self._reopened()

    def remove(self, sources: str | Collection[str]) -> "RowIndex":
        """Take sources out of the index (`name`, `name:CONFIG` or `name:CONFIG:SPLIT`), and return it opened anew.

        Their rows stay in the files, found by no search, until a fifth of a segment's rows are such, `compact` is
        called, or the index is pushed.

        Raises:
            RowIndexError: It has no such source, or none would be left.
        """
        remove_sources(self._own_path(), _names(sources))
        return self._reopened()

    def refresh(self, sources: str | Collection[str] | None = None, *, token: str | bool | None = None) -> "RowIndex":
        """Read sources again where they have changed, all by default, and return the index opened anew.

        Raises:
            RowIndexError: It has no such source, or where it was read from is not known here.
        """
        refresh_sources(self._own_path(), None if sources is None else _names(sources), self.encoder, token=token)
        return self._reopened()

    def compact(self) -> "RowIndex":
        """Take the rows of removed sources out of the files, too, and return the index opened anew.

        Raises:
            RowIndexError: The index came from the Hub and is not yours to change.
        """
        compact_index(self._own_path())
        return self._reopened()

    def _own_path(self) -> Path:
        if (self.path / MANIFEST).is_symlink():  # as all that the Hub's cache holds
            raise RowIndexError(
                f"Index {self.path} lies in the cache of the Hub, which is not to be changed. Copy it to a folder of "
                "your own and open that."
            )
        return self.path

    def _reopened(self) -> "RowIndex":
        return RowIndex.open(self.path, encoder=self._encoder_spec or self._encoder, exact_below=self._exact_below)

    def push_to_hub(self, repo_id: str, *, private: bool | None = None, token: str | bool | None = None) -> str:
        """Put the index into a Hub dataset repo, with a card, in one commit; return the commit's address.

        Rows of removed sources are taken out of the files first: they are not to be published.

        Raises:
            RowIndexError: A file is damaged, or the Hub refuses.
        """
        if self._manifest.counts["dead_rows"]:
            return self.compact().push_to_hub(repo_id, private=private, token=token)
        self.verify()
        return upload_index(self.path, self._manifest, self.info(), repo_id, private=private, token=token)


def _reopen(path: str, encoder: str | Encoder | None, exact_below: int | None, fingerprint: str) -> RowIndex:
    index = RowIndex.open(path, encoder=encoder, exact_below=exact_below)
    if index.fingerprint != fingerprint:  # its keys would mean other rows
        raise RowIndexError(
            f"Index {path} has changed since it was handed to this process. Open it again, and start anew."
        )
    return index


def _opened(path: Path, encoder: str | Encoder | None, exact_below: int | None) -> RowIndex:
    """Return an index whose files are whole; looked at again where it changes while it is opened."""
    for _ in range(_OPENING_TRIES):
        manifest = read_manifest(path)
        try:
            check_files(path, manifest)
            return RowIndex(path, manifest, encoder=encoder, exact_below=exact_below)
        except (RowIndexError, FileNotFoundError):
            if read_manifest(path) == manifest:
                raise
            logger.debug("Index %s changed while it was opened.", path)
    raise RowIndexError(f"Index {path} changes faster than it can be opened. Try again when nobody writes to it.")


def _as_list(sources: "Sequence[GivenSource] | GivenSource") -> list[GivenSource]:
    if isinstance(sources, Mapping):
        first = next(iter(sources), "train")
        raise RowIndexError(f"{type(sources).__name__} is several splits; give one, as `dataset[{str(first)!r}]`.")
    single = isinstance(sources, str | Path | HubSearch) or hasattr(sources, "features")
    return [sources] if single else list(sources)  # type: ignore[arg-type]


def _names(sources: str | Collection[str]) -> list[str]:
    return [sources] if isinstance(sources, str) else list(sources)
