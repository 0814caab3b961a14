"""Words to rows: a BM25 index in a folder, memory-mapped, filtered by source inside the query.

The only file that imports tantivy, which is used for what it does best (postings, block-max WAND: 5 ms a query at 1M
rows, bm25s 37, PERFORMANCE.md section 4) and kept from what would harm: its query parser is never called (a query is
words, never syntax), it never merges in the background, and it never writes into a finished folder, which may lie on a
read-only disk.

**Words.** One analyser for all rows and all queries, so that a word always finds itself, in whatever language:
Unicode NFKC, runs of letters, marks and digits, lower case, the English (Porter 2) stem. Characters of scripts that
are written without blanks (Chinese, Japanese, Thai, ...) are words each. To other languages the English stem does no
more than to make a few words one; no stem of their own is attempted, as a row's language is rarely known for sure.

**Files.** `meta.json` and six files a part. The same rows make the same bytes with the same release of tantivy: one
writer thread, parts cut where so many characters are full, names and meta.json of our own instead of tantivy's random
ones.
"""

import json
import os
import shutil
import tempfile
import unicodedata
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rebase_hf.errors import RowIndexError
from rebase_hf.index.durable import sync_file, sync_folder, write_bytes

Array = np.ndarray[Any, Any]

META = "meta.json"
# What SegmentReader opens of a part; without positions and stored fields two of them are all but empty.
SUFFIXES = ("fast", "fieldnorm", "idx", "pos", "store", "term")
# A part is as long as its postings surely fit the writer's memory in fewer than 8 turns: tantivy merges from 8 on, in
# threads of its own, and what comes of that differs from build to build.
PART_CHARS = 400_000_000
WRITER_BYTES = 800_000_000
# A query's further words would cost time and change nothing: what it is about is said by then.
MAX_QUERY_WORDS = 256
MAX_QUERY_CHARS = 20_000
LONGEST_WORD = 255  # bytes; a longer run is no word
# One term query a source up to here, beyond it a set: 1.4 against 1.6 ms for 25, but a set does not grow with them.
MAX_SOURCE_TERMS = 64
# Sums of the same float32 scores differ by so much with the order in which tantivy adds them; it is no difference.
SAME_SCORE = 2e-6
MAX_TIES = 10_000
_NO_BLANKS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_WORD = rf"[\w--[_{_NO_BLANKS}]]+|[\w&&[{_NO_BLANKS}]]"
_ANALYSER = "rebase_hf.words.1"


def build_lexical(
    folder: Path,
    rows: Iterable[tuple[int, str, int]],
    *,
    part_chars: int = PART_CHARS,
    writer_bytes: int = WRITER_BYTES,
) -> int:
    """Write an index of rows into a folder of its own, which is there whole or not at all; return how many rows.

    Rows stream through; memory is bounded by `writer_bytes` and what tantivy needs to write a part, whatever the rows.

    Args:
        rows: (key, text, number of its source); keys rise. Numbers of sources are any up to 2**63 - 1.
        part_chars: A part ends with the row that brings it to so many characters.

    Raises:
        RowIndexError: Keys don't rise, or it could not be written.
    """
    part_folder = folder.with_name(f".{folder.name}.part")
    for old in (part_folder, folder):
        shutil.rmtree(old, ignore_errors=True)
    part_folder.mkdir(parents=True)
    try:
        writer = _Writer(part_folder, writer_bytes)
        for key, text, source in rows:
            writer.add(key, text, source)
            if writer.chars >= part_chars:
                writer.end_part()
        writer.close()
    except ValueError as error:  # tantivy's word for all that goes wrong, a full disk included
        raise RowIndexError(f"The lexical index {folder} could not be written: {error}.") from error
    for name in list_files(part_folder):
        sync_file(part_folder / name)
    os.replace(part_folder, folder)
    sync_folder(folder.parent)
    return writer.rows


def list_files(folder: Path) -> tuple[str, ...]:
    """Return the names of the files that an index consists of, sorted; there is nothing else in its folder."""
    names = [f"{part['name']}.{suffix}" for part in _read_meta(folder)["parts"] for suffix in SUFFIXES]
    return tuple(sorted([META, *names]))


class _Writer:
    """Writes parts one after the other, each by a tantivy writer of one thread and one commit."""

    def __init__(self, folder: Path, writer_bytes: int) -> None:
        self._folder, self._writer_bytes = folder, writer_bytes
        self._work = folder / "work"
        self._open: tuple[Any, Any] | None = None
        self._parts: list[dict[str, Any]] = []
        self._form: dict[str, Any] = {}
        self._sources: set[int] = set()
        self._last = -1
        self.rows = self.chars = 0

    def add(self, key: int, text: str, source: int) -> None:
        """Take one row."""
        from tantivy import Document

        if key <= self._last:
            raise RowIndexError(f"Row {key} comes after row {self._last}; expected keys that rise. Sort the rows.")
        if self._open is None:
            self._work.mkdir()
            index = _new_index(self._work)
            self._open = index, index.writer(self._writer_bytes, 1)
        document = Document()
        document.add_text("text", _plain(text))
        document.add_unsigned("key", key)
        document.add_unsigned("source", source)
        self._open[1].add_document(document)
        self._sources.add(source)
        self._last = key
        self.rows += 1
        self.chars += len(text) + 1

    def end_part(self) -> None:
        """Put what has come on the disk, under a name of ours."""
        if self._open is None:
            return
        _, writer = self._open
        writer.commit()
        writer.wait_merging_threads()
        self._open, self.chars = None, 0
        self._form = _form(self._work)
        written = json.loads((self._work / META).read_text())["segments"]
        for about in self._in_order([(uuid.UUID(one["segment_id"]).hex, one["max_doc"]) for one in written]):
            name = f"{len(self._parts):032x}"
            for suffix in SUFFIXES:
                os.replace(self._work / f"{about[0]}.{suffix}", self._folder / f"{name}.{suffix}")
            self._parts.append({"name": name, "rows": about[1]})
        shutil.rmtree(self._work)

    def close(self) -> None:
        """End the last part and write what the index consists of."""
        self.end_part()
        if not self._parts:
            self._work.mkdir()
            _new_index(self._work)
            self._form = _form(self._work)
            shutil.rmtree(self._work)
        meta = {"analyser": _ANALYSER, "parts": self._parts, "rows": self.rows, "sources": sorted(self._sources)}
        meta["tantivy"] = self._form
        write_bytes(self._folder / META, (json.dumps(meta, indent=1) + "\n").encode())

    def _in_order(self, parts: list[tuple[str, int]]) -> list[tuple[str, int]]:
        """Return the parts by the keys they hold: tantivy lists them by random names when its memory was full."""
        if len(parts) == 1:
            return parts
        held = []
        for name, rows in parts:
            searcher = _open([(self._work, name, rows)], self._form)[0]
            first, last = _keys(searcher, [(0, 0), (0, rows - 1)])
            held.append((first, last, (name, rows)))
        held.sort()
        if any(after[0] <= before[1] for before, after in zip(held, held[1:], strict=False)):
            raise RowIndexError(f"tantivy merged rows of {self._folder} by itself; give more `writer_bytes`.")
        return [part for _, _, part in held]


class LexicalIndex:
    """One or several folders opened as one index; nothing is written into them. Reading is thread-safe.

    Scores are BM25 (k1 1.2, b 0.75) by the word statistics of all folders together, so that rows of different folders
    compare; a filter changes which rows are returned and never their scores.

    ```python
    build_lexical(folder, [(0, "The parcel never arrived", 0), (1, "Charged twice in May", 0)])
    [(keys, scores)] = LexicalIndex(folder).search(["parcels"], 10)
    ```

    Args:
        folders: What `build_lexical` wrote; verify them first, as tantivy trusts what it maps.
        first_keys: What to add to the keys of each folder; by default nothing.

    Raises:
        RowIndexError: A folder is no such index, or of another version.
    """

    def __init__(self, folders: Path | Sequence[Path], *, first_keys: Sequence[int] | None = None) -> None:
        folders = [folders] if isinstance(folders, Path) else list(folders)
        parts: list[tuple[Path, str, int]] = []
        shifts: list[int] = []
        sources: set[int] = set()
        form: dict[str, Any] = {}
        for folder, shift in zip(folders, first_keys or [0] * len(folders), strict=True):
            meta = _read_meta(folder)
            parts += [(folder, part["name"], part["rows"]) for part in meta["parts"]]
            shifts += [shift] * len(meta["parts"])
            sources.update(meta["sources"])
            form = meta["tantivy"]
        self._shifts = np.array(shifts, dtype=np.int64)
        self._sources = frozenset(sources)
        self._analyser = _analyser()
        self._searcher, self._schema = _open(parts, form)

    def __len__(self) -> int:
        return int(self._searcher.num_docs)

    def search(
        self, texts: Sequence[str], k: int, *, sources: Collection[int] | Array | None = None
    ) -> list[tuple[Array, Array]]:
        """Return for each text (keys, scores) of the k rows that share its weightiest words, best first.

        Any text is safe: it is words, without syntax. Rows without any of them are not returned, so that there may be
        fewer than k. Rows of equal score stand by key, also where k cuts them (up to 10,000 of them).

        Args:
            sources: Only rows of the sources of these numbers. The filter is part of the query: the k best of them.

        Returns:
            int64 keys and float32 scores, one pair a text.
        """
        allowed = None if sources is None else self._sources.intersection(int(source) for source in sources)
        return [self._search(text, min(k, len(self)), allowed) for text in texts]

    def words(self, text: str) -> list[str]:
        """Return the words of a text as the index knows them, in order."""
        words: list[str] = self._analyser.analyze(_plain(text))
        return words

    def _search(self, text: str, k: int, allowed: frozenset[int] | None) -> tuple[Array, Array]:
        query = self._query(text, allowed)
        if query is None or k <= 0:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        limit = k + 1
        while True:
            hits = self._searcher.search(query, limit, count=False).hits
            scores = np.array([score for score, _ in hits], dtype=np.float32)
            # Where the k-th row's score goes on beyond what was fetched, rows of smaller keys may be among the rest.
            if len(hits) < limit or scores[k - 1] - scores[-1] > scores[k - 1] * SAME_SCORE or limit > MAX_TIES:
                break
            limit *= 8
        addresses = [address for _, address in hits]
        keys = np.array(self._searcher.fast_field_values("key", addresses), dtype=np.int64)
        if len(self._shifts) > 1 or self._shifts.any():
            keys += self._shifts[[address.segment_ord for address in addresses]]
        return _ordered(keys, scores, k)

    def _query(self, text: str, allowed: frozenset[int] | None) -> Any:
        """Return the query, or None where it can find nothing."""
        from tantivy import Occur, Query

        counts = Counter(self.words(text[:MAX_QUERY_CHARS]))
        if not counts or (allowed is not None and not allowed):
            return None
        terms = []
        for word, count in list(counts.items())[:MAX_QUERY_WORDS]:
            term = Query.term_query(self._schema, "text", word, "freq")
            terms.append((Occur.Should, Query.boost_query(term, float(count)) if count > 1 else term))
        query = Query.boolean_query(terms)
        if allowed is None or len(allowed) == len(self._sources):
            return query
        if 2 * len(allowed) > len(self._sources):  # leaving out few is up to 4 times as fast as asking for many
            return Query.boolean_query([(Occur.Must, query), (Occur.MustNot, self._of(self._sources - allowed))])
        return Query.boolean_query(
            [(Occur.Must, query), (Occur.Must, Query.const_score_query(self._of(allowed), 0.0))]
        )

    def _of(self, sources: Collection[int]) -> Any:
        from tantivy import Occur, Query

        if len(sources) > MAX_SOURCE_TERMS:
            return Query.term_set_query(self._schema, "source", sorted(sources))
        return Query.boolean_query(
            [(Occur.Should, Query.term_query(self._schema, "source", source)) for source in sorted(sources)]
        )


def _ordered(keys: Array, scores: Array, k: int) -> tuple[Array, Array]:
    """Return the k best; scores that differ by rounding only are one score, and stand by key."""
    falls = scores[:-1] - scores[1:] > scores[:-1] * SAME_SCORE
    groups = np.concatenate([[0], np.cumsum(falls)]) if len(scores) else np.zeros(0, np.int64)
    order = np.lexsort((keys, groups))[:k]
    first = np.searchsorted(groups, groups[order])  # `groups` rises, and lexsort keeps it so
    return keys[order], scores[first]


def _plain(text: str) -> str:
    """Return a text as words are read from it."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", text.encode("utf-8", "replace").decode())


def _analyser() -> Any:
    from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

    words = TextAnalyzerBuilder(Tokenizer.regex(_WORD)).filter(Filter.lowercase())
    return words.filter(Filter.remove_long(LONGEST_WORD)).filter(Filter.stemmer("english")).build()


def _new_index(folder: Path) -> Any:
    from tantivy import Index, SchemaBuilder

    schema = SchemaBuilder()
    schema.add_text_field("text", tokenizer_name=_ANALYSER, index_option="freq")
    schema.add_unsigned_field("key", fast=True)
    schema.add_unsigned_field("source", indexed=True)
    index = Index(schema.build(), path=str(folder))
    index.register_tokenizer(_ANALYSER, _analyser())
    return index


def _form(folder: Path) -> dict[str, Any]:
    """Return what a tantivy index of ours says of itself: settings and schema."""
    meta = json.loads((folder / META).read_text())
    return {name: meta[name] for name in ("index_settings", "schema")}


def _open(parts: Sequence[tuple[Path, str, int]], form: dict[str, Any]) -> tuple[Any, Any]:
    """Return a tantivy searcher over parts of any folders, in this order, and its schema.

    tantivy wants to write a lock beside what it reads, so it is given a passing folder of links with a meta.json over
    all parts. It maps all files when the searcher is made; the links are not needed after that.
    """
    from tantivy import Index

    with tempfile.TemporaryDirectory(prefix="rebase_hf-lexical-") as passing:
        view = Path(passing)
        meta = {**form, "segments": [], "opstamp": 0}
        for number, (folder, name, rows) in enumerate(parts):
            shown = uuid.UUID(int=number)
            for suffix in SUFFIXES:
                os.symlink(folder.absolute() / f"{name}.{suffix}", view / f"{shown.hex}.{suffix}")
            meta["segments"].append({"segment_id": str(shown), "max_doc": rows, "deletes": None})
        (view / META).write_text(json.dumps(meta))
        try:
            index = Index.open(str(view))
            index.config_reader("manual")
            return index.searcher(), index.schema
        except (ValueError, OSError) as error:
            held = ", ".join(sorted({str(folder) for folder, _, _ in parts}))
            raise RowIndexError(f"The lexical index {held} can't be opened: {error}. Build it again.") from error


def _keys(searcher: Any, addresses: Sequence[tuple[int, int]]) -> list[int]:
    from tantivy import DocAddress

    keys: list[int] = searcher.fast_field_values("key", [DocAddress(*address) for address in addresses])
    return keys


def _read_meta(folder: Path) -> dict[str, Any]:
    path = folder / META
    try:
        meta: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise RowIndexError(f"{folder} is no lexical index: {error}. Build it again.") from error
    if (
        not isinstance(meta, dict)
        or meta.get("analyser") != _ANALYSER
        or not {"parts", "sources", "tantivy"} <= set(meta)
    ):
        raise RowIndexError(f"{path} is of another version of the lexical index; this release reads {_ANALYSER}.")
    return meta
