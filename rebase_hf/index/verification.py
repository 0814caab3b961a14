"""Files that are checked before anything is read from them, and remembered, so that the next opening costs no reading.

A file that was checked once need not be read again while size, times and inode stay the same. What is remembered lies
in `$REBASE_HOME/verified`, never in the index, which may be read-only or somebody else's.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rebase_hf.errors import RowIndexError
from rebase_hf.home import rebase_home
from rebase_hf.index.durable import sha256_file, write_bytes
from rebase_hf.index.manifest import Manifest
from rebase_hf.index.segment import Segment

logger = logging.getLogger(__name__)

# A file that changed so shortly before it was checked could change again without its time showing it.
_SETTLED_NS = 2_000_000_000
_REMEDY = "Fetch or build the index again."


def check_files(index: Path, manifest: Manifest, *, full: bool = False) -> None:
    """Check that every file is what the manifest says, and that the files of a segment fit each other.

    Args:
        full: Read every file, whatever is remembered.

    Raises:
        RowIndexError: One is missing or differs; names it.
    """
    remembered = {} if full else _recall(index)
    checked: dict[str, list[Any]] = {}
    for part in manifest.parts:
        fresh = [
            _check_file(index / part.name / name, about, remembered, checked) for name, about in part.files.items()
        ]
        if part.name.startswith("segment-") and any(fresh):
            Segment(index / part.name).check()
    if checked != remembered:
        _remember(index, checked)


def _check_file(
    path: Path, expected: Mapping[str, Any], remembered: Mapping[str, list[Any]], checked: dict[str, list[Any]]
) -> bool:
    """Check one file, and return whether it had to be read."""
    try:
        about = path.stat()
    except OSError:
        raise RowIndexError(f"Index file {path} is missing. {_REMEDY}") from None
    if about.st_size != expected["size"]:
        raise RowIndexError(
            f"Index file {path} is damaged: {about.st_size} bytes, the manifest says {expected['size']}. {_REMEDY}"
        )
    state = [about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino, expected["sha256"]]
    known = remembered.get(str(path)) == state
    if not known and sha256_file(path) != expected["sha256"]:
        raise RowIndexError(f"Index file {path} is damaged: its sha256 is not the manifest's. {_REMEDY}")
    if known or time.time_ns() - max(about.st_mtime_ns, about.st_ctime_ns) > _SETTLED_NS:
        checked[str(path)] = state
    return not known


def _memory(index: Path) -> Path:
    return rebase_home() / "verified" / f"{hashlib.sha256(os.fsencode(index)).hexdigest()[:24]}.json"


def _recall(index: Path) -> dict[str, list[Any]]:
    try:
        remembered = json.loads(_memory(index).read_bytes())
    except (OSError, ValueError):  # nothing was remembered, or it can't be read: every file is
        return {}
    return remembered if isinstance(remembered, dict) else {}


def _remember(index: Path, checked: Mapping[str, list[Any]]) -> None:
    try:
        _memory(index).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(_memory(index), json.dumps(checked).encode())
    except OSError as error:
        logger.debug("What was checked of %s can't be remembered: %s", index, error)
