"""1,000 scattered rows by key from 1M, warm, and their disk against Parquet (zstd, groups of 1,000 rows)."""

import random
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.claims import Line, at_most, parser, report
from benchmarks.index_texts import KIT, kit_rows, made_rows
from rebase_hf.index import rows_store
from rebase_hf.index.durable import write_array
from rebase_hf.index.rows_store import RowsStore
from rebase_hf.index.rows_writing import RAW_BLOB, BlobWriter, StagedRows, compress_rows

FETCHED = 1_000
GROUP = 1_000
ROUNDS = 15
TARGET_MS = 5.0
TARGET_SHARE = 1.2


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=1_000_000)
    options = made.parse_args()
    with tempfile.TemporaryDirectory() as held:
        lines = measure(Path(held), "", made_rows(options.rows))
        if KIT:
            # Neighbours in it share whole passages, which Parquet's pages see and single rows can't: no claim of it.
            lines += [_untargeted(line) for line in measure(Path(held), "kit_", kit_rows())]
    report("index_rows", made, options, lines)


def measure(held: Path, prefix: str, rows: Iterable[Sequence[str]]) -> list[Line]:
    """Return the lines about these rows."""
    parquet = held / f"{prefix}rows.parquet"
    store, count, seconds = written(held / f"{prefix}store", parquet, rows)
    compressed = sum((store / name).stat().st_size for name in (rows_store.BLOB, rows_store.DICTIONARY))
    offsets = (store / rows_store.OFFSETS).stat().st_size
    share = (compressed + offsets) / parquet.stat().st_size
    wall, cpu = fetch(RowsStore(store), count)
    details = {
        "bytes_a_row": (compressed + offsets) / count,
        "of_it_offsets": offsets / count,
        "parquet_bytes_a_row": parquet.stat().st_size / count,
        "raw_bytes_a_row": (held / f"{prefix}store" / "raw" / RAW_BLOB).stat().st_size / count,
        "compress_cpu_us_a_row": seconds / count * 1e6,
    }
    fetched = {"wall_ms": wall, "cpu_ms": cpu, "rows": count}
    name = "the kit's rows" if prefix else "rows"
    return [
        Line(
            f"{prefix}fetch",
            f"{FETCHED:,} scattered of {count:,} {name}, warm, wall",
            **at_most(wall, TARGET_MS, "ms"),
            details=fetched,
        ),
        Line(
            f"{prefix}disk",
            f"disk of {count:,} {name} against Parquet zstd",
            **at_most(share, TARGET_SHARE, "x"),
            details=details,
        ),
    ]


def written(store: Path, parquet: Path, rows: Iterable[Sequence[str]]) -> tuple[Path, int, float]:
    """Write the rows as a store and as Parquet; return the store, their number, the seconds to compress them."""
    import pyarrow
    from pyarrow import parquet as pq

    raw = store / "raw"
    raw.mkdir(parents=True)
    blob, count, group = BlobWriter(raw), 0, []
    with pq.ParquetWriter(
        parquet, pyarrow.schema({"cells": pyarrow.list_(pyarrow.string())}), compression="zstd"
    ) as out:
        for row in rows:
            blob.append(row)
            group.append(row)
            count += 1
            if len(group) == GROUP:
                out.write_table(pyarrow.table({"cells": group}, schema=out.schema))
                group = []
        if group:
            out.write_table(pyarrow.table({"cells": group}, schema=out.schema))
    blob.close()
    start = time.process_time()
    compress_rows([StagedRows(raw, count)], store)
    seconds = time.process_time() - start
    empty = {name: np.zeros(0, np.int32) for name in (rows_store.CELL_COLUMNS,)}
    empty |= {name: np.zeros(0, np.uint32) for name in (rows_store.CELL_VECTORS, rows_store.VECTOR_CELLS)}
    empty |= {rows_store.CELL_JUNK: np.zeros(0, np.bool_), rows_store.VECTOR_STARTS: np.zeros(1, np.int64)}
    empty |= {rows_store.NUMBERS: np.arange(count), rows_store.PIECES: np.zeros(count, np.int32)}
    for name, array in {**empty, rows_store.CELL_STARTS: np.zeros(count + 1, np.int64)}.items():
        write_array(store / name, array)
    return store, count, seconds


def fetch(store: RowsStore, count: int) -> tuple[float, float]:
    """Return the median milliseconds, wall and CPU, of fetching 1,000 rows, others in every round."""
    rng = random.Random(3)
    walls, cpus = [], []
    for key in range(0, count, 7):  # the page cache is warm in this claim
        store.texts(key)
    for _ in range(ROUNDS):
        keys = [rng.randrange(count) for _ in range(FETCHED)]
        wall, cpu = time.perf_counter(), time.process_time()
        for key in keys:
            store.texts(key)
        walls.append((time.perf_counter() - wall) * 1e3)
        cpus.append((time.process_time() - cpu) * 1e3)
    return float(np.median(walls)), float(np.median(cpus))


def _untargeted(line: Line) -> Line:
    return Line(line.key, line.what, line.shown, details=line.details)


if __name__ == "__main__":
    main()
