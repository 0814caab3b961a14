"""Files that are whole or not there: written beside, fsynced, renamed."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from rebase_hf.errors import RowIndexError

BLOCK = 1 << 20


def write_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that a crash leaves the old one or the new one, never half of either."""
    beside = path.with_name(f".{path.name}.part")
    with beside.open("wb") as stream:
        write(stream)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(beside, path)
    sync_folder(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes durably."""
    write_file(path, lambda stream: stream.write(content))


def write_array(path: Path, array: np.ndarray[Any, Any]) -> None:
    """Write an array durably as .npy, never with pickles."""
    write_file(path, lambda stream: np.save(stream, array, allow_pickle=False))


def read_array(path: Path, dtype: type[Any]) -> np.ndarray[Any, Any]:
    """Return a .npy file, memory-mapped and never unpickled.

    Raises:
        RowIndexError: It holds something else than plain numbers of this type; names it.
    """
    try:
        array: np.ndarray[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise RowIndexError(f"Index file {path} is no plain array: {error}. Build the index again.") from error
    if array.dtype != np.dtype(dtype):
        raise RowIndexError(
            f"Index file {path} holds {array.dtype}, expected {np.dtype(dtype)}. Build the index again."
        )
    return array


def sync_file(path: Path) -> None:
    """Have a file that is already written put on the disk."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def sync_folder(path: Path) -> None:
    """Have a folder's entries (a rename in it) put on the disk, where the system can."""
    if os.name == "nt":  # a folder can't be opened there
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_file(path: Path) -> str:
    """Return a file's sha256, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
