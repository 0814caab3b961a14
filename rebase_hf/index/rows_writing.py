"""Writing rows: raw into a build's pieces, then compressed, with a dictionary trained on a sample, into a segment."""

import hashlib
import json
import logging
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import zstandard

from rebase_hf.index.durable import read_array, sync_file, write_array, write_bytes
from rebase_hf.index.rows_store import BLOB, DICTIONARY, DICTIONARY_HEAD, OFFSETS, map_bytes

Array = np.ndarray[Any, Any]

logger = logging.getLogger(__name__)

RAW_BLOB = "raw_rows.bin"
RAW_OFFSETS = "raw_row_offsets.npy"  # uint64 (rows + 1)

# Level 9 makes rows of 240 bytes 1 % and those of the public kit 8 % smaller, for 20 us a row instead of 7.
LEVEL = 3
DICTIONARY_BYTES = 112_640  # zstd's own default
SAMPLED_ROWS = 20_000
SAMPLED_ROW_BYTES = 8_192
SAMPLE_BYTES = 16_000_000
# A dictionary is at most this share of what it is trained on: few rows would not win back what it takes.
_DICTIONARY_SHARE = 16
_MIN_DICTIONARY_BYTES = 1_024


class RawRows(Protocol):
    """Rows as they are before they are compressed."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def row(self, number: int) -> bytes | memoryview:
        """Return one row: a JSON list of its cells' texts."""
        ...

    def close(self) -> None:
        """Let go of the files; the next row opens them again."""
        ...


class BlobWriter:
    """Appends rows to a piece's blob, and keeps the offsets and a digest of it all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stream = (folder / RAW_BLOB).open("wb")
        self._offsets = array("Q", [0])
        self.sha256 = hashlib.sha256()

    @property
    def bytes(self) -> int:
        """How many bytes the rows take so far."""
        return self._offsets[-1]

    def append(self, texts: Sequence[str]) -> int:
        """Write one row's cells; return how many bytes they take."""
        content = json.dumps(list(texts), ensure_ascii=False, separators=(",", ":")).encode()
        self._stream.write(content)
        self.sha256.update(content)
        self._offsets.append(self._offsets[-1] + len(content))
        return len(content)

    def close(self) -> None:
        """Have blob and offsets put on the disk."""
        self._stream.close()
        sync_file(self.folder / RAW_BLOB)
        write_array(self.folder / RAW_OFFSETS, np.array(self._offsets, dtype=np.uint64))


class StagedRows:
    """The rows that a BlobWriter wrote, memory-mapped from the first one that is asked for until it is closed.

    Args:
        rows: How many there are.
    """

    def __init__(self, folder: Path, rows: int) -> None:
        self._folder, self._rows = folder, rows
        self._opened: tuple[memoryview, Array] | None = None

    def __len__(self) -> int:
        return self._rows

    def row(self, number: int) -> memoryview:
        """Return one row."""
        if self._opened is None:
            offsets = np.asarray(read_array(self._folder / RAW_OFFSETS, np.uint64))
            self._opened = map_bytes(self._folder / RAW_BLOB), offsets
        blob, offsets = self._opened
        return blob[offsets.item(number) : offsets.item(number + 1)]

    def close(self) -> None:
        """Let go of the files; the next row opens them again."""
        self._opened = None


def compress_rows(parts: Sequence[RawRows], folder: Path, *, seed: int = 0) -> None:
    """Write the rows of all parts, in order, as the compressed blob of a segment.

    Rows stream through; in memory are the offsets and the dictionary's sample (16 MB). The same rows make the same
    bytes with the same release of zstd.
    """
    dictionary = _train(_sample(parts, seed))
    write_bytes(folder / DICTIONARY, DICTIONARY_HEAD + (dictionary.as_bytes() if dictionary else b""))
    parameters = zstandard.ZstdCompressionParameters.from_level(
        LEVEL, write_content_size=True, write_dict_id=False, format=zstandard.FORMAT_ZSTD1_MAGICLESS
    )
    compressor = zstandard.ZstdCompressor(dict_data=dictionary, compression_params=parameters)
    offsets = array("Q", [0])
    with (folder / BLOB).open("wb") as blob:
        for part in parts:
            for number in range(len(part)):
                offsets.append(offsets[-1] + blob.write(compressor.compress(part.row(number))))
            part.close()
    sync_file(folder / BLOB)
    write_array(folder / OFFSETS, np.array(offsets, dtype=np.uint64))


def _sample(parts: Sequence[RawRows], seed: int) -> list[bytes]:
    """Return the beginnings of so many rows of all parts, in order; one part is open at a time."""
    begins = np.cumsum([0, *(len(part) for part in parts)])
    drawn = np.random.default_rng(seed).permutation(begins[-1])[:SAMPLED_ROWS]
    rows: dict[int, bytes] = {}
    ordered = np.sort(drawn)
    cuts = np.searchsorted(ordered, begins)
    for part, begin, first, last in zip(parts, begins.tolist(), cuts, cuts[1:], strict=False):
        for key in ordered[first:last].tolist():
            rows[key] = bytes(part.row(key - begin)[:SAMPLED_ROW_BYTES])
        part.close()
    sizes = np.cumsum([len(rows[key]) for key in drawn.tolist()])
    kept = drawn[: int(np.searchsorted(sizes, SAMPLE_BYTES)) + 1]
    return [rows[key] for key in sorted(kept.tolist())]


def _train(sample: Sequence[bytes]) -> zstandard.ZstdCompressionDict | None:
    size = min(DICTIONARY_BYTES, sum(map(len, sample)) // _DICTIONARY_SHARE)
    if size < _MIN_DICTIONARY_BYTES:
        return None
    try:
        return zstandard.train_dictionary(size, list(sample), level=LEVEL)
    except zstandard.ZstdError as error:  # it wants more, or more different, rows
        logger.debug("No dictionary for the rows: %s.", error)
        return None
