"""Damages an index in many ways and tells what opening it says; run as a process, so that a crash is seen as one.

    python -m tests.index.corrupting INDEX ANOTHER_INDEX SEED COUNT

Prints a JSON list of [what was done, the files it was done to, the error or null, modules that should not have been
loaded], and last of all how many rows the index has when everything is restored.
"""

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

from rebase_hf.errors import RowIndexError
from rebase_hf.index.manifest import MANIFEST, read_manifest
from rebase_hf.index.row_index import RowIndex
from tests.index.hashing_encoder import HashingEncoder

Damage = Callable[["Damager"], list[Path]]


class Damager:
    """Changes files of an index, and puts them back."""

    def __init__(self, index: Path, other: Path, seed: int) -> None:
        self.index, self.other = index, other
        self.random = random.Random(seed)
        self.files = [index / MANIFEST, *(index / name for name, _ in read_manifest(index).files())]
        self.whole = {path: path.read_bytes() for path in self.files}

    def restore(self) -> None:
        for path, content in self.whole.items():
            if not path.is_file() or path.read_bytes() != content:
                path.write_bytes(content)

    def file(self) -> Path:
        """One that is not empty."""
        return self.random.choice([path for path in self.files if self.whole[path]])

    def put(self, path: Path, content: bytes) -> list[Path]:
        assert content != self.whole[path]
        path.write_bytes(content)
        return [path]

    def truncated(self) -> list[Path]:
        path = self.file()
        return self.put(path, self.whole[path][: self.random.randrange(len(self.whole[path]))])

    def bit_flipped(self) -> list[Path]:
        path = self.file()
        content = bytearray(self.whole[path])
        content[self.random.randrange(len(content))] ^= 1 << self.random.randrange(8)
        return self.put(path, bytes(content))

    def overwritten(self) -> list[Path]:
        path = self.file()
        content = bytearray(self.whole[path])
        start = self.random.randrange(len(content))
        stop = min(start + self.random.randint(1, 4096), len(content))
        content[start:stop] = bytes(byte ^ self.random.randint(1, 255) for byte in content[start:stop])
        return self.put(path, bytes(content))

    def extended(self) -> list[Path]:
        path = self.file()
        return self.put(path, self.whole[path] + self.random.randbytes(self.random.randint(1, 4096)))

    def emptied(self) -> list[Path]:
        return self.put(self.file(), b"")

    def deleted(self) -> list[Path]:
        path = self.file()
        path.unlink()
        return [path]

    def swapped(self) -> list[Path]:
        one, two = self.file(), self.file()
        while self.whole[one] == self.whole[two]:
            two = self.file()
        return [*self.put(one, self.whole[two]), *self.put(two, self.whole[one])]

    def swapped_between_segments(self) -> list[Path]:
        """Files of one name, each in the other's segment."""
        first, second, *_ = read_manifest(self.index).segments
        names = sorted(first.rows.files)
        pairs = [(self.index / first.rows.name / name, self.index / second.rows.name / name) for name in names]
        one, two = self.random.choice([pair for pair in pairs if self.whole[pair[0]] != self.whole[pair[1]]])
        return [*self.put(one, self.whole[two]), *self.put(two, self.whole[one])]

    def of_another_index(self) -> list[Path]:
        """A file of the same name of another index."""
        there = {path.name: path for path in sorted(self.other.rglob("*")) if path.is_file()}
        taken = [path for path in self.files if path.name in there]
        path = self.random.choice([path for path in taken if there[path.name].read_bytes() != self.whole[path]])
        return self.put(path, there[path.name].read_bytes())

    def manifest_of_another_index(self) -> list[Path]:
        return self.put(self.index / MANIFEST, (self.other / MANIFEST).read_bytes())

    def catalog_of_another_index(self) -> list[Path]:
        own, theirs = read_manifest(self.index).catalog, read_manifest(self.other).catalog
        done = [self.put(self.index / own.name / n, (self.other / theirs.name / n).read_bytes()) for n in own.files]
        return [path for paths in done for path in paths]


KINDS: tuple[Damage, ...] = (
    Damager.truncated,
    Damager.bit_flipped,
    Damager.overwritten,
    Damager.extended,
    Damager.emptied,
    Damager.deleted,
    Damager.swapped,
    Damager.swapped_between_segments,
    Damager.of_another_index,
    Damager.manifest_of_another_index,
    Damager.catalog_of_another_index,
)


def opened(index: Path) -> str | None:
    """Open an index and search it in every way it has; return what it is refused with."""
    try:
        found = RowIndex.open(index, encoder=HashingEncoder(), exact_below=0)
    except RowIndexError as error:
        return str(error)
    found.search("charged twice", k=3, mode="both" if found.info()["words"] else "dense")
    found.rows(range(len(found)))
    return None


def main(index: str, other: str, seed: str, count: str) -> None:
    damager = Damager(Path(index), Path(other), int(seed))
    told = []
    for number in range(int(count)):
        kind = KINDS[number % len(KINDS)]
        files = [str(path) for path in kind(damager)]
        error = opened(damager.index)
        loaded = sorted({"usearch", "usearch.index", "tantivy"} & set(sys.modules))
        told.append([kind.__name__, files, error, loaded])
        damager.restore()
    error = opened(damager.index)
    sys.stdout.write(json.dumps([*told, ["restored", [], error, []]]))


if __name__ == "__main__":
    main(*sys.argv[1:])
