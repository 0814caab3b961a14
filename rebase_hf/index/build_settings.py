"""What an index is built with, beside its sources and its encoder."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from rebase_hf.errors import RowIndexError
from rebase_hf.index import vectors
from rebase_hf.index.licenses import DEFAULT_LICENSES
from rebase_hf.index.pieces import EMBEDDED_CHARS
from rebase_hf.index.segment_writing import SegmentLimits
from rebase_hf.index.source_records import MAX_SOURCE_BYTES, MAX_SOURCE_SECONDS, SourceLimits

EXACT_BELOW = 100_000


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """What an index is built with.

    Attributes:
        licenses: Allowed licence ids, or `any`.
        max_source_rows: Skip sources that are longer; None samples them.
        exact_below: Search looks at every vector below this many texts.
        max_source_bytes: As in SourceLimits, and so are `max_source_seconds` and `min_text_columns`.
        words: Whether words are indexed too, for lexical search; None where tantivy is installed.
        fast: Build graphs in less time that find a little less.
        max_segment_texts: A segment is cut there; None where its files come near 5 GB.
    """

    max_rows_per_source: int = 1000
    licenses: tuple[str, ...] | str = DEFAULT_LICENSES
    max_source_rows: int | None = None
    exact_below: int = EXACT_BELOW
    seed: int = 0
    max_source_bytes: int | None = MAX_SOURCE_BYTES
    max_source_seconds: float | None = MAX_SOURCE_SECONDS
    min_text_columns: int = 1
    words: bool | None = None
    fast: bool = False
    max_segment_texts: int | None = None

    def check(self) -> None:
        """Raise RowIndexError for a number that no build can use."""
        for name in ("max_rows_per_source", "max_segment_texts"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise RowIndexError(f"`{name}` is {value}; expected 1 or more.")
        self.limits().check()

    def limits(self) -> SourceLimits:
        """Return what is taken and borne of one source."""
        return SourceLimits(
            max_source_rows=self.max_source_rows,
            max_source_bytes=self.max_source_bytes,
            max_source_seconds=self.max_source_seconds,
            min_text_columns=self.min_text_columns,
        )

    def segment_limits(self, dimension: int) -> SegmentLimits:
        """Return how large segments may be."""
        return SegmentLimits.of(dimension, self.max_segment_texts)

    @property
    def expansion_add(self) -> int:
        """How many vectors a graph looks at for each that is added."""
        return vectors.EXPANSION_ADD_FAST if self.fast else vectors.EXPANSION_ADD

    def to_parameters(self) -> dict[str, Any]:
        """Return what the manifest says of how the index was built."""
        fixed = {"embedded_chars": EMBEDDED_CHARS, "connectivity": vectors.CONNECTIVITY}
        return {**asdict(self), **fixed, "expansion_add": self.expansion_add}

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> "BuildSettings":
        """Return the settings that a manifest tells."""
        held = {one.name: parameters[one.name] for one in fields(cls)}
        licenses = held["licenses"]
        return cls(**{**held, "licenses": licenses if isinstance(licenses, str) else tuple(licenses)})
