"""What is recorded of a source: that it is in an index, or why it is not; and the limits that decide."""

from dataclasses import dataclass

from rebase_hf.errors import RowIndexError

MAX_SOURCE_BYTES = 100_000_000
MAX_SOURCE_SECONDS = 300.0
MAX_CONFIGS = 10


@dataclass(frozen=True, slots=True)
class IndexedSource:
    """A source whose rows are in an index.

    Attributes:
        revision: The Hub commit; for local data a digest of its content.
        rows: How many of its rows are in the index.
        total_rows: How many rows the split has; None where a stream does not say, and its first rows were taken.
        columns: Columns that hold text, flattened, in the order in which they were met.
        roles: What each of them is for: one of `rebase_hf.index.roles.ROLES`.
        sampling: `even`: each k-th row of the split; `row_groups`: each k-th row of evenly spread Parquet row groups;
            `first_rows`: the split's beginning. The last two where even sampling would have read more bytes than
            allowed.
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
    roles: tuple[str, ...]
    sampling: str = "even"


@dataclass(frozen=True, slots=True)
class SkippedSource:
    """A source that is not in an index.

    Attributes:
        reason: Of the licence: `license_not_allowed`, `unknown_license`. Of access: `gated`, `no_access`,
            `not_found`, `disabled`, `unreachable`, `offline`, `time_budget`. Of what it holds: `script_only`,
            `no_data_files`, `unsupported_format`, `outside_files`, `binary_only`, `no_text_columns`,
            `too_few_text_columns`, `too_many_rows`, `too_many_configs`, `unreadable`. And `duplicate`,
            `nothing_found` for a search.
        detail: What a person needs to understand it.
    """

    source: str
    reason: str
    detail: str


class SourceUnusable(Exception):
    """One source can't be used; the build goes on without it.

    Attributes:
        retry_after: Seconds that the Hub asked to wait for, where it did.
    """

    def __init__(self, reason: str, detail: str, *, retry_after: float = 0.0) -> None:
        detail = printable(detail)
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class SourceLimits:
    """What a build takes of one source, and how much it bears.

    Attributes:
        max_source_rows: Leave out longer sources; None samples them.
        max_source_bytes: Bytes of data files that may be fetched of a Hub source; None for any number. What can't be
            sampled evenly within it is sampled by Parquet row groups, or from its beginning; it is not left out.
        max_source_seconds: How long a Hub source may be waited for in all; then it is left out. None: for ever.
        min_text_columns: Leave out sources with fewer columns that can hold text, class names included.
        max_configs: Of a Hub dataset with several configs, none of them the default, the first so many are taken.
    """

    max_source_rows: int | None = None
    max_source_bytes: int | None = MAX_SOURCE_BYTES
    max_source_seconds: float | None = MAX_SOURCE_SECONDS
    min_text_columns: int = 1
    max_configs: int = MAX_CONFIGS

    def check(self) -> None:
        """Raise RowIndexError for a number that no build can use."""
        for name in ("max_source_rows", "max_source_bytes", "min_text_columns", "max_configs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise RowIndexError(f"`{name}` is {value}; expected 1 or more.")
        if self.max_source_seconds is not None and not self.max_source_seconds > 0:
            raise RowIndexError(f"`max_source_seconds` is {self.max_source_seconds}; expected more than 0.")


def printable(text: str) -> str:
    """Return the text with what could drive a terminal or a log escaped: names and errors come from strangers."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def one_line(error: BaseException) -> str:
    """Return an error and its cause as one short line."""
    text = f"{type(error).__name__}: {error}"
    if error.__cause__ is not None and str(error.__cause__) not in text:
        text += f" ({error.__cause__})"
    return " ".join(text.split())[:400]
