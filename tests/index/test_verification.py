"""What is checked when an index is opened, what is remembered of it, and when that is not believed."""

import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from rebase_hf.errors import RowIndexError
from rebase_hf.index.manifest import describe_files, read_manifest
from rebase_hf.index.row_index import RowIndex
from rebase_hf.index.verification import check_files

SETTLED = 2.2  # seconds; what changed more recently is not remembered
counts_reads = pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts bytes as Linux tells them")


def bytes_read() -> int:
    """Return how many bytes this process has read so far by system calls, from disk or not."""
    told = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(told["rchar"])


def reading(work) -> int:
    before = bytes_read()
    work()
    return bytes_read() - before


def size_of(index: Path) -> int:
    return sum(about["size"] for _, about in read_manifest(index).files())


def memory(home: Path) -> Path:
    (found,) = (home / "verified").glob("*.json")
    return found


def flip(path: Path, *, keep_time: bool = False) -> None:
    """Change a byte; with `keep_time` so that only the inode's own time tells."""
    about, content = path.stat(), path.read_bytes()
    with path.open("r+b") as stream:
        stream.write(bytes([content[0] ^ 1]))
    if keep_time:
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


@pytest.fixture
def settled(home, index) -> RowIndex:
    """An index whose files have been there for a while, and were checked once since."""
    time.sleep(SETTLED)
    RowIndex.open(index.path)
    assert len(json.loads(memory(home).read_bytes())["files"]) == len(list(read_manifest(index.path).files()))
    return index


@pytest.fixture
def forged(home, settled) -> Path:
    """A file that was changed, and a memory that says that it was checked as it is now."""
    victim = next(settled.path.glob("segment-*/rows.bin"))
    flip(victim)
    held = json.loads(memory(home).read_bytes())
    about = victim.stat()
    name = str(victim.relative_to(settled.path))
    held["files"][name][:4] = [about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino]
    memory(home).write_text(json.dumps(held))
    return victim


@counts_reads
def test_a_second_opening_reads_no_file_again(home, large_index):
    time.sleep(SETTLED)
    first = reading(lambda: RowIndex.open(large_index.path))
    again = reading(lambda: RowIndex.open(large_index.path))  # lists, headers of arrays, the rows' dictionary
    assert first - again > 0.95 * size_of(large_index.path)
    assert again < size_of(large_index.path) / 5
    assert reading(RowIndex.open(large_index.path).verify) > size_of(large_index.path)


@counts_reads
def test_what_has_just_changed_is_not_remembered(home, index):
    assert reading(lambda: RowIndex.open(index.path)) > size_of(index.path)
    assert reading(lambda: RowIndex.open(index.path)) > size_of(index.path)
    victim = next(index.path.glob("segment-*/rows.bin"))
    whole = victim.read_bytes()
    time.sleep(SETTLED)
    victim.write_bytes(whole)
    RowIndex.open(index.path)
    remembered = json.loads(memory(home).read_bytes())["files"]
    assert set(dict(read_manifest(index.path).files())) - set(remembered) == {str(victim.relative_to(index.path))}


def test_a_file_that_changed_is_noticed(settled):
    for number, victim in enumerate(sorted(settled.path.glob("*-*/*"))):
        flip(victim, keep_time=number % 2 == 1)
        with pytest.raises(RowIndexError, match=f"{victim.name} is damaged: its sha256"):
            RowIndex.open(settled.path)
        flip(victim)
    RowIndex.open(settled.path).verify()


def test_a_file_in_anothers_place_is_noticed(settled):
    victim = next(settled.path.glob("segment-*/rows.bin"))
    other = victim.with_name("other")
    shutil.copy2(victim, other)  # the same size and times
    flip(other, keep_time=True)
    os.replace(other, victim)
    with pytest.raises(RowIndexError, match=r"rows.bin is damaged: its sha256"):
        RowIndex.open(settled.path)


def test_verify_believes_no_memory(forged, settled):
    opened = RowIndex.open(settled.path)  # the memory says that all is well: so the one below is put to the test
    with pytest.raises(RowIndexError, match=r"rows.bin is damaged: its sha256"):
        opened.verify()


def test_a_memory_that_others_can_write_is_not_believed(forged, settled, home):
    for mode in (0o620, 0o602):
        memory(home).chmod(mode)
        with pytest.raises(RowIndexError, match=r"rows.bin is damaged: its sha256"):
            RowIndex.open(settled.path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_a_memory_of_another_user_is_not_believed(forged, settled, home):
    os.chown(memory(home), 65534, 65534)
    with pytest.raises(RowIndexError, match=r"rows.bin is damaged: its sha256"):
        RowIndex.open(settled.path)


def test_a_memory_that_can_not_be_read_costs_reading_and_no_more(settled, home):
    victim = next(settled.path.glob("segment-*/rows.bin"))
    for content in (b"", b"garbage", b"[]", b'{"format": 1, "files": 3}', b'{"format": 9}', b"\xff"):
        memory(home).write_bytes(content)
        RowIndex.open(settled.path)
        flip(victim)
        with pytest.raises(RowIndexError, match=r"rows.bin is damaged: its sha256"):
            RowIndex.open(settled.path)
        flip(victim)


def test_nobody_else_can_write_what_is_remembered(settled, home):
    assert memory(home).stat().st_mode & 0o077 == 0
    assert [path.name for path in (home / "verified").iterdir()] == [memory(home).name]


def test_a_home_that_can_not_be_written_to_costs_reading_and_no_more(index, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REBASE_HOME", str(tmp_path / "file"))
    assert len(RowIndex.open(index.path)) == 7
    assert len(RowIndex.open(index.path)) == 7


@counts_reads
def test_an_index_that_was_moved_or_copied_is_read_again(settled, home, tmp_path):
    size = size_of(settled.path)
    again = reading(lambda: RowIndex.open(settled.path))
    copy = shutil.copytree(settled.path, tmp_path / "copy")
    settled.path.rename(tmp_path / "moved")
    assert reading(lambda: RowIndex.open(tmp_path / "moved")) > again + 0.9 * size
    copy.rename(settled.path)  # the same files in the same place, but not those that were checked
    assert reading(lambda: RowIndex.open(settled.path)) > again + 0.9 * size


@counts_reads
def test_links_to_blobs_are_remembered_by_what_they_lead_to(index, home, tmp_path):
    snapshot, blobs = tmp_path / "snapshot", tmp_path / "blobs"
    blobs.mkdir()
    for number, path in enumerate(sorted(path for path in index.path.rglob("*") if path.is_file())):
        link = snapshot / path.relative_to(index.path)
        link.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, blobs / str(number))
        link.symlink_to(blobs / str(number))
    time.sleep(SETTLED)
    first = reading(lambda: RowIndex.open(snapshot))
    assert first - reading(lambda: RowIndex.open(snapshot)) > 0.9 * size_of(index.path)
    victim = next(snapshot.glob("segment-*/rows.bin"))
    blob = victim.resolve()
    flip(blob)
    with pytest.raises(RowIndexError) as told:
        RowIndex.open(snapshot)
    assert f"Index file {victim} is damaged" in str(told.value)
    assert f"Delete {blob} and fetch it again." in str(told.value)
    flip(blob)
    other = blobs / "other"
    shutil.copy(blob, other)
    flip(other)
    victim.unlink()
    victim.symlink_to(other)
    with pytest.raises(RowIndexError, match="is damaged: its sha256"):
        RowIndex.open(snapshot)
    victim.unlink()
    victim.symlink_to(blobs / "nothing")
    with pytest.raises(RowIndexError, match=r"rows.bin is missing"):
        RowIndex.open(snapshot)


@counts_reads
def test_a_missing_or_short_file_is_named_before_any_is_read(large_index, home, tmp_path):
    copy = shutil.copytree(large_index.path, tmp_path / "copy")
    victim = next(copy.glob("segment-*/vectors.npy"))
    whole = victim.read_bytes()
    size = size_of(copy)

    def refused(found):
        with pytest.raises(RowIndexError, match=f"vectors.npy is {found}"):
            RowIndex.open(copy)

    victim.write_bytes(whole[:-1])
    assert reading(lambda: refused("damaged: .* bytes, the manifest says")) < size / 10
    victim.unlink()
    assert reading(lambda: refused("missing")) < size / 10
    victim.mkdir()
    refused("damaged|not to be read")


def test_what_is_no_longer_in_the_index_is_forgotten(settled, home):
    before = set(json.loads(memory(home).read_bytes())["files"])
    changed = settled.remove("complaints")
    time.sleep(SETTLED)
    RowIndex.open(changed.path)
    after = set(json.loads(memory(home).read_bytes())["files"])
    assert after == set(dict(read_manifest(changed.path).files()))
    assert before - after


@pytest.mark.slow
def test_an_index_of_very_many_files_is_remembered_too(settled, home):
    manifest = read_manifest(settled.path)
    folder = settled.path / manifest.catalog.name
    names = [f"{number:05}.idx" for number in range(20_000)]
    for name in names:
        (folder / name).write_text(name)
    part = replace(manifest.catalog, files={**manifest.catalog.files, **describe_files(folder, names)})
    many = replace(manifest, catalog=part)
    time.sleep(SETTLED)
    check_files(settled.path, many)
    began = time.process_time()
    check_files(settled.path, many)
    assert time.process_time() - began < 3
    assert len(json.loads(memory(home).read_bytes())["files"]) > 20_000
    flip(folder / names[-1])
    with pytest.raises(RowIndexError, match=f"{names[-1]} is damaged"):
        check_files(settled.path, many)
