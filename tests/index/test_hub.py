"""Hub sources, through the real clients, against a loopback Hub; `test_sharing.py` has indexes on the Hub."""

import json

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from tests.doubles.hub_server import HubServer
from tests.index.hub_process import card, run


@pytest.fixture
def hub():
    with HubServer() as server:
        yield server


@pytest.fixture
def tone(tmp_path) -> bytes:
    features = Features(
        {"text": Value("string"), "label": ClassLabel(names=["kind", "rude"]), "width_id": Value("int64")}
    )
    rows = [{"text": f"A kind word, number {i}", "label": i % 2, "width_id": i % 2} for i in range(25)]
    Dataset.from_list(rows, features=features).to_parquet(str(tmp_path / "tone.parquet"))
    return (tmp_path / "tone.parquet").read_bytes()


def test_hub_sources_are_pinned_streamed_and_skipped_with_a_reason(hub, tmp_path, tone):
    known = "dataset_info:\n  splits:\n  - {name: train, num_bytes: 1, num_examples: 25}\n"
    sha = hub.add_repo(
        "org/tone",
        {"README.md": card("mit", "Words, kind and rude.", known), "data/train-00000-of-00001.parquet": tone},
    )
    letters = "".join(json.dumps({"letter": f"Dear farmer number {i}"}) + "\n" for i in range(30))
    hub.add_repo("org/letters", {"README.md": card("cc-by-4.0", "Letters to farmers."), "train.jsonl": letters})
    hub.add_repo("org/closed", {"README.md": card("mit", "Closed."), "train.jsonl": letters}, gated="manual")
    hub.add_repo("org/mystery", {"train.jsonl": letters})
    code = """
sources = ["org/tone", "org/letters:default:train", "org/closed", "org/mystery", "org/nowhere", "org/tone:other",
           "org/letters::dusk", "not a/valid id!", "org/tone@no-such-branch"]
show(RowIndex.build(folder + "/index", sources, encoder=HashingEncoder(), max_rows_per_source=10))
"""
    built = run(hub, tmp_path, code)
    first, second = built["sources"]
    assert (first["dataset"], first["revision"], first["license"]) == ("org/tone", sha, "mit")
    assert first["url"] == f"{hub.url}/datasets/org/tone"
    assert first["description"] == "Words, kind and rude."
    assert (first["rows"], first["total_rows"]) == (9, 25)
    assert built["rows"][1] == [3, {"text": "A kind word, number 3", "label": "rude", "width_id": "1"}]
    assert (second["dataset"], second["config"], second["split"]) == ("org/letters", "default", "train")
    assert (second["rows"], second["total_rows"]) == (10, 30)  # it does not say how long it is, and is short: counted
    assert built["rows"][10] == [3, {"letter": "Dear farmer number 3"}]
    assert {source: reason for source, (reason, _) in built["skipped"].items()} == {
        "org/closed": "gated",
        "org/mystery": "unknown_license",
        "org/nowhere": "not_found",
        "org/tone:other": "unreadable",
        "org/letters::dusk": "not_found",
        "not a/valid id!": "not_found",
        "org/tone@no-such-branch": "not_found",
    }


def test_an_older_revision_of_a_hub_source_can_be_named(hub, tmp_path):
    old = hub.add_repo(
        "org/letters", {"README.md": card("mit", "Letters."), "train.jsonl": '{"letter": "Dear Ada"}\n'}
    )
    new = hub.add_repo("org/letters", {"train.jsonl": '{"letter": "Dear Lin"}\n'})
    code = f"""
show(RowIndex.build(folder + "/index", ["org/letters@{old}", "org/letters"], encoder=HashingEncoder()))
"""
    built = run(hub, tmp_path, code)
    assert [source["revision"] for source in built["sources"]] == [old, new]
    assert [cells["letter"] for _, cells in built["rows"]] == ["Dear Ada", "Dear Lin"]


@pytest.mark.slow
def test_a_hub_that_can_not_be_reached_is_told_from_a_dataset_that_is_not_there(hub, tmp_path):
    code = """
try:
    RowIndex.build(folder + "/index", ["org/letters"], encoder=HashingEncoder())
except RowIndexError as error:
    print(json.dumps({"error": str(error)}))
"""
    error = run(hub, tmp_path, code, HF_ENDPOINT="http://127.0.0.1:9")["error"]
    assert "`org/letters`: unreachable" in error
    assert "\n" not in error


def test_a_hub_that_refuses_an_index_says_so_in_one_line(hub, tmp_path):
    hub.add_repo("org/letters", {"README.md": card("mit", "Letters."), "train.jsonl": '{"letter": "Dear Ada"}\n'})
    code = """
index = RowIndex.build(folder + "/index", ["org/letters"], encoder=HashingEncoder())
try:
    index.push_to_hub("stranger/letters-index")
except RowIndexError as error:
    print(json.dumps({"error": str(error)}))
"""
    error = run(hub, tmp_path, code)["error"]
    assert "could not be put into `stranger/letters-index`" in error
    assert hub.token not in error
