"""Changing an index while others do, with what should not go in, and after what was cut short."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict

from rebase_hf.errors import RowIndexError
from rebase_hf.index.manifest import MANIFEST
from rebase_hf.index.row_index import RowIndex
from tests.index.conftest import write_source
from tests.index.hashing_encoder import HashingEncoder
from tests.index.test_building import ROOT, encoded, start_build
from tests.index.test_segments import build, made_source, many  # noqa: F401  a fixture


def in_a_process(code, *arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


ADD = """
import sys
from rebase_hf.index.row_index import RowIndex
from tests.index.hashing_encoder import HashingEncoder
path, *sources = sys.argv[1:]
for source in sources:
    RowIndex.open(path, encoder=HashingEncoder()).add(source)
"""


@pytest.mark.slow
def test_writers_with_homes_of_their_own_take_turns(tmp_path, many):  # noqa: F811
    index = build(tmp_path / "index", many[:1])
    adding = [
        in_a_process(ADD, index.path, *many[first : first + 2], REBASE_HOME=str(tmp_path / f"home{first}"))
        for first in (1, 3)
    ]
    for process in adding:
        _, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
    after = RowIndex.open(index.path)
    after.verify()
    assert {source.dataset for source in after.sources} == {f"part{n}" for n in range(5)}


@pytest.mark.slow
def test_an_index_that_changes_all_the_time_can_be_opened(tmp_path, many):  # noqa: F811
    index = build(tmp_path / "index", many[:2])
    writer = in_a_process(
        "import sys\nfrom rebase_hf.index.row_index import RowIndex\n"
        "from tests.index.hashing_encoder import HashingEncoder\n"
        "index = RowIndex.open(sys.argv[1], encoder=HashingEncoder())\n"
        "while True:\n    index = index.add(sys.argv[2])\n    index = index.remove('part5')\n",
        index.path,
        many[5],
    )
    try:
        sizes: list[int] = []
        until = time.monotonic() + 60
        while (len(set(sizes)) < 2 or len(sizes) < 200) and time.monotonic() < until:
            opened = RowIndex.open(index.path, encoder=HashingEncoder())
            sizes.append(len(opened))
            assert len(opened.rows(range(len(opened)))) == len(opened)
        assert writer.poll() is None
        assert len(set(sizes)) == 2  # it did change
    finally:
        writer.kill()
        writer.communicate()


def test_an_index_that_is_of_another_encoder_by_now_is_not_added_to(tmp_path, many):  # noqa: F811
    stale = build(tmp_path / "index", many[:2])
    shutil.rmtree(stale.path)
    fresh = RowIndex.build(tmp_path / "index", many[:2], encoder=HashingEncoder(32, name="other"))
    for change in (lambda: stale.add(many[2]), lambda: stale.refresh()):
        with pytest.raises(RowIndexError, match=r"built with encoder `other` \(32 .*this one is `hashing` \(48"):
            change()
    assert RowIndex.open(fresh.path).fingerprint == fresh.fingerprint


def test_data_without_an_address_is_added_beside_what_is_called_the_same(tmp_path):
    one = Dataset.from_list([{"text": f"a letter number {n}"} for n in range(30)])
    two = Dataset.from_list([{"text": f"a song number {n}"} for n in range(40)])
    options = {"encoder": HashingEncoder(), "licenses": "any"}
    index = RowIndex.build(tmp_path / "index", [one], **options).add(two)
    assert len(index) == 70
    assert index.add(one).fingerprint == index.fingerprint  # which it has
    assert index.fingerprint == RowIndex.build(tmp_path / "fresh", [one, two], **options).fingerprint
    with pytest.raises(RowIndexError, match=r"DatasetDict is several splits; give one, as `dataset\['train'\]`"):
        index.add(DatasetDict({"train": one}))


def test_files_of_one_name_in_two_folders_stay_two_sources(tmp_path):
    paths = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        paths.append(tmp_path / name / "rows.jsonl")
        paths[-1].write_text("".join(json.dumps({"text": f"{name} letter {n}"}) + "\n" for n in range(9)))
    options = {"encoder": HashingEncoder(), "licenses": "any"}
    index = RowIndex.build(tmp_path / "index", paths[0], **options)
    (index.path / "addresses.json").unlink()  # as of an index that came from elsewhere
    index = index.add(paths[1])
    assert len(index) == 18
    paths[1].write_text(json.dumps({"text": "b anew"}) + "\n")
    index = index.add(paths[1])
    assert [row.cells["text"] for row in index.rows([0, 9])] == ["a letter 0", "b anew"]
    assert len(index) == 10


def test_what_can_not_be_read_any_more_stays_as_it_was(tmp_path, many, caplog):  # noqa: F811
    data = tmp_path / "letters.parquet"
    Dataset.from_list([{"text": f"letter {n} " * 50} for n in range(2000)]).to_parquet(str(data), batch_size=500)
    options = {"encoder": HashingEncoder(), "licenses": "any"}
    index = RowIndex.build(tmp_path / "index", [str(data), *many[:2]], **options)
    content = bytearray(data.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    data.write_bytes(bytes(content))
    after = index.refresh()
    assert after.rows(range(len(after))) == index.rows(range(len(index)))
    assert [skip.reason for skip in after.skipped] == ["unreadable"]
    assert "What the index holds of" in caplog.text
    data.unlink()
    assert len(after.refresh()) == len(index)


def test_what_was_removed_is_gone_from_the_files_after_compaction(tmp_path, many):  # noqa: F811
    secret = write_source(tmp_path / "bank" / "secret", [{"text": "the wholly confidential letter"}])
    index = build(tmp_path / "index", [*many, secret]).remove("secret")
    assert index.info()["dead_rows"] == 1
    held = index._reader.segment(0).segment.rows
    assert any("confidential" in text for row in range(len(held)) for text in held.texts(row))
    index = index.compact()
    held = index._reader.segment(0).segment.rows
    assert not any("confidential" in text for row in range(len(held)) for text in held.texts(row))
    assert index.info()["dead_rows"] == 0
    assert index.compact().fingerprint == index.fingerprint == build(tmp_path / "fresh", many).fingerprint


def test_a_handle_that_travels_is_of_the_index_that_it_was(tmp_path, many):  # noqa: F811
    index = RowIndex.open(build(tmp_path / "index", many[:2]).path)
    handed = pickle.dumps(index)
    assert pickle.loads(handed).fingerprint == index.fingerprint  # noqa: S301  our own
    build(index.path, many[1:2])
    with pytest.raises(RowIndexError, match="has changed since it was handed to this process"):
        pickle.loads(handed)  # noqa: S301


def test_a_first_search_after_a_change_says_that_the_index_has_changed(tmp_path, many):  # noqa: F811
    index = build(tmp_path / "index", many[:2])
    graph = RowIndex.open(index.path, encoder=HashingEncoder(), exact_below=0)
    build(index.path, many[2:3])
    with pytest.raises(RowIndexError, match="has changed since it was opened"):
        graph.search("noun3", k=3)
    with pytest.raises(RowIndexError, match=r"has changed since it was opened \(words-.* is gone\)"):
        index.search("noun3", k=3, mode="lexical")


def test_what_a_killed_build_left_in_the_folder_is_no_obstacle(tmp_path, many):  # noqa: F811
    (tmp_path / "index").mkdir()
    for name in (f".{MANIFEST}.part", "addresses.json"):
        (tmp_path / "index" / name).write_text("{")
    assert len(build(tmp_path / "index", many[:1])) == 40


def test_what_a_killed_build_had_read_outlives_another_change(tmp_path, many):  # noqa: F811
    log = tmp_path / "log"
    index = build(tmp_path / "index", many[:2])
    last = write_source(tmp_path / "bank" / "poison", [{"text": "The fatal line of a poem"}])
    killed = start_build(index.path, [*many, last], log=log, kill_at="fatal line")
    assert killed.wait(60) == -signal.SIGKILL
    index.remove("part0")
    before = len(encoded(log))
    RowIndex.build(index.path, [*many, last], encoder=HashingEncoder(log=log))
    again = set(encoded(log)[before:])
    assert "The fatal line of a poem" in again
    first, rest = (build(tmp_path / name, part) for name, part in (("first", many[:1]), ("rest", many[2:])))
    texts = [{text for row in one.rows(range(len(one))) for text in row.cells.values()} for one in (first, rest)]
    assert len(texts[1] - texts[0]) > 50
    assert not (texts[1] - texts[0]) & again


def test_a_file_that_can_not_be_read_leaves_out_its_source_alone(tmp_path, many):  # noqa: F811
    if not Path("/proc/self/mem").exists():
        pytest.skip("needs a file that can be opened and not be read")
    broken = write_source(tmp_path / "bank" / "broken", [{"text": "a letter"}])
    (Path(broken) / "notes.bin").symlink_to("/proc/self/mem")
    index = build(tmp_path / "index", [broken, many[0]])
    assert [skip.reason for skip in index.skipped] == ["unreadable"]
    assert [source.dataset for source in index.sources] == ["part0"]


def test_an_index_of_a_later_release_is_not_replaced(tmp_path, many):  # noqa: F811
    index = build(tmp_path / "index", many[:1])
    manifest = json.loads((index.path / MANIFEST).read_text())
    (index.path / MANIFEST).write_text(json.dumps(manifest | {"version": 99}))
    with pytest.raises(RowIndexError, match="has format version 99; this release writes version 4"):
        build(index.path, many[:1])


def test_words_go_when_they_are_not_wanted_and_are_never_half_there(tmp_path, many):  # noqa: F811
    index = build(tmp_path / "index", many[:2])
    assert list(index.path.glob("words-*"))
    bare = build(index.path, many[:3], words=False)
    assert not list(index.path.glob("words-*"))
    assert not bare.info()["words"]
    bare = bare.add(many[3])
    with pytest.raises(RowIndexError, match="was built without its words"):
        bare.search("noun3", mode="lexical")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_many_sources_need_few_open_files(tmp_path):
    sources = [made_source(tmp_path / "bank", f"s{n}", 3) for n in range(300)]
    code = (
        "import resource, sys\nresource.setrlimit(resource.RLIMIT_NOFILE, (150, 900))\n"
        "from rebase_hf.index.row_index import RowIndex\n"
        "from tests.index.hashing_encoder import HashingEncoder\n"
        "index = RowIndex.build(sys.argv[1], sys.argv[2:], encoder=HashingEncoder())\n"
        "print(len(index), len(index.search('noun3', k=5)))\n"
    )
    process = in_a_process(code, tmp_path / "index", *sources)
    out, told = process.communicate(timeout=300)
    assert process.returncode == 0, told[-2000:]
    assert out.split() == ["900", "5"]
