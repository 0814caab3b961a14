"""Many ranks against one machine. Steps are called as an executor calls them; executors have a file of their own."""

import inspect
import json
from dataclasses import asdict
from pathlib import Path

import pytest
from datasets import Dataset

from rebase_hf.errors import RowIndexError
from rebase_hf.index.distributed import BuildSettings, merge_step, plan_index, read_step, segment_step
from rebase_hf.index.distributed_folder import SharedFolder
from rebase_hf.index.distributed_parts import finished_part
from rebase_hf.index.distributed_plan import read_plan
from rebase_hf.index.encoders import PROBES
from rebase_hf.index.manifest import MANIFEST, read_manifest
from rebase_hf.index.row_index import RowIndex
from tests.doubles.hub_server import HubServer
from tests.index.conftest import COMPLAINTS, REVIEWS, write_source
from tests.index.hashing_encoder import HashingEncoder
from tests.index.hub_process import card, run

pytest.importorskip("datatrove")
SMALL = BuildSettings(max_segment_texts=90)


@pytest.fixture
def many(tmp_path) -> list[str]:
    """Seven sources that share texts, so that what one rank has encoded another meets again."""
    return [
        write_source(
            tmp_path / "bank" / f"letters{part}",
            [{"text": f"letter {(i + 9 * part) % 31} about geese", "note": f"note {i} of {part}"} for i in range(20)],
            about=f"Letters to the farmers of valley {part}.",
        )
        for part in range(7)
    ]


def read(shared: Path, tasks: int, encoder: HashingEncoder | None = None) -> None:
    for rank in range(tasks):
        read_step(shared, encoder=encoder or HashingEncoder()).run(None, rank, tasks)


def segments(shared: Path, tasks: int = 2) -> None:
    for rank in range(tasks):
        segment_step(shared).run(None, rank, tasks)


def build(shared: Path | str, index: Path, sources: list, tasks: int, **options) -> RowIndex:
    plan_index(shared, sources, tasks=tasks, encoder=HashingEncoder(), **options)
    read(shared, tasks)
    segments(shared)
    merge_step(shared, index).run(None, 0, 1)
    return RowIndex.open(index, encoder=HashingEncoder())


def encoded(log: Path) -> list[str]:
    return [text for text in log.read_text().splitlines() if text not in PROBES]


@pytest.mark.parametrize("tasks", [1, 3, 9])
def test_many_ranks_make_the_index_that_one_machine_makes(tmp_path, many, snapshot, tasks):
    one = RowIndex.build(tmp_path / "one", many, encoder=HashingEncoder(), max_segment_texts=90)
    index = build(tmp_path / "shared", tmp_path / "many", many, tasks, settings=SMALL)
    assert len(read_manifest(index.path).segments) == 4
    assert index.fingerprint == one.fingerprint
    assert snapshot(index.path) == snapshot(one.path)
    index.verify()
    query = "which note is about the geese of valley 3"
    assert index.search(query, k=20) == one.search(query, k=20)
    assert index.search(query, k=20, mode="both") == one.search(query, k=20, mode="both")


def test_what_is_left_out_is_recorded_as_by_one_machine(tmp_path, many, snapshot):
    numbers = write_source(tmp_path / "numbers", [{"a": 1, "b": "2.5"}, {"a": 2, "b": "17"}])
    secret = write_source(tmp_path / "secret", COMPLAINTS, license="cc-by-nc-4.0")
    given = [numbers, many[0], str(tmp_path / "nowhere"), many[1], secret, f"{many[0]}::train", many[0], *many[2:]]
    one = RowIndex.build(tmp_path / "one", given, encoder=HashingEncoder(), max_rows_per_source=7)
    settings = BuildSettings(max_rows_per_source=7)
    index = build(tmp_path / "shared", tmp_path / "many", given, 4, settings=settings)
    assert index.skipped == one.skipped
    assert [skip.reason for skip in index.skipped] == [
        "not_found", "license_not_allowed", "duplicate", "duplicate", "no_text_columns",
    ]  # fmt: skip
    assert snapshot(index.path) == snapshot(one.path)


def test_an_index_by_many_ranks_can_be_added_to_and_built_again(tmp_path, many):
    index = build(tmp_path / "shared", tmp_path / "many", many[:3], 2)
    written = (index.path / MANIFEST).stat().st_mtime_ns
    RowIndex.build(index.path, many[:3], encoder=HashingEncoder())
    assert (index.path / MANIFEST).stat().st_mtime_ns == written  # one machine sees that it is what it would make
    assert len(index.add(many[3:])) == 140


def test_a_rank_that_was_cut_off_encodes_nothing_twice(tmp_path, many):
    shared, log = tmp_path / "shared", tmp_path / "log"
    poison = write_source(tmp_path / "poison", [{"text": "A calm line"}, {"text": "The fatal line of a poem"}])

    class Faint(HashingEncoder):
        def encode(self, texts):
            if "The fatal line of a poem" in texts:
                raise MemoryError
            return super().encode(texts)

    plan_index(shared, [*many, poison], tasks=1, encoder=HashingEncoder())
    faint = Faint(log=log)
    faint.identity = plan_index(shared, [*many, poison], tasks=1, encoder=HashingEncoder()).encoder["identity"]
    with pytest.raises(MemoryError):
        read(shared, 1, faint)
    before = len(encoded(log))
    read(shared, 1, HashingEncoder(log=log))
    texts = encoded(log)
    assert before > 100
    assert sorted(texts[before:]) == ["A calm line", "Rows about poison, made for a test.", "The fatal line of a poem"]
    read(shared, 1, HashingEncoder(log=log))  # a rank that is through has nothing to do
    assert encoded(log) == texts


def test_ranks_that_are_not_through_are_named(tmp_path, many):
    shared = tmp_path / "shared"
    plan_index(shared, many, tasks=4, encoder=HashingEncoder())
    for rank in (0, 2):
        read_step(shared, encoder=HashingEncoder()).run(None, rank, 4)
    for step in (segment_step(shared), merge_step(shared, tmp_path / "index")):
        with pytest.raises(RowIndexError, match=r"^2 of 4 ranks have not read their sources yet: 1, 3 \("):
            step.run(None, 0, 1)
    read(shared, 4)
    segment_step(shared).run(None, 1, 2)
    with pytest.raises(RowIndexError, match=r"^1 of 1 segments are not made yet: segments/000000-"):
        merge_step(shared, tmp_path / "index").run(None, 0, 1)
    assert not (tmp_path / "index").exists()


def test_a_plan_without_settings_is_a_build_without_options():
    asked = inspect.signature(RowIndex.build).parameters
    for name, value in asdict(BuildSettings()).items():
        assert asked[name].default == value, name


def test_a_number_of_tasks_that_was_not_planned_is_refused(tmp_path, many):
    plan_index(tmp_path / "shared", many, tasks=4, encoder=HashingEncoder())
    with pytest.raises(RowIndexError, match="for 4 tasks, and 5 were started"):
        read_step(tmp_path / "shared", encoder=HashingEncoder()).run(None, 0, 5)
    with pytest.raises(RowIndexError, match="One task merges an index, and 2 were started"):
        merge_step(tmp_path / "shared", tmp_path / "index").run(None, 0, 2)


def test_an_encoder_that_was_not_planned_is_refused_with_both_names(tmp_path, many):
    plan_index(tmp_path / "shared", many, tasks=1, encoder=HashingEncoder())
    with pytest.raises(RowIndexError, match=r"`hashing` \(48 dimensions.*`other` \(32 dimensions"):
        read(tmp_path / "shared", 1, HashingEncoder(32, name="other"))


def test_the_plan_of_another_build_is_not_overwritten(tmp_path, many):
    plan = plan_index(tmp_path / "shared", many, tasks=4, encoder=HashingEncoder())
    assert plan_index(tmp_path / "shared", many, tasks=4, encoder=HashingEncoder()) == plan
    for changed in ({"tasks": 5}, {"settings": SMALL}, {"encoder": HashingEncoder(32)}):
        with pytest.raises(RowIndexError, match="holds the plan of another build"):
            plan_index(tmp_path / "shared", many, **{"tasks": 4, "encoder": HashingEncoder(), **changed})
    (tmp_path / "shared" / "plan.json").write_text("{")
    with pytest.raises(RowIndexError, match=r"plan\.json is damaged"):
        read(tmp_path / "shared", 4)
    with pytest.raises(RowIndexError, match="holds no plan.json"):
        read(tmp_path / "elsewhere", 4)


def test_what_no_rank_could_read_is_refused_when_it_is_planned(tmp_path, encoder):
    with pytest.raises(RowIndexError, match="`Dataset` is in this program only"):
        plan_index(tmp_path / "shared", [Dataset.from_list(REVIEWS)], tasks=1, encoder=encoder)
    with pytest.raises(RowIndexError, match=r"Nothing to build from: .*not_found"):
        plan_index(tmp_path / "shared", [str(tmp_path / "nowhere")], tasks=1, encoder=encoder)
    with pytest.raises(RowIndexError, match="`tasks` is 0; expected 1 or more"):
        plan_index(tmp_path / "shared", ["x"], tasks=0, encoder=encoder)
    assert not (tmp_path / "shared").exists()


@pytest.mark.parametrize("name", ["raw_rows.bin", "text_vectors.f16", "cell_texts.npy", "piece.json"])
def test_what_a_rank_wrote_is_checked_before_it_is_taken(tmp_path, many, name):
    shared = tmp_path / "shared"
    plan_index(shared, many, tasks=3, encoder=HashingEncoder())
    read(shared, 3)
    file = next((shared / "parts" / "00001-of-00003").glob(f"*/piece-*/{name}"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 16
    file.write_bytes(bytes(content))
    with pytest.raises(RowIndexError, match=rf"{name} is damaged.* Delete parts/00001-of-00003.*completions/00001 of"):
        segments(shared)
    file.unlink()
    with pytest.raises(RowIndexError, match=rf"{name} is missing"):
        segments(shared)


def test_a_damaged_segment_is_refused_and_taken_once_it_is_made_again(tmp_path, many, snapshot):
    shared = tmp_path / "shared"
    plan_index(shared, many, tasks=3, encoder=HashingEncoder(), settings=SMALL)
    read(shared, 3)
    segments(shared)
    file = next(shared.glob("segments/000002-*/segment-*/vectors.f16.npy"), None) or next(
        shared.glob("segments/000002-*/segment-*/rows.bin")
    )
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(RowIndexError, match=rf"{file.name} is damaged.* Delete .*segments/000002-.*completions/00000"):
        merge_step(shared, tmp_path / "many").run(None, 0, 1)
    assert not (tmp_path / "many").exists()
    (file.parents[1] / "made.json").unlink()
    segments(shared)
    merge_step(shared, tmp_path / "many").run(None, 0, 1)
    one = RowIndex.build(tmp_path / "one", many, encoder=HashingEncoder(), max_segment_texts=90)
    assert snapshot(tmp_path / "many") == snapshot(one.path)


def test_words_that_only_some_machines_have_indexed_are_refused(tmp_path, many):
    pytest.importorskip("tantivy")
    shared = tmp_path / "shared"
    plan_index(shared, many, tasks=3, encoder=HashingEncoder(), settings=SMALL)
    read(shared, 3)
    segments(shared)
    made = next(shared.glob("segments/000001-*/made.json"))
    made.write_text(json.dumps({**json.loads(made.read_text()), "words": None}))
    with pytest.raises(RowIndexError, match="1 of 4 segments have no words, and the others have: segments/000001-"):
        merge_step(shared, tmp_path / "many").run(None, 0, 1)


def test_merging_again_changes_nothing_and_what_ranks_had_read_is_gone(tmp_path, many):
    shared = tmp_path / "shared"
    index = build(shared, tmp_path / "many", many, 3)
    written = (index.path / MANIFEST).stat().st_mtime_ns
    assert not list(shared.rglob("*.f16"))
    read(shared, 3)
    segments(shared)
    merge_step(shared, tmp_path / "many").run(None, 0, 1)
    assert (index.path / MANIFEST).stat().st_mtime_ns == written


def test_a_folder_that_no_machine_mounts_serves_as_well(tmp_path, many, snapshot):
    one = RowIndex.build(tmp_path / "one", many, encoder=HashingEncoder(), max_segment_texts=90)
    index = build(f"memory://{tmp_path.name}/rows", tmp_path / "many", many, 3, settings=SMALL)
    assert snapshot(index.path) == snapshot(one.path)


def test_what_was_fetched_for_an_earlier_plan_is_fetched_again(tmp_path, many, home):
    address = f"memory://{tmp_path.name}/rows"
    plan_index(address, many, tasks=3, encoder=HashingEncoder())
    read(address, 3)
    stale = SharedFolder.at(address).here / "parts" / "00001-of-00003" / "descriptions.npy"
    about = finished_part(SharedFolder.at(address), read_plan(SharedFolder.at(address)), 1).files["descriptions.npy"]
    stale.parent.mkdir(parents=True)
    stale.write_bytes(bytes(about["size"]))
    segments(address)
    merge_step(address, tmp_path / "many").run(None, 0, 1)
    one = RowIndex.build(tmp_path / "one", many, encoder=HashingEncoder())
    assert RowIndex.open(tmp_path / "many").description_vectors.tolist() == one.description_vectors.tolist()


def test_a_rank_that_reaches_none_of_its_sources_is_not_through(tmp_path):
    with HubServer() as hub:
        for name in ("a", "b"):
            hub.add_repo(
                f"org/{name}", {"README.md": card("mit", "Letters."), "train.jsonl": '{"text": "Dear Ada"}\n'}
            )
        run(
            hub,
            tmp_path,
            STEPS + 'plan_index(folder + "/shared", ["org/a", "org/b"], tasks=1, encoder=E)\nprint("{}")',
        )
        code = """
opening.WAITS = (0.01,)
try:
    read_step(folder + "/shared", encoder=E).run(None, 0, 1)
except RowIndexError as error:
    print(json.dumps({"error": str(error)}))
"""
        told = run(hub, tmp_path, STEPS + code, HF_ENDPOINT="http://127.0.0.1:9")
    assert told["error"].startswith("Rank 0 reached none of its 2 sources from this machine")
    assert not list(tmp_path.rglob("part.json"))


STEPS = """
from rebase_hf.index.distributed import HubSearch, merge_step, plan_index, read_step, segment_step
E = HashingEncoder()
def steps(index):
    for rank in range(2):
        read_step(folder + "/shared", encoder=E).run(None, rank, 2)
    segment_step(folder + "/shared").run(None, 0, 1)
    merge_step(folder + "/shared", folder + index).run(None, 0, 1)
"""


@pytest.mark.slow
def test_hub_sources_are_read_at_the_commits_that_were_planned(tmp_path):
    def letters(what):
        return "".join(json.dumps({"letter": f"{what} number {i}"}) + "\n" for i in range(9))

    sources = 'sources = ["org/letters", HubSearch(["task_categories:other"], limit=5), "org/nowhere"]\n'
    tag = "task_categories:\n- other\n"
    with HubServer() as hub:
        old = hub.add_repo(
            "org/letters", {"README.md": card("mit", "Letters."), "train.jsonl": letters("Dear farmer")}
        )
        for name, license in (("notes", "mit"), ("secret", "cc-by-nc-4.0"), ("memos", "cc0-1.0")):
            files = {"README.md": card(license, f"Some {name}.", tag), "train.jsonl": letters(f"A {name} line")}
            hub.add_repo(f"org/{name}", files)
        one = run(hub, tmp_path, STEPS + sources + "build(sources)")
        run(
            hub, tmp_path, STEPS + sources + 'plan_index(folder + "/shared", sources, tasks=2, encoder=E)\nprint("{}")'
        )
        new = hub.add_repo("org/letters", {"train.jsonl": letters("Dear miller")})
        hub.add_repo("org/later", {"README.md": card("mit", "Later.", tag), "train.jsonl": letters("A later line")})
        code = 'steps("/many")\nindex = RowIndex.open(folder + "/many", encoder=E)\nshow(index)'
        many = run(hub, tmp_path, STEPS + code)
        assert {**many, "path": ""} == {**one, "path": ""}
        assert many["sources"][0]["revision"] == old
        assert len(many["sources"]) == 3
        code = 'show(RowIndex.open(folder + "/many", encoder=E).refresh("org/letters"))'
        refreshed = run(hub, tmp_path, STEPS + code)
    assert refreshed["sources"][0]["revision"] == new
    assert [cells["letter"] for _, cells in refreshed["rows"]][0] == "Dear miller number 0"
