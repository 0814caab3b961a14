"""Indexes on the Hub: pushed and opened by the real client; the loopback Hub keeps large files on another host."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from rebase_hf.errors import RowIndexError
from rebase_hf.index.durable import sha256_file
from rebase_hf.index.manifest import MANIFEST, read_manifest
from rebase_hf.index.row_index import RowIndex
from rebase_hf.index.sharing import MAX_FILE_BYTES, MAX_FILES, check_uploadable
from tests.doubles.hub_server import HubServer
from tests.doubles.hub_storage import HubStorage
from tests.index.conftest import write_source
from tests.index.hashing_encoder import HashingEncoder
from tests.index.hub_process import run

pytestmark = pytest.mark.slow

PUSH = 'print(json.dumps(RowIndex.open(folder + "/index", encoder=HashingEncoder()).push_to_hub("org/shop")))'
OPEN = 'show(RowIndex.open("org/shop", encoder=HashingEncoder()))'
TRY = """
def attempt(name, **options):
    try:
        return len(RowIndex.open(name, encoder=HashingEncoder(), **options))
    except RowIndexError as error:
        return str(error)
"""


@pytest.fixture
def storage():
    with HubStorage(part_bytes=500) as server:
        yield server


@pytest.fixture
def hub(storage):
    with HubServer(storage=storage) as server:
        yield server


@pytest.fixture
def shop(tmp_path, sources, encoder) -> RowIndex:
    """An index of two segments or more."""
    index = RowIndex.build(tmp_path / "index", sources, encoder=encoder, max_segment_texts=12)
    assert index.info()["segments"] >= 2
    return index


def names(index: Path) -> set[str]:
    return {name for name, _ in read_manifest(index).files()}


def files_of(hub: HubServer) -> dict[str, bytes]:
    return hub.repos["dataset", "org/shop"].files


def cached(home: Path) -> Path:
    """The folder of the cache that holds the index's newest commit."""
    return max((home / "hf/hub/datasets--org--shop/snapshots").iterdir(), key=lambda folder: folder.stat().st_mtime)


def contents(index: Path) -> set[str]:
    """The sha256 of the index's files that are there; some hold the same, which is fetched once."""
    return {sha256_file(index / name) for name in names(index) | {MANIFEST} if (index / name).is_file()}


def fetched(hub: HubServer, storage: HubStorage) -> set[str]:
    """The sha256 of the files whose content was asked for, of the Hub or, where it sent there, of the storage."""
    asked = {request.path.split("/")[-1] for request in storage.requests if request.method == "GET"}
    asked |= {
        request.path.partition("/resolve/")[2].partition("/")[2] for request in hub.requests if request.method == "GET"
    }
    head = hub.repos["dataset", "org/shop"].head
    return {blob.sha256 for name, blob in head.files.items() if name in asked or blob.sha256 in asked}


def test_an_index_goes_there_in_one_commit_and_comes_back(hub, storage, shop, tmp_path):
    address = run(hub, tmp_path, PUSH)
    commits = hub.commits("org/shop")
    assert [commit.title for commit in commits[1:]] == [f"Index {shop.fingerprint[:12]}: 7 rows"]
    assert address == f"{hub.url}/datasets/org/shop/commit/{commits[-1].sha}"
    assert set(files_of(hub)) == names(shop.path) | {MANIFEST, "README.md", ".gitattributes"}
    assert (shop.path / "addresses.json").is_file()  # and it stays here
    assert any(request.method == "POST" for request in storage.requests)  # the larger ones went in parts
    assert {request.token for request in storage.requests} == {None}

    manifest = read_manifest(shop.path)
    stray = {
        "notes.txt": "mine",
        f"{manifest.segments[0].rows.name}/more.bin": b"\0" * 9,
        "segment-0123456789ab/x": "x",
    }
    commit = hub.add_repo("org/shop", stray)
    hub.requests.clear()
    storage.requests.clear()
    opened = run(hub, tmp_path / "two", OPEN)
    assert opened["print"] == shop.fingerprint
    assert opened["rows"] == [[row.row, dict(row.cells)] for row in shop.rows(range(7))]
    assert Path(opened["path"]).name == commit
    asked = [request.path for request in hub.requests if "/resolve/" in request.path]
    assert asked[0].endswith(f"/resolve/main/{MANIFEST}")
    assert all(f"/resolve/{commit}/" in path for path in asked if not path.endswith(MANIFEST))
    assert fetched(hub, storage) == contents(shop.path)
    assert {request.token for request in storage.requests} == {None}

    hub.requests.clear()
    run(hub, tmp_path / "two", OPEN)
    assert [request.method for request in hub.requests] == ["HEAD"]  # of the manifest: all else is here


def test_a_second_push_sends_and_removes_only_what_has_changed(hub, storage, shop, tmp_path, encoder):
    run(hub, tmp_path, PUSH)
    assert run(hub, tmp_path, PUSH).endswith(hub.commits("org/shop")[-1].sha)
    assert len(hub.commits("org/shop")) == 2  # the Hub's own first one, and ours
    before = names(shop.path)
    letters = write_source(tmp_path / "bank" / "letters", [{"letter": f"Dear farmer number {n}"} for n in range(9)])
    added = shop.add(letters).remove("complaints")
    storage.requests.clear()
    hub.requests.clear()
    run(hub, tmp_path, PUSH)
    new = {about["sha256"] for name, about in read_manifest(added.path).files() if name not in before}
    assert set(storage.uploaded()) <= new
    assert len(storage.uploaded()) > 5
    assert set(files_of(hub)) == names(added.path) | {MANIFEST, "README.md", ".gitattributes"}
    asked = [request.body for request in hub.requests if "/preupload/" in request.path]
    kept = before & names(added.path)
    assert kept
    assert not any(name.encode() in body for name in kept for body in asked)  # not even asked about
    assert len(hub.commits("org/shop")) == 3
    assert len(run(hub, tmp_path / "two", OPEN)["rows"]) == len(added)
    first = f'show(RowIndex.open("org/shop", encoder=HashingEncoder(), revision="{hub.commits("org/shop")[1].sha}"))'
    assert run(hub, tmp_path / "two", first)["print"] == shop.fingerprint


def test_an_interrupted_push_leaves_nothing_half_done_and_sends_nothing_twice(hub, storage, shop, tmp_path):
    code = f"""
try:
    {PUSH}
except RowIndexError as error:
    print(json.dumps(str(error)))
"""
    hub.fail("POST", "/commit/main", 507, times=1)
    error = run(hub, tmp_path, code)
    assert error.startswith(f"Index {shop.path} could not be put into `org/shop`: ")
    assert "507" in error and "not sent twice" in error and "\n" not in error and hub.token not in error
    assert set(files_of(hub)) == {".gitattributes"}
    sent = set(storage.uploaded())
    assert len(sent) > 10
    storage.requests.clear()
    hub.fail("POST", "/commit/main", 412, times=1)
    assert "Somebody else committed meanwhile, and nothing was changed: push again." in run(hub, tmp_path, code)
    run(hub, tmp_path, PUSH)
    assert storage.uploaded() == []
    assert len(hub.commits("org/shop")) == 2


@pytest.mark.parametrize(("status", "code"), [(503, 4), (429, 4), (412, 4), (403, 2), (None, 4)])
def test_a_hub_that_gives_up_ends_the_command_otherwise_than_one_that_refuses(hub, shop, tmp_path, status, code):
    said = f"""
from rebase_hf.cli import exit_code
try:
    {PUSH}
except RowIndexError as error:
    print(json.dumps([exit_code(error), str(error)]))
"""
    if status is None:
        hub.url = "http://127.0.0.1:9"
    else:
        hub.fail("POST", "/commit/main", status, times=9)
    ended, error = run(hub, tmp_path, said)
    assert ended == code and (str(status) if status else "ConnectError") in error, error


def test_what_people_wrote_on_the_card_survives_a_push(hub, shop, tmp_path):
    run(hub, tmp_path, PUSH)
    card = files_of(hub)["README.md"].decode()
    assert card.startswith("---\nlicense:\n- cc-by-4.0\n- mit\nlanguage:\n- en\ntags:\n- rebase-hf\n- row-index\n")
    edited = card.replace("viewer: false", "pretty_name: The shop\nviewer: false").replace("- row-index", "- shops")
    edited = (
        edited.replace("\n---\n", "\n---\nRead me first.\n\n").replace("7 rows", "a million rows") + "\nMine too.\n"
    )
    hub.add_repo("org/shop", {"README.md": edited})
    run(hub, tmp_path, PUSH)
    after = files_of(hub)["README.md"].decode()
    assert "pretty_name: The shop\n" in after and "- shops\n" in after and "- row-index\n" in after
    assert "\n---\nRead me first.\n\n" in after and after.endswith("\nMine too.\n")
    assert "7 rows" in after and "a million rows" not in after
    assert run(hub, tmp_path, PUSH).endswith(hub.commits("org/shop")[-1].sha)
    assert len(hub.commits("org/shop")) == 4  # and what is merged is merged: the last push changed nothing


def test_a_private_index_is_not_pushed_into_a_public_repo(hub, shop, tmp_path):
    code = """
index = RowIndex.open(folder + "/index", encoder=HashingEncoder())
try:
    index.push_to_hub("org/open", private=True)
except RowIndexError as error:
    index.push_to_hub("org/closed", private=True)
    print(json.dumps(str(error)))
"""
    hub.add_repo("org/open", {"a.txt": "a"})
    assert "is there already, and public" in run(hub, tmp_path, code)
    assert hub.repos["dataset", "org/closed"].private
    assert set(hub.repos["dataset", "org/open"].files) == {".gitattributes", "a.txt"}


def test_a_partial_download_is_named_and_goes_on(hub, storage, shop, tmp_path):
    run(hub, tmp_path, PUSH)
    home = tmp_path / "two"
    hub.fail("GET", "/vectors.npy", 403, times=100)
    hub.fail("HEAD", "/vectors.npy", 403, times=100)
    error = run(hub, home, TRY + 'print(json.dumps(attempt("org/shop")))')
    assert error.startswith("Index `org/shop` at commit ")
    assert "vectors.npy" in error and "403" in error and "Open it again" in error and "\n" not in error
    code = TRY + 'print(json.dumps(attempt("org/shop")))'
    offline = run(hub, home, code, HF_HUB_OFFLINE="1")
    assert "not here in full" in offline and "segment-" in offline and "HF_HUB_OFFLINE" in offline
    there = contents(cached(home))
    hub.failures.clear()
    hub.requests.clear()
    storage.requests.clear()
    assert run(hub, home, code) == 7
    assert there < contents(shop.path)
    assert fetched(hub, storage) == contents(shop.path) - there
    hub.requests.clear()
    assert run(hub, home, code, HF_HUB_OFFLINE="1") == 7
    assert hub.requests == []


def test_a_damaged_cache_is_named_and_mended(hub, storage, shop, tmp_path):
    run(hub, tmp_path, PUSH)
    home = tmp_path / "two"
    code = TRY + 'print(json.dumps(attempt("org/shop")))'
    assert run(hub, home, code) == 7
    victim = next(cached(home).glob("segment-*/graph.usearch"))
    blob, whole = victim.resolve(), victim.read_bytes()

    blob.unlink()
    error = run(hub, home, code, HF_HUB_OFFLINE="1")
    assert "1 of " in error and f"the first {victim.relative_to(cached(home))}" in error
    assert run(hub, home, code) == 7

    blob.write_bytes(whole[:-5])
    assert "of another length" in run(hub, home, code, HF_HUB_OFFLINE="1")
    assert run(hub, home, code) == 7
    assert blob.read_bytes() == whole

    blob.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    error = run(hub, home, code)
    assert f"Index file {victim} is damaged" in error and f"Delete {blob} and fetch it again." in error
    blob.unlink()
    assert run(hub, home, code) == 7


def test_what_can_not_be_opened_says_why_in_one_line(hub, shop, tmp_path):
    run(hub, tmp_path, PUSH)
    hub.add_repo("org/rows", {"train.jsonl": '{"text": "a"}\n'})
    hub.add_repo("org/gated", {MANIFEST: "{}"}, gated="manual")
    hub.add_repo("org/secret", {MANIFEST: "{}"}, private=True)
    asked = {
        "none": ("org/none", {}),
        "no name": ("not a/valid id!", {}),
        "rows": ("org/rows", {}),
        "gated": ("org/gated", {}),
        "secret": ("org/secret", {"token": False}),
        "revision": ("org/shop", {"revision": "v9"}),
        "folder": (str(shop.path), {"revision": "main"}),
    }
    code = TRY + f"print(json.dumps({{name: attempt(at, **o) for name, (at, o) in {asked!r}.items()}}))"
    told = run(hub, tmp_path / "two", code)
    assert "neither a folder here nor a Hub dataset repo" in told["none"] and "no such repo" in told["none"]
    assert "that is no name of a repo" in told["no name"]
    assert "`org/rows` holds no index: it has no manifest.json" in told["rows"]
    assert "`org/gated` is gated" in told["gated"]
    assert "it is private and the token may not see it" in told["secret"]
    assert "`org/shop` has no revision `v9`" in told["revision"]
    assert "is a folder here, and has no revision `main`" in told["folder"]
    told["away"] = run(
        hub, tmp_path / "two", TRY + 'print(json.dumps(attempt("org/x")))', HF_ENDPOINT="http://[::1]:9"
    )
    assert "the Hub could not be reached" in told["away"]
    told["offline"] = run(hub, tmp_path / "two", TRY + 'print(json.dumps(attempt("org/x")))', HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE is set" in told["offline"]
    assert not [line for line in told.values() if "\n" in line or hub.token in line]


def test_a_private_index_is_opened_by_those_who_may(hub, shop, tmp_path):
    run(hub, tmp_path, PUSH.replace('"org/shop"', '"org/shop", private=True'))
    assert len(run(hub, tmp_path / "two", OPEN)["rows"]) == 7
    code = TRY + f'print(json.dumps([attempt("org/shop"), attempt("org/shop", token="{hub.read_token}")]))'
    refused, opened = run(hub, tmp_path / "three", code, token=None)
    assert "the token may not see it" in refused
    assert opened == 7


def test_branches_and_tags_are_opened_at_what_they_name(hub, shop, tmp_path):
    run(hub, tmp_path, PUSH)
    repo = hub.repos["dataset", "org/shop"]
    repo.tags["v1"] = repo.head.sha
    shop.remove("complaints")
    run(hub, tmp_path, PUSH)
    code = TRY + 'print(json.dumps([attempt("org/shop", revision="v1"), attempt("org/shop")]))'
    assert run(hub, tmp_path / "two", code) == [7, 3]
    assert run(hub, tmp_path / "two", code, HF_HUB_OFFLINE="1") == [7, 3]


def test_an_index_that_is_too_large_for_a_commit_is_refused_before_it_is_sent(shop):
    manifest = read_manifest(shop.path)
    part = manifest.catalog
    large = replace(part, files={"sources.json": {"size": MAX_FILE_BYTES + 1, "sha256": "0" * 64}})
    with pytest.raises(RowIndexError, match=r"sources.json has 5000000001 bytes, .*max_segment_texts"):
        check_uploadable(shop.path, replace(manifest, catalog=large))
    with pytest.raises(RowIndexError, match="files, and the Hub takes 25000 in one commit"):
        check_uploadable(shop.path, replace(manifest, segments=manifest.segments * (MAX_FILES // 16 + 1)))
    check_uploadable(shop.path, manifest)


def test_an_index_in_the_hubs_cache_can_be_copied_and_changed(hub, shop, tmp_path):
    run(hub, tmp_path, PUSH)
    run(hub, tmp_path / "two", OPEN)
    code = """
index = RowIndex.open("org/shop", encoder=HashingEncoder())
try:
    index.remove("complaints")
except RowIndexError as error:
    print(json.dumps(str(error)))
"""
    assert "which is not to be changed" in run(hub, tmp_path / "two", code)
    shutil.copytree(cached(tmp_path / "two"), tmp_path / "own")
    own = RowIndex.open(tmp_path / "own", encoder=HashingEncoder()).remove("complaints")
    assert len(own) == 3
    assert json.loads((tmp_path / "own" / MANIFEST).read_bytes())["counts"]["rows"] == 3
