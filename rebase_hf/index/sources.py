"""Where rows come from: Hub datasets at a pinned revision, local folders and files, `datasets.Dataset` objects."""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rebase_hf.errors import RowIndexError
from rebase_hf.index.cells import has_text, row_cells
from rebase_hf.index.licenses import license_refusal
from rebase_hf.index.source_cards import SourceCard, shorten

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

READ_BATCH = 256
FILE_KINDS = {".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}


@dataclass(frozen=True, slots=True)
class IndexedSource:
    """A source whose rows are in an index.

    Attributes:
        revision: The Hub commit; for local data a digest of its content.
        rows: How many of its rows are in the index.
        total_rows: How many rows the split has; None where a stream does not say, and its first rows were taken.
        columns: Columns that hold text, flattened, in the order in which they were met.
    """

    dataset: str
    config: str | None
    split: str
    revision: str | None
    license: str | None
    language: tuple[str, ...]
    description: str
    url: str | None
    rows: int
    total_rows: int | None
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SkippedSource:
    """A source that is not in an index.

    Attributes:
        reason: `license_not_allowed`, `unknown_license`, `gated`, `not_found`, `unreachable`, `no_text_columns`,
            `unreadable`, `too_many_rows` or `duplicate`.
        detail: What a person needs to understand it.
    """

    source: str
    reason: str
    detail: str


class SourceUnusable(Exception):
    """One source can't be used; the build goes on without it."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Source:
    """A source that was found, may be read, and is pinned.

    Attributes:
        data: The split, ready to be streamed.
        total_rows: How many rows it has, where that is known.
    """

    address: str
    dataset: str
    config: str | None
    split: str
    revision: str
    license: str | None
    language: tuple[str, ...]
    description: str
    url: str | None
    total_rows: int | None
    data: "Dataset | IterableDataset" = field(repr=False)

    def key(self, *parameters: Any) -> str:
        """Return a digest of what decides this source's part of an index."""
        about: tuple[Any, ...] = (self.dataset, self.config, self.split, self.revision, self.license, self.language)
        about += (self.description, self.url, self.total_rows, repr(self.data.features), *parameters)
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:24]

    def sample_size(self, limit: int) -> int:
        """Return how many rows `sampled_rows` yields; at most so many where the length is unknown."""
        return limit if self.total_rows is None else math.ceil(self.total_rows / self._stride(limit))

    def _stride(self, limit: int) -> int:
        return 1 if self.total_rows is None else max(1, math.ceil(self.total_rows / limit))

    def sampled_rows(self, limit: int) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield (row in the split, its text cells) for at most `limit` rows, spread evenly over the split.

        Row i is taken when i % k == 0 with k = ceil(rows / limit). ReBase's code has k = rows // limit and stops at
        `limit`, which reads only the first half of a split of 1,999 rows. Where the length is unknown: the first rows.

        Raises:
            SourceUnusable: The data can't be read.
        """
        stride = self._stride(limit)
        features, start, taken = self.data.features, 0, 0
        for table in _tables(self.data):
            picks = list(range(-start % stride, table.num_rows, stride))[: limit - taken]
            for pick, record in zip(picks, _records(table, picks), strict=True):
                yield start + pick, row_cells(record, features)
            start += table.num_rows
            taken += len(picks)
            if taken >= limit:
                return


def open_source(
    source: "str | Path | Dataset",
    *,
    licenses: Sequence[str] | None,
    max_source_rows: int | None = None,
    token: str | bool | None = None,
) -> Source:
    """Return a source, found, pinned, its licence checked, ready to be read.

    Args:
        source: A `datasets.Dataset`; a local folder or file (.jsonl, .json, .csv, .parquet); or a Hub dataset id,
            `org/name` or `org/name@revision`. Folders and ids may go on with `:CONFIG` or `:CONFIG:SPLIT`. What exists
            on this machine is local, as in `load_dataset`.
        licenses: Allowed licence ids; None allows any.
        max_source_rows: Refuse a source of more rows than this; None samples it, however long.

    Raises:
        SourceUnusable: It can't be used; carries the reason.
        RowIndexError: It is no kind of source at all.
    """
    from datasets import Dataset

    from rebase_hf.index import hub_sources, local_sources

    if isinstance(source, Dataset):
        opened = local_sources.open_dataset(source, licenses)
    elif not isinstance(source, str | Path):
        raise RowIndexError(
            f"Source {source!r} is a {type(source).__name__}; expected a Hub dataset id, a local folder or file, "
            "or a `datasets.Dataset`."
        )
    elif (local := local_sources.find(str(source))) is not None:
        opened = local_sources.open_path(str(source), *local, licenses)
    elif isinstance(source, Path) or local_sources.looks_like_a_path(source):
        raise SourceUnusable("not_found", "there is no such folder or file")
    else:
        opened = hub_sources.open_id(source, licenses, token=token)
    if max_source_rows is not None and (opened.total_rows or 0) > max_source_rows:
        raise SourceUnusable("too_many_rows", f"it has {opened.total_rows} rows, more than {max_source_rows} allowed")
    return opened


def check_license(card: SourceCard, licenses: Sequence[str] | None) -> str | None:
    """Return the source's licence as one text.

    Raises:
        SourceUnusable: The policy refuses it.
    """
    if refusal := license_refusal(card.licenses, licenses):
        raise SourceUnusable(*refusal)
    return ", ".join(card.licenses) or None


def describe(card: SourceCard, name: str) -> str:
    """Return what the source is: the card's first prose, else its title, else its name."""
    return shorten(card.description or card.pretty_name or name.replace("_", " "))


def choose_split(splits: Any, asked: str | None) -> str:
    """Return the split to read: the one asked for, `train`, else the first.

    Raises:
        SourceUnusable: There is no such split.
    """
    names = [str(name) for name in splits]
    if asked is None:
        if not names:
            raise SourceUnusable("unreadable", "it has no split")
        return "train" if "train" in names else names[0]
    if asked not in names:
        raise SourceUnusable("not_found", f"it has no split `{asked}`; it has {', '.join(names)}")
    return asked


def text_columns(data: "Dataset | IterableDataset") -> "Dataset | IterableDataset":
    """Return the data without its images, audio and bytes, so that these are not even read.

    Raises:
        SourceUnusable: Nothing is left.
    """
    if data.features is None:
        return data
    names = [name for name, feature in data.features.items() if has_text(feature)]
    if not names:
        raise SourceUnusable("no_text_columns", f"its columns are {', '.join(data.features) or 'none'}")
    return data if len(names) == len(data.features) else data.select_columns(names)


def count_rows(data: "Dataset | IterableDataset") -> int:
    """Return how many rows a local split has; a stream is read through once (0.3 million rows a second and up)."""
    return sum(table.num_rows for table in _tables(data))


def reading_errors() -> tuple[type[Exception], ...]:
    """Return what `datasets`, pyarrow and the Hub client raise for a source that can't be read."""
    import pyarrow
    import yaml
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HfHubHTTPError

    # The client's own transport errors are no OSError; hub 1.x is built on httpx, 2.x on httpx2.
    transport = HfHubHTTPError.__bases__[0]
    named = (OSError, ValueError, TypeError, KeyError, AttributeError, NotImplementedError, RuntimeError, EOFError)
    return (*named, OverflowError, ImportError, pyarrow.ArrowException, yaml.YAMLError, DatasetsError, transport)


def _tables(data: "Dataset | IterableDataset") -> Iterator[Any]:
    """Yield the split as Arrow tables: no image is decoded, no class id replaced."""
    try:
        yield from data.with_format("arrow").iter(batch_size=READ_BATCH)
    except reading_errors() as error:
        raise SourceUnusable("unreadable", one_line(error)) from error


def _records(table: Any, picks: list[int]) -> list[dict[str, Any]]:
    try:
        records: list[dict[str, Any]] = table.take(picks).to_pylist()
    except reading_errors() as error:  # a timestamp beyond the year 9999, for one
        raise SourceUnusable("unreadable", one_line(error)) from error
    return records


def one_line(error: BaseException) -> str:
    """Return an error and its cause as one short line."""
    text = f"{type(error).__name__}: {error}"
    if error.__cause__ is not None and str(error.__cause__) not in text:
        text += f" ({error.__cause__})"
    return " ".join(text.split())[:400]
