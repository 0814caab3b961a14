"""A source of rows that is found, pinned and ready to be read, and what is asked of every source."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from rebase_hf.index.cells import has_text, has_words, row_cells
from rebase_hf.index.hub_failures import why
from rebase_hf.index.licenses import license_refusal
from rebase_hf.index.parquet_split import READ_BATCH, ParquetSplit
from rebase_hf.index.source_cards import SourceCard, shorten
from rebase_hf.index.source_records import IndexedSource, SkippedSource, SourceUnusable
from rebase_hf.index.time_budget import TimeBudget

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

__all__ = ["IndexedSource", "SkippedSource", "Source", "SourceUnusable", "check_license", "choose_split", "describe"]

T = TypeVar("T")

FILE_KINDS = {".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}
NO_LIMIT = TimeBudget(None)


@dataclass(frozen=True, slots=True)
class Source:
    """A source that was found, may be read, and is pinned.

    Attributes:
        data: The split, ready to be streamed.
        total_rows: How many rows it has, where that is known.
        parquet: The split's files, where they are Parquet and need not be streamed.
        reopen: The address that opens it again, as it is by then; None where only the program has it.
        first_rows: Take the beginning although the length is known: the rest would be too many bytes.
        budget: How long reading may be waited for.
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
    parquet: ParquetSplit | None = field(repr=False, default=None)
    first_rows: bool = False
    reopen: str | None = None
    budget: TimeBudget = field(repr=False, default=NO_LIMIT)

    def key(self, *parameters: Any) -> str:
        """Return a digest of what decides this source's part of an index."""
        about: tuple[Any, ...] = (self.dataset, self.config, self.split, self.revision, self.license, self.language)
        about += (self.description, self.url, self.total_rows, repr(self.data.features), self.first_rows)
        about += (self.parquet.max_bytes if self.parquet is not None else None, *parameters)
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:24]

    def class_columns(self) -> frozenset[str]:
        """Return the columns that are declared to hold class names."""
        features = self.data.features or {}
        return frozenset(name for name, feature in features.items() if getattr(feature, "names", None) is not None)

    def sample_size(self, limit: int) -> int:
        """Return how many rows `sampled_rows` yields; at most so many where the length is unknown."""
        if self.parquet is not None:
            return self.parquet.plan(limit).rows
        if self.total_rows is None:
            return limit
        return min(limit, math.ceil(self.total_rows / self._stride(limit)))

    def sampling(self, limit: int) -> str:
        """Return how `sampled_rows` spreads the rows that it takes; see IndexedSource."""
        if self.parquet is not None:
            return self.parquet.plan(limit).sampling
        return "first_rows" if self.total_rows is None or self.first_rows else "even"

    def _stride(self, limit: int) -> int:
        if self.total_rows is None or self.first_rows:
            return 1
        return max(1, math.ceil(self.total_rows / limit))

    def sampled_rows(self, limit: int) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield (row in the split, its text cells) for at most `limit` rows, spread evenly over the split.

        Row i is taken when i % k == 0 with k = ceil(rows / limit). ReBase's code has k = rows // limit and stops at
        `limit`, which reads only the first half of a split of 1,999 rows. `sampling` says where it is otherwise.

        Raises:
            SourceUnusable: The data can't be read, or not in time.
        """
        features = self.data.features
        batches = self._streamed if self.parquet is None else self.parquet.sampled
        for batch in self.budget.iterate(lambda: _readable(batches(limit))):
            for row, record in batch:
                yield row, row_cells(record, features)

    def _streamed(self, limit: int) -> Iterator[list[tuple[int, dict[str, Any]]]]:
        stride = self._stride(limit)
        start, taken = 0, 0
        for table in tables(self.data):
            picks = list(range(-start % stride, table.num_rows, stride))[: limit - taken]
            # Empty batches are yielded too: they let a reader that nobody waits for any more notice it.
            records = table.take(picks).to_pylist() if picks else []
            yield [(start + pick, record) for pick, record in zip(picks, records, strict=True)]
            start += table.num_rows
            taken += len(picks)
            if taken >= limit:
                return


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


def text_columns(data: "Dataset | IterableDataset", at_least: int) -> "Dataset | IterableDataset":
    """Return the data without its images, audio and bytes, so that these are not even read.

    Args:
        at_least: So many columns must be able to hold words: strings, class names, or what contains these. Where the
            columns are not declared, those of the first rows are looked at.

    Raises:
        SourceUnusable: There are too few.
    """
    features = _features(data)
    if features is None:
        return data
    names = [name for name, feature in features.items() if has_text(feature)]
    shown = ", ".join(features) or "none"
    if features and not names:
        raise SourceUnusable("binary_only", f"its columns are {shown}: images, audio or bytes")
    wordy = [name for name in names if has_words(features[name])]
    if not wordy:
        raise SourceUnusable("no_text_columns", f"its columns are {shown}")
    if len(wordy) < at_least:
        raise SourceUnusable(
            "too_few_text_columns", f"{len(wordy)} can hold text ({', '.join(wordy)}), fewer than {at_least}"
        )
    return data if data.features is None or len(names) == len(features) else data.select_columns(names)


def _features(data: "Dataset | IterableDataset") -> Mapping[str, Any] | None:
    from datasets import Features

    if data.features is not None:
        return data.features  # type: ignore[no-any-return]
    first = next(tables(data), None)
    return None if first is None else Features.from_arrow_schema(first.schema)


def count_rows(data: "Dataset | IterableDataset") -> int:
    """Return how many rows a split has by streaming through it (0.3 million rows a second and up from a disk).

    Raises:
        SourceUnusable: It can't be read.
    """
    return sum(counted for counted in _readable(table.num_rows for table in tables(data)))


def tables(data: "Dataset | IterableDataset") -> Iterator[Any]:
    """Yield the split as Arrow tables: no image is decoded, no class id replaced."""
    yield from data.with_format("arrow").iter(batch_size=READ_BATCH)


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


def _readable(items: Iterator[T]) -> Iterator[T]:
    """Yield the items; what reading raises becomes SourceUnusable (a timestamp beyond the year 9999, for one)."""
    try:
        yield from items
    except reading_errors() as error:
        raise why(error) from error
