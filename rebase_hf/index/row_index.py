"""RowIndex: the rows of many datasets, built once, verified when opened, searched by meaning."""

import json
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from rebase_hf.errors import RowIndexError
from rebase_hf.index import manifest as manifests
from rebase_hf.index.building import build_index
from rebase_hf.index.cell_scores import best_cells, column_scores, nearest_rows
from rebase_hf.index.durable import read_array
from rebase_hf.index.encoders import Encoder, encode_texts, encoder_identity, load_encoder
from rebase_hf.index.generations import BuildSettings
from rebase_hf.index.hub_search import HubSearch
from rebase_hf.index.index_info import describe
from rebase_hf.index.junk import is_junk
from rebase_hf.index.licenses import DEFAULT_LICENSES
from rebase_hf.index.manifest import Manifest, check_files, read_manifest
from rebase_hf.index.opening import GivenSource
from rebase_hf.index.rows_store import RowsStore
from rebase_hf.index.sharing import download_index, upload_index
from rebase_hf.index.source_records import MAX_SOURCE_BYTES, MAX_SOURCE_SECONDS, SkippedSource
from rebase_hf.index.stages import source_from_dict
from rebase_hf.index.vectors import VectorStore
from rebase_hf.rows import RetrievedRow, SourceRow

logger = logging.getLogger(__name__)

Array = np.ndarray[Any, Any]

EXACT_BELOW = 100_000


class RowIndex:
    """Rows of many datasets, found by meaning. Reading is thread-safe.

    Attributes:
        path: The index folder.
        fingerprint: Digest of its content; the same rows, sources and encoder give the same.
        sources: The sources whose rows it holds.
        skipped: The sources that were left out, and why.
        row_sources: int32 (rows): which source a row is of; rows are stored source by source.
        description_vectors: float32 (sources, dimension), of unit length.
        approximate: Whether search goes through the graph; below `exact_below` vectors it looks at all of them.

    Example:
        >>> index = RowIndex.build("./index", sources=["examples/bank/bank_complaints"])  # doctest: +SKIP
        >>> index.search("I was charged twice", k=1)[0].source.cells  # doctest: +SKIP
        {'complaint': 'The same payment left my account two times.', 'topic': 'charges'}
    """

    def __init__(
        self, path: Path, manifest: Manifest, *, encoder: str | Encoder | None = None, exact_below: int | None = None
    ) -> None:
        folder = path / manifest.generation
        listing = json.loads((folder / manifests.SOURCES).read_text(encoding="utf-8"))
        self.path = path
        self.fingerprint = manifest.fingerprint
        self.sources = tuple(source_from_dict(source) for source in listing["sources"])
        self.skipped = tuple(SkippedSource(**skip) for skip in listing["skipped"])
        self.description_vectors: Array = np.array(read_array(folder / manifests.DESCRIPTIONS, np.float32))
        self._manifest = manifest
        self._rows = RowsStore(folder)
        self._vectors = VectorStore(folder, scale=float(manifest.parameters["scale"]))
        self._rows.check(sources=len(self.sources), vectors=len(self._vectors))
        self.row_sources: Array = np.asarray(self._rows.sources)
        below = int(manifest.parameters["exact_below"]) if exact_below is None else exact_below
        self.approximate = len(self._vectors) >= below
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
        seed: int = 0,
        token: str | bool | None = None,
    ) -> "RowIndex":
        """Build an index folder and open it; a build that was interrupted goes on, one that is finished is kept.

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
            exact_below: Search looks at every vector while there are fewer than this.
            token: For gated or private sources.

        Raises:
            RowIndexError: No source could be used, or the folder holds something else.
            MissingExtraError: The encoder's package is not installed.
        """
        given = (
            [sources] if isinstance(sources, str | Path | HubSearch) or hasattr(sources, "features") else list(sources)
        )
        settings = BuildSettings(
            max_rows_per_source=max_rows_per_source,
            licenses=licenses if isinstance(licenses, str) else tuple(licenses),
            max_source_rows=max_source_rows,
            max_source_bytes=max_source_bytes,
            max_source_seconds=max_source_seconds,
            min_text_columns=min_text_columns,
            exact_below=exact_below,
            seed=seed,
        )
        loaded = load_encoder(encoder)
        build_index(path, list(given), encoder=loaded, settings=settings, token=token)
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
        manifest = _verified(path.resolve())
        index = cls(path.resolve(), manifest, encoder=encoder, exact_below=exact_below)
        if encoder is not None and not isinstance(encoder, str):
            _ = index.encoder  # an object costs nothing to check now
        return index

    def verify(self) -> None:
        """Read every file again and compare it to the manifest.

        Raises:
            RowIndexError: A file is missing or differs; the message names it.
        """
        manifest = read_manifest(self.path)
        check_files(self.path, manifest)
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
                encoder = load_encoder(spec)
                identity = encoder_identity(encoder)
                if encoder.dimension != about["dimension"] or identity != about["identity"]:
                    raise RowIndexError(
                        f"Index {self.path} was built with encoder `{about['name']}` "
                        f"({about['dimension']} dimensions, identity {about['identity'][:12]}); this one is "
                        f"`{encoder.name}` ({encoder.dimension} dimensions, identity {identity[:12]}). "
                        "Pass the same encoder, or build the index again."
                    )
                self._encoder = encoder
            return self._encoder

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker opens the folder again, and verifies it: memory maps do not travel.
        return _reopen, (str(self.path), self._encoder_spec, self._exact_below)

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self, keys: Sequence[int] | Array) -> list[SourceRow]:
        """Return the rows of these keys (0 to `len(self) - 1`), in their order.

        Raises:
            RowIndexError: There is no such key.
        """
        found = []
        for key in map(int, keys):
            if not 0 <= key < len(self):
                raise RowIndexError(f"Row key {key} is not in the index; keys go from 0 to {len(self) - 1}.")
            source = self.sources[int(self._rows.sources[key])]
            names = (source.columns[int(column)] for column in self._rows.columns(key))
            found.append(
                SourceRow(
                    dataset=source.dataset,
                    config=source.config,
                    split=source.split,
                    revision=source.revision,
                    row=int(self._rows.numbers[key]),
                    license=source.license,
                    url=source.url,
                    cells=dict(zip(names, self._rows.texts(key), strict=True)),
                    description=source.description,
                    language=source.language,
                )
            )
        return found

    def best_cells(self, queries: Array, keys: Array | None = None, *, junk: bool = False) -> tuple[Array, Array]:
        """Return for each row and query the best cell's dot product and its column, looking at every cell.

        Args:
            queries: float32 (m, dimension).
            keys: Rows to score, in this order; None scores all.
            junk: Whether booleans, numbers, ids and very short texts compete.

        Returns:
            Scores, float32 (rows, m), and columns of the row's source, int32 (rows, m); -1.0 and -1 where no cell of
            the row competes.
        """
        return best_cells(self._rows, self._vectors, np.atleast_2d(queries), keys, junk=junk)

    def column_scores(self, queries: Array, keys: Array, *, junk: bool = False) -> dict[int, Array]:
        """Return for each column of some rows of one source how near its cells are to the queries on average.

        Args:
            queries: float32 (m, dimension).
            keys: Rows of one source.

        Returns:
            Column of the source to mean dot products, float32 (m).
        """
        columns, means = column_scores(self._rows, self._vectors, np.atleast_2d(queries), keys, junk=junk)
        return dict(zip(columns.tolist(), means, strict=True))

    def nearest_rows(self, query: Array, k: int, *, junk: bool = False) -> tuple[Array, Array, float]:
        """Return the k rows whose best cell is nearest to a query: through the graph when `approximate`, else exactly.

        Args:
            query: float32 (dimension,).

        Returns:
            Keys, best first; their exact scores; and a floor: up to the graph's recall, no cell of a row that is not
            returned scores above it.
        """
        return nearest_rows(
            self._rows, self._vectors, np.asarray(query, np.float32), k, junk=junk, exact=not self.approximate
        )

    @overload
    # A text is a sequence of texts too; the first match wins.
    def search(self, texts: str, *, k: int = 10) -> list[RetrievedRow]: ...  # type: ignore[overload-overlap]
    @overload
    def search(self, texts: Sequence[str], *, k: int = 10) -> list[list[RetrievedRow]]: ...
    def search(self, texts: str | Sequence[str], *, k: int = 10) -> list[RetrievedRow] | list[list[RetrievedRow]]:
        """Return the k rows nearest to each text, by the row's best cell; for a single text its rows alone.

        Each row's `score` is the cosine of its best cell, also `parts["text"]`; `columns["text"]` names the cell's
        column. A text that is itself a number or an id is compared with such cells too.
        """
        if isinstance(texts, str):
            return self._search_one(encode_texts(self.encoder, [texts])[0], k, is_junk(texts))
        if not texts:
            return []
        vectors = encode_texts(self.encoder, list(texts))
        return [self._search_one(vector, k, is_junk(text)) for vector, text in zip(vectors, texts, strict=True)]

    def _search_one(self, vector: Array, k: int, junk: bool) -> list[RetrievedRow]:
        keys, scores, _ = self.nearest_rows(vector, k, junk=junk)
        _, columns = self.best_cells(vector, keys, junk=junk)
        return [
            RetrievedRow(
                source=row,
                score=float(score),
                parts={"text": float(score)},
                columns={"text": self.sources[int(self.row_sources[key])].columns[int(column)]},
                key=int(key),
            )
            for row, score, key, column in zip(self.rows(keys), scores, keys, columns[:, 0], strict=True)
        ]

    def info(self) -> dict[str, Any]:
        """Return what the index holds, ready to be printed or written as JSON."""
        return describe(
            self._manifest,
            self.sources,
            self.skipped,
            path=self.path,
            approximate=self.approximate,
        )

    def push_to_hub(self, repo_id: str, *, private: bool | None = None, token: str | bool | None = None) -> str:
        """Put the index into a Hub dataset repo, with a card, in one commit; return the commit's address.

        Raises:
            RowIndexError: A file is damaged, or the Hub refuses.
        """
        self.verify()
        return upload_index(self.path, self._manifest, self.info(), repo_id, private=private, token=token)


def _reopen(path: str, encoder: str | Encoder | None, exact_below: int | None) -> RowIndex:
    return RowIndex.open(path, encoder=encoder, exact_below=exact_below)


def _verified(path: Path) -> Manifest:
    """Return the manifest of an index whose files are whole; looked at once more where a build just replaced it."""
    manifest = read_manifest(path)
    try:
        check_files(path, manifest)
    except RowIndexError:
        again = read_manifest(path)
        if again == manifest:
            raise
        check_files(path, again)
        return again
    return manifest
