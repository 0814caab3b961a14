"""Files that are checked before anything is read from them, and remembered, so that the next opening costs no reading.

A file that was checked once need not be read again while its size, times and inode stay the same. What is remembered
lies in `$REBASE_HOME/verified`, never in the index, which may be read-only or somebody else's; it is believed only
where nobody else could have written it.
"""

import hashlib
import json
import logging
import os
import stat
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rebase_hf.errors import RowIndexError
from rebase_hf.home import rebase_home
from rebase_hf.index.fit_check import check_fit
from rebase_hf.index.manifest import Manifest

logger = logging.getLogger(__name__)

# A file that changed so shortly before it was checked could change again without its time showing it.
_SETTLED_NS = 2_000_000_000
_MEMORY_FORMAT = 1  # another one where more is checked than before
_MOST_THREADS = 8  # hashing lets go of the interpreter's lock; beyond some files at once a disk gives no more


State = list[Any]  # size, mtime, ctime, inode, sha256: as JSON gives it back


def check_files(index: Path, manifest: Manifest, *, full: bool = False) -> None:
    """Check that every file is what the manifest says, and that files which were read for it fit each other.

    Args:
        full: Read every file, whatever is remembered.

    Raises:
        RowIndexError: One is missing or differs; names it.
    """
    expected = dict(manifest.files())
    states = {name: _state(index / name, about) for name, about in expected.items()}  # of all, before any is read
    remembered = {} if full else _recall(index)
    fresh = [name for name, state in states.items() if remembered.get(name) != state]
    kept = {name: state for name, state in states.items() if remembered.get(name) == state}
    kept.update(_hash_files(index, expected, fresh))
    check_fit(index, manifest, {name.split("/")[0] for name in fresh})
    if kept != remembered:
        _remember(index, kept)


def damage(path: Path, found: str) -> RowIndexError:
    """Return the error for a file that is not what it should be; says what to delete of a cache that keeps blobs."""
    remedy = f"Delete {path.resolve()} and fetch it" if path.is_symlink() else "Fetch or build the index"
    return RowIndexError(f"Index file {path} is {found}. {remedy} again.")


def _state(path: Path, expected: Mapping[str, Any]) -> State:
    try:
        about = path.stat()
    except OSError as error:
        gone = isinstance(error, FileNotFoundError | NotADirectoryError)
        raise damage(path, "missing" if gone else f"not to be read: {error.strerror}") from None
    if about.st_size != expected["size"]:
        raise damage(path, f"damaged: {about.st_size} bytes, the manifest says {expected['size']}")
    return _state_of(about, expected)


def _state_of(about: os.stat_result, expected: Mapping[str, Any]) -> State:
    return [about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino, expected["sha256"]]


def _hash_files(index: Path, expected: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> dict[str, State]:
    """Read files, several at once; return the states of those that can be remembered.

    Raises:
        RowIndexError: One is not what the manifest says.
    """
    if not names:
        return {}
    pool = ThreadPoolExecutor(max_workers=min(_MOST_THREADS, os.cpu_count() or 1, len(names)))
    try:
        found = list(pool.map(lambda name: _hash_file(index / name, expected[name]), names))
    finally:
        pool.shutdown(cancel_futures=True)  # the first that is damaged ends it
    return {name: state for name, state in zip(names, found, strict=True) if state is not None}


def _hash_file(path: Path, expected: Mapping[str, Any]) -> State | None:
    """Read a file; return its state, or None where it may change, or has changed, without that showing in it."""
    now = time.time_ns()
    try:
        with path.open("rb") as stream:
            about = os.fstat(stream.fileno())
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            after = os.fstat(stream.fileno())
    except OSError as error:
        raise damage(path, f"not to be read: {error.strerror}") from error
    if digest != expected["sha256"]:
        raise damage(path, "damaged: its sha256 is not the manifest's")
    state = _state_of(about, expected)
    # The clock is read before the file is: what is written while it is read must not pass for settled.
    settled = now - max(about.st_mtime_ns, about.st_ctime_ns) > _SETTLED_NS
    return state if settled and state == _state_of(after, expected) else None


def _memory(index: Path) -> Path:
    return rebase_home() / "verified" / f"{hashlib.sha256(os.fsencode(index.resolve())).hexdigest()[:24]}.json"


def _recall(index: Path) -> dict[str, State]:
    """Return what is remembered of an index's files; nothing where others could have written it."""
    try:
        with _memory(index).open("rb") as stream:
            about = os.fstat(stream.fileno())
            if hasattr(os, "geteuid") and (
                about.st_uid not in (os.geteuid(), 0) or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            ):
                logger.debug("What was checked of %s is not believed: others can write it.", index)
                return {}
            remembered = json.load(stream)
    except (OSError, ValueError):
        return {}
    known = isinstance(remembered, dict) and remembered.get("format") == _MEMORY_FORMAT
    files = remembered.get("files") if known else None
    return files if isinstance(files, dict) else {}


def _remember(index: Path, checked: Mapping[str, State]) -> None:
    memory = _memory(index)
    try:
        memory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # A name of its own, so that two processes that check one index don't write into each other's.
        handle, beside = tempfile.mkstemp(dir=memory.parent, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                json.dump({"format": _MEMORY_FORMAT, "files": checked}, stream)
            os.replace(beside, memory)
        except OSError:
            os.unlink(beside)
            raise
    except OSError as error:
        logger.debug("What was checked of %s can't be remembered: %s", index, error)
