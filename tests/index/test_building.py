import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from rebase_hf.errors import RowIndexError
from rebase_hf.index.encoders import PROBES
from rebase_hf.index.manifest import MANIFEST, read_manifest
from rebase_hf.index.row_index import RowIndex
from tests.index.conftest import COMPLAINTS, REVIEWS, write_source
from tests.index.hashing_encoder import HashingEncoder

ROOT = Path(__file__).parents[2]
BUILD = """
import json, sys
from pathlib import Path
from rebase_hf.index.row_index import RowIndex
from tests.index.hashing_encoder import HashingEncoder
options, path, log, kill_at, *sources = sys.argv[1:]
RowIndex.build(path, sources, encoder=HashingEncoder(log=Path(log), kill_at=kill_at or None), **json.loads(options))
"""


def start_build(
    path: Path, sources: list[str], *, log: Path, kill_at: str = "", options: str = "{}"
) -> subprocess.Popen:
    command = [sys.executable, "-c", BUILD, options, str(path), str(log), kill_at, *sources]
    return subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    )


def encoded(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


def test_building_twice_gives_the_same_bytes(tmp_path, sources, snapshot):
    one = RowIndex.build(tmp_path / "one", sources, encoder=HashingEncoder())
    two = RowIndex.build(tmp_path / "two", sources, encoder=HashingEncoder())
    assert one.fingerprint == two.fingerprint
    assert snapshot(one.path) == snapshot(two.path)


def test_the_fingerprint_follows_rows_sources_and_encoder(tmp_path, sources):
    def fingerprint(name, given=sources, encoder=None, **options):
        return RowIndex.build(tmp_path / name, given, encoder=encoder or HashingEncoder(), **options).fingerprint

    base = fingerprint("base")
    assert fingerprint("seed", seed=7) == base  # the graph's order is no content while search is exact
    assert len({base, fingerprint("fewer", sources[:1]), fingerprint("order", sources[::-1])}) == 3
    assert fingerprint("encoder", encoder=HashingEncoder(32)) != base
    assert fingerprint("sampled", max_rows_per_source=2) != base
    assert fingerprint("graph", exact_below=0) != fingerprint("graph7", exact_below=0, seed=7)


def test_each_distinct_text_is_encoded_once(tmp_path, sources):
    log = tmp_path / "log"
    index = RowIndex.build(tmp_path / "index", sources, encoder=HashingEncoder(log=log))
    texts = [text for row in index.rows(range(len(index))) for text in row.cells.values()]
    assert texts.count("I was charged twice in May") == 2
    about = [source.description for source in index.sources]
    # The probes tell encoders without an identity of their own apart.
    assert sorted(text for text in encoded(log) if text not in PROBES) == sorted([*set(texts), *about])


def test_only_the_first_2000_characters_are_encoded_and_the_row_keeps_all(tmp_path):
    log, long = tmp_path / "log", "word " * 1000 + "end"
    path = write_source(tmp_path / "long", [{"text": long}, {"text": "word " * 1000 + "another end"}])
    index = RowIndex.build(tmp_path / "index", [path], encoder=HashingEncoder(log=log))
    assert index.rows([0])[0].cells["text"] == long
    assert max(map(len, encoded(log))) == 2000
    assert index.info()["vectors"] == 1


def test_a_finished_build_of_the_same_inputs_has_nothing_to_do(tmp_path, sources):
    log = tmp_path / "log"
    first = RowIndex.build(tmp_path / "index", sources, encoder=HashingEncoder())
    written = (first.path / MANIFEST).stat().st_mtime_ns
    again = RowIndex.build(tmp_path / "index", sources, encoder=HashingEncoder(log=log))
    assert again.fingerprint == first.fingerprint
    assert (first.path / MANIFEST).stat().st_mtime_ns == written
    assert set(encoded(log)) == set(PROBES)


def test_a_damaged_index_is_built_again(tmp_path, sources, encoder):
    index = RowIndex.build(tmp_path / "index", sources, encoder=encoder)
    blob = next(index.path.glob("segment-*/rows.bin"))
    blob.write_bytes(b"x" + blob.read_bytes()[1:])
    again = RowIndex.build(tmp_path / "index", sources, encoder=encoder)
    again.verify()
    assert again.fingerprint == index.fingerprint


def test_a_rebuild_replaces_the_old_generation(tmp_path, sources, encoder):
    old = RowIndex.build(tmp_path / "index", sources[:1], encoder=encoder)
    new = RowIndex.build(tmp_path / "index", sources, encoder=encoder)
    named = {part.name for part in read_manifest(new.path).parts}
    assert {entry.name for entry in new.path.iterdir()} == {*named, MANIFEST, "addresses.json"}
    assert not (tmp_path / "index.building").exists()
    assert (len(old), len(new)) == (4, 7)
    assert old.rows([3])[0].cells["id"] == "c-004"  # who has the old one open still reads it


def test_a_killed_build_goes_on_where_it_was(tmp_path, sources, snapshot):
    third = write_source(tmp_path / "bank" / "poison", [{"text": "The fatal line of a poem"}, {"text": "A calm line"}])
    log = tmp_path / "log"
    killed = start_build(tmp_path / "index", [*sources, third], log=log, kill_at="fatal line")
    assert killed.wait(60) == -signal.SIGKILL
    assert not (tmp_path / "index").exists()
    before = len(encoded(log))
    assert before > 15
    index = RowIndex.build(tmp_path / "index", [*sources, third], encoder=HashingEncoder(log=log))
    second = encoded(log)[before:]
    finished = {text for row in [*COMPLAINTS, *REVIEWS] for text in row.values() if isinstance(text, str)}
    assert {"The fatal line of a poem", "A calm line"} <= set(second)
    assert not finished & set(second)
    undisturbed = RowIndex.build(tmp_path / "other", [*sources, third], encoder=HashingEncoder())
    assert snapshot(index.path) == snapshot(undisturbed.path)


def test_a_build_killed_while_it_rebuilds_leaves_the_old_index_whole(tmp_path, sources):
    old = RowIndex.build(tmp_path / "index", sources[:1], encoder=HashingEncoder())
    killed = start_build(tmp_path / "index", sources, log=tmp_path / "log", kill_at="lighthouse")
    assert killed.wait(60) == -signal.SIGKILL
    assert RowIndex.open(tmp_path / "index", encoder=HashingEncoder()).fingerprint == old.fingerprint
    assert RowIndex.open(tmp_path / "index").rows([0])[0].cells["id"] == "c-001"


@pytest.mark.slow
@pytest.mark.parametrize("appears", ["*.building/*/source.json", "*.building/segment.part", "index/segment-*"])
def test_wherever_a_build_is_killed_an_index_is_whole_and_the_next_build_ends(tmp_path, appears):
    rows = [{"text": f"letter {i} about {i % 13} geese", "note": f"note {i}"} for i in range(3000)]
    few = [write_source(tmp_path / "few", rows[:40])]
    many = [*few, write_source(tmp_path / "many", rows)]
    old = RowIndex.build(tmp_path / "index", few, encoder=HashingEncoder())
    present = set(tmp_path.glob(appears))
    build = start_build(tmp_path / "index", many, log=tmp_path / "log")
    while build.poll() is None and not set(tmp_path.glob(appears)) - present:
        time.sleep(0.001)
    build.kill()
    build.wait()
    after = RowIndex.open(tmp_path / "index")
    after.verify()
    assert len(after) in (len(old), 1040)
    assert len(RowIndex.build(tmp_path / "index", many, encoder=HashingEncoder())) == 1040
    named = {part.name for part in read_manifest(tmp_path / "index").parts}
    assert {entry.name for entry in (tmp_path / "index").iterdir()} == {*named, MANIFEST, "addresses.json"}


def test_one_bad_source_does_not_stop_a_build(tmp_path, sources, encoder, caplog):
    bad = {
        write_source(tmp_path / "secret", COMPLAINTS, license="cc-by-nc-4.0"): "license_not_allowed",
        write_source(tmp_path / "mystery", COMPLAINTS, license=None): "unknown_license",
        write_source(tmp_path / "numbers", [{"a": 1, "b": "2.5"}, {"a": 2, "b": "17"}]): "no_text_columns",
        str(tmp_path / "nowhere"): "not_found",
        sources[0]: "duplicate",
    }
    with caplog.at_level(logging.WARNING, logger="rebase_hf"):
        index = RowIndex.build(tmp_path / "index", [*sources, *bad], encoder=encoder)
    assert [source.dataset for source in index.sources] == ["complaints", "film_reviews"]
    recorded = {"/".join(Path(source).parts[-2:]): reason for source, reason in bad.items()}
    assert {skip.source: skip.reason for skip in index.skipped} == recorded
    assert str(tmp_path) not in next(index.path.glob("catalog-*/sources.json")).read_text()
    assert len([record for record in caplog.records if "is left out" in record.message]) == len(bad)
    listing = json.loads(next(index.path.glob("catalog-*/sources.json")).read_text())
    assert {skip["source"]: skip["reason"] for skip in listing["skipped"]} == recorded
    assert RowIndex.open(index.path).skipped == index.skipped


def test_data_that_breaks_off_late_leaves_only_its_source_out(tmp_path, sources, encoder):
    broken = tmp_path / "broken.parquet"
    Dataset.from_list([{"text": f"letter {i} " * 50} for i in range(2000)]).to_parquet(str(broken), batch_size=500)
    content = bytearray(broken.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    broken.write_bytes(bytes(content))
    index = RowIndex.build(tmp_path / "index", [str(broken), *sources], encoder=encoder, licenses="any")
    assert [skip.reason for skip in index.skipped] == ["unreadable"]
    assert len(index) == 7


def test_a_value_that_python_can_not_hold_leaves_only_its_source_out(tmp_path, sources, encoder):
    late = tmp_path / "late.parquet"
    times = pa.array([10**17], pa.timestamp("ms"))  # some three million years from now
    pq.write_table(pa.table({"text": ["a letter"], "when": times}), late)
    index = RowIndex.build(tmp_path / "index", [str(late), *sources], encoder=encoder, licenses="any")
    assert [skip.reason for skip in index.skipped] == ["unreadable"]
    assert len(index) == 7


@pytest.mark.slow
def test_two_builds_at_once_do_the_work_once(tmp_path, sources):
    log = tmp_path / "log"
    builds = [start_build(tmp_path / "index", sources, log=log) for _ in range(2)]
    assert [build.wait(60) for build in builds] == [0, 0]
    texts = [text for text in encoded(log) if text not in PROBES]
    assert len(texts) == len(set(texts))
    RowIndex.open(tmp_path / "index").verify()


def test_what_stands_in_the_way_of_a_build_is_one_line(tmp_path, sources, encoder):
    (tmp_path / "index.building").write_text("in the way")
    with pytest.raises(RowIndexError, match="could not be written"):
        RowIndex.build(tmp_path / "index", sources, encoder=encoder)


def test_nothing_left_to_build_from_names_the_skips_and_the_flag(tmp_path, encoder):
    path = write_source(tmp_path / "mystery", COMPLAINTS, license=None)
    with pytest.raises(RowIndexError, match=r"mystery`: unknown_license .*`--license any`") as caught:
        RowIndex.build(tmp_path / "index", [path], encoder=encoder)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "index").exists()
    with pytest.raises(RowIndexError, match="No source was given"):
        RowIndex.build(tmp_path / "index", [], encoder=encoder)
    numbers = write_source(tmp_path / "numbers", [{"a": 1}, {"a": 2}])
    with pytest.raises(RowIndexError, match="no_text_columns"):
        RowIndex.build(tmp_path / "index", [numbers], encoder=encoder)
    assert not (tmp_path / "index.building").exists()


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path, sources, encoder):
    with pytest.raises(RowIndexError, match="holds `bank` and no index"):
        RowIndex.build(tmp_path, sources, encoder=encoder)


def test_settings_that_no_build_can_use_are_refused(tmp_path, sources, encoder):
    with pytest.raises(RowIndexError, match="`max_rows_per_source` is 0; expected 1 or more"):
        RowIndex.build(tmp_path / "index", sources, encoder=encoder, max_rows_per_source=0)


def test_an_encoder_that_breaks_its_promise_is_refused(tmp_path, sources):
    class Long(HashingEncoder):
        def encode(self, texts):
            return 2 * super().encode(texts)

    class Flat(HashingEncoder):
        def encode(self, texts):
            return super().encode(texts)[:, :5]

    with pytest.raises(RowIndexError, match="length 2 .*expected unit length"):
        RowIndex.build(tmp_path / "long", sources, encoder=Long())
    with pytest.raises(RowIndexError, match=r"shape \(\d+, 5\)"):
        RowIndex.build(tmp_path / "flat", sources, encoder=Flat())


def test_sampled_rows_keep_their_place_in_the_source(tmp_path, encoder):
    path = write_source(tmp_path / "rows", [{"text": f"letter number {i}"} for i in range(30)])
    index = RowIndex.build(tmp_path / "index", [path], encoder=encoder, max_rows_per_source=10)
    assert [row.row for row in index.rows(range(len(index)))] == list(range(0, 30, 3))
    assert (index.sources[0].rows, index.sources[0].total_rows) == (10, 30)


def test_a_language_that_the_encoder_does_not_know_is_warned_about(tmp_path, sources, caplog):
    class German(HashingEncoder):
        languages = ("de",)

    RowIndex.build(tmp_path / "index", sources, encoder=German())
    assert "2 sources are in `en`" in caplog.text
    assert "multilingual" in caplog.text


def test_columns_that_hold_hardly_anything_but_junk_are_flagged_whole(tmp_path, encoder):
    rows = [{"text": f"A letter about {i} geese", "code": "some words" if i == 0 else f"x_{i}"} for i in range(20)]
    path = write_source(tmp_path / "rows", rows)
    index = RowIndex.build(tmp_path / "index", [path], encoder=encoder)
    query = encoder.encode(["some words"])
    assert index.best_cells(query, np.array([0]))[1].tolist() == [[0]]
    assert index.best_cells(query, np.array([0]), junk=True)[1].tolist() == [[1]]


def test_a_leftover_generation_of_a_killed_build_is_cleared(tmp_path, sources, encoder):
    index = RowIndex.build(tmp_path / "index", sources, encoder=encoder)
    (index.path / "data-0123456789ab").mkdir()
    (index.path / "data-0123456789ab" / "rows.bin").write_bytes(b"left")
    RowIndex.build(tmp_path / "index", sources[:1], encoder=encoder)
    assert not (index.path / "data-0123456789ab").exists()
