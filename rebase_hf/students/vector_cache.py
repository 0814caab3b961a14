"""Vectors of texts by content, kept under the rebase home: a frozen encoder encodes no text twice.

A file an encoder, named by what it is byte for byte. On a CPU a text's vector is the same bits in whatever company it
is encoded, so what is read here is what would be computed.
"""

import hashlib
import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from rebase_hf.home import rebase_home, switch_to_wal
from rebase_hf.index.text_batches import Vectors

logger = logging.getLogger(__name__)

PATIENCE = 30.0
# SQLite takes at least 999 values in one query, in every build.
AT_ONCE = 900


def cache_file(identity: str) -> Path:
    """Return where the vectors of an encoder are kept.

    Args:
        identity: Digest of what decides its vectors, in hexadecimal digits.
    """
    return rebase_home() / "vectors" / f"{identity[:32]}.sqlite"


def encode_once(file: Path, texts: Sequence[str], encode: Callable[[list[str]], Vectors], dimension: int) -> Vectors:
    """Return the texts' vectors, float32 (texts, dimension), `encode` given only those not kept yet.

    A file that can't be read or written costs time, and nothing else: it is warned about.
    """
    keys = [_key(text) for text in texts]
    try:
        with closing(_opened(file)) as kept:
            known = dict(_known(kept, list(dict.fromkeys(keys)), dimension))
            missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
            fresh = dict(zip(missing, encode(list(missing.values())), strict=True)) if missing else {}
            _keep(kept, fresh)
    except (sqlite3.Error, OSError) as error:
        logger.warning("Vectors can't be kept in %s (%s); they are computed anew.", file, error)
        return encode(list(texts))
    found = known | fresh
    return np.stack([found[key] for key in keys]) if keys else np.zeros((0, dimension), np.float32)


def _key(text: str) -> bytes:
    # A lone surrogate is no valid text, and still has to have a key.
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _opened(file: Path) -> sqlite3.Connection:
    file.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(file, timeout=PATIENCE)
    switch_to_wal(connection, PATIENCE)
    connection.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID")
    return connection


def _known(kept: sqlite3.Connection, keys: Sequence[bytes], dimension: int) -> Iterator[tuple[bytes, Vectors]]:
    for start in range(0, len(keys), AT_ONCE):
        part = keys[start : start + AT_ONCE]
        marks = ",".join("?" * len(part))
        for key, vector in kept.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", part):
            if len(vector) == 4 * dimension:
                yield key, np.frombuffer(vector, dtype="<f4")


def _keep(kept: sqlite3.Connection, fresh: dict[bytes, Vectors]) -> None:
    rows = [(key, np.ascontiguousarray(vector, dtype="<f4").tobytes()) for key, vector in fresh.items()]
    with kept:
        kept.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
