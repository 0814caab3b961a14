"""The folder that the machines of one build share: a folder that all of them mount, or one of any fsspec file system.

What is made in a mounted folder is made in place. What belongs into another (`hf://buckets/...`, `s3://...`) is made
in a folder of this machine's own, and put there when it is whole; what is read from it is fetched there first.
"""

import hashlib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rebase_hf.errors import RowIndexError
from rebase_hf.home import rebase_home
from rebase_hf.index.durable import write_bytes


@dataclass(frozen=True, slots=True)
class SharedFolder:
    """A folder that all machines of a build see. Names in it are relative, with `/`.

    Attributes:
        address: Its path, or its address for fsspec.
    """

    address: str

    @classmethod
    def at(cls, address: "str | Path | SharedFolder") -> "SharedFolder":
        """Return the folder of this address; a path is made absolute, as steps run elsewhere."""
        if isinstance(address, SharedFolder):
            return address
        text = str(address)
        return cls(text if "://" in text else str(Path(text).expanduser().resolve()))

    @property
    def mounted(self) -> bool:
        """Whether it is a folder of this machine's file system."""
        return "://" not in self.address

    @property
    def here(self) -> Path:
        """Where this machine makes what belongs into it."""
        if self.mounted:
            return Path(self.address)
        return rebase_home() / "scale" / hashlib.sha256(self.address.encode()).hexdigest()[:24]

    def read(self, name: str) -> bytes | None:
        """Return a file's content; None where there is no such file."""
        try:
            if self.mounted:
                return (self.here / name).read_bytes()
            system, root = self._remote()
            content: bytes = system.cat_file(f"{root}/{name}")
        except FileNotFoundError:
            return None
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write a small file, whole or not at all."""
        if self.mounted:
            (self.here / name).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(self.here / name, content)
        else:
            system, root = self._remote()
            system.pipe_file(f"{root}/{name}", content)

    def publish(self, names: Iterable[str]) -> None:
        """Put files that were made here into the folder."""
        if self.mounted:
            return
        system, root = self._remote()
        for name in names:
            system.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
            system.put_file(str(self.here / name), f"{root}/{name}")

    def fetch(self, name: str, size: int) -> Path:
        """Return where a file lies on this machine, fetched where it does not lie here in this size.

        Raises:
            RowIndexError: There is no such file.
        """
        path = self.here / name
        if self.mounted or (path.is_file() and path.stat().st_size == size):
            return path
        system, root = self._remote()
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.part")
        try:
            system.get_file(f"{root}/{name}", str(beside))
        except FileNotFoundError:
            raise RowIndexError(f"{self.address}/{name} is missing. Make it again.") from None
        beside.replace(path)
        return path

    def drop(self, name: str) -> None:
        """Remove a folder that was made or fetched here."""
        shutil.rmtree(self.here / name, ignore_errors=True)

    def _remote(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs

        system, root = url_to_fs(self.address)
        system.invalidate_cache()  # other machines write there
        return system, str(root).rstrip("/")
