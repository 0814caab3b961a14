import json
import subprocess
import sys
from pathlib import Path

import pytest

from rebase_hf.errors import TaskError
from rebase_hf.labelled_rows import RowsReference
from rebase_hf.quality.evaluation_sets import evaluation_set, read_evaluation_sets
from tests.doubles.hub_server import HubServer

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    ("address", "reference"),
    [
        ("squad", RowsReference(dataset="squad")),
        ("google/xquad:xquad.en", RowsReference(dataset="google/xquad", config="xquad.en")),
        (
            "google/xquad:xquad.en:validation",
            RowsReference(dataset="google/xquad", config="xquad.en", split="validation"),
        ),
        ("org/set::test", RowsReference(dataset="org/set", split="test")),
    ],
)
def test_a_hub_id_may_name_configuration_and_split(address, reference):
    assert evaluation_set(address) == reference


def test_what_is_here_is_a_path(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"text": "Where is it?"}\n')
    folder = str(tmp_path.resolve())
    assert evaluation_set(str(tmp_path / "rows.jsonl")) == RowsReference(path=f"{folder}/rows.jsonl")
    assert evaluation_set(f"{tmp_path}::test") == RowsReference(path=folder, split="test")


@pytest.mark.parametrize("address", ["missing.jsonl", "./missing", "/missing/folder"])
def test_a_path_that_leads_nowhere_is_named(address):
    with pytest.raises(TaskError, match=r"missing.* does not exist\. Correct the path"):
        evaluation_set(address)


@pytest.mark.parametrize("address", ["", " ", "a:b:c:d"])
def test_what_is_no_address_is_named(address):
    with pytest.raises(TaskError, match="is no address. Give the path"):
        evaluation_set(address)


def test_files_and_folders_are_read(tmp_path):
    (tmp_path / "rows.csv").write_text("text,kind\nWhere is it?,a question\n")
    (tmp_path / "set").mkdir()
    for split in ("train", "validation"):
        (tmp_path / "set" / f"{split}.jsonl").write_text(
            json.dumps({"text": split, "number": 3, "list": ["x"]}) + "\n"
        )
    own, first, trained = read_evaluation_sets(
        [str(tmp_path / "rows.csv"), str(tmp_path / "set"), f"{tmp_path / 'set'}::train"]
    )
    assert own == [{"text": "Where is it?", "kind": "a question"}]
    assert first == [{"text": "validation", "number": "3", "list": None}]
    assert trained[0]["text"] == "train"


def test_a_set_without_texts_is_refused(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"ids": [1, 2]}\n')
    with pytest.raises(TaskError, match="holds no texts"):
        read_evaluation_sets([str(tmp_path / "rows.jsonl")])


READ = """
import json
from rebase_hf.quality.evaluation_sets import read_evaluation_sets
print(json.dumps(read_evaluation_sets(["org/held", "org/held::train"])))
"""


def test_a_set_on_the_hub_is_read(tmp_path):
    with HubServer() as hub:
        rows = {name: json.dumps({"text": f"The rows of {name}."}).encode() for name in ("train", "test")}
        hub.add_repo("org/held", files={f"{name}.jsonl": row for name, row in rows.items()})
        env = hub.env(tmp_path) | {"PYTHONPATH": ":".join([str(ROOT), *sys.path])}
        told = subprocess.run([sys.executable, "-c", READ], env=env, capture_output=True, text=True, check=True).stdout
    assert json.loads(told) == [[{"text": "The rows of test."}], [{"text": "The rows of train."}]]
