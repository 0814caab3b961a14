import json
import subprocess
import sys

import pytest

from rebase_hf.errors import StudentError
from rebase_hf.students import load_student, train_student
from rebase_hf.students.saving import read_saved, saving
from tests.doubles.hub_server import HubServer
from tests.doubles.tiny_models import ROWS


@pytest.fixture
def folder(triage, tmp_path):
    with saving(tmp_path / "student", kind="setfit", task=triage, facts={"seed": 3, "base_model": "tiny"}):
        pass
    return tmp_path / "student"


def test_the_manifest_says_what_the_student_is(folder):
    manifest = json.loads((folder / "student.json").read_text())
    versions = manifest.pop("versions")
    assert manifest == {
        "format": 1,
        "kind": "setfit",
        "task": "triage",
        "base_model": "tiny",
        "base_model_sha256": None,
        "labels": ["billing", "shipping", "account"],
        "seed": 3,
        "files": ["task.yaml", "training.json"],
    }
    assert {"torch", "transformers", "setfit"} <= set(versions)


def test_the_saved_task_keeps_its_labels_and_leaves_local_paths_at_home(folder, triage, tmp_path):
    saved = read_saved(folder).task
    assert saved.labels == triage.labels
    assert saved.examples == triage.examples
    assert str(tmp_path) not in (folder / "task.yaml").read_text()


def test_any_other_folder_is_named_with_what_it_holds(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(StudentError, match=r"not a saved student; it holds notes\.txt"):
        load_student(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "is of format `2`; this version reads 1"),
        ({"kind": "oracle"}, "is of kind `oracle`; this version knows setfit, encoder, linear"),
    ],
)
def test_a_student_of_another_version_is_refused(folder, change, message):
    manifest = json.loads((folder / "student.json").read_text())
    (folder / "student.json").write_text(json.dumps({**manifest, **change}))
    with pytest.raises(StudentError, match=message):
        load_student(folder)


def test_a_broken_manifest_is_named(folder):
    (folder / "student.json").write_text("{")
    with pytest.raises(StudentError, match=r"student\.json is not JSON"):
        load_student(folder)


def test_a_missing_folder_is_not_looked_for_on_the_hub():
    with pytest.raises(StudentError, match=r"\./runs/none/student does not exist"):
        load_student("./runs/none/student")


def test_a_head_of_other_labels_is_refused(tiny_encoder, triage, tmp_path):
    train_student(triage, ROWS, base_model=tiny_encoder, output_dir=tmp_path / "s", max_pairs=16)
    task_file = tmp_path / "s" / "task.yaml"
    task_file.write_text(task_file.read_text().replace("account", "konto"))
    with pytest.raises(StudentError, match="knows the label `account`"):
        load_student(tmp_path / "s")


def test_a_student_without_its_head_is_refused(tiny_encoder, triage, tmp_path):
    train_student(triage, ROWS, base_model=tiny_encoder, output_dir=tmp_path / "s", max_pairs=16)
    (tmp_path / "s" / "head.safetensors").unlink()
    with pytest.raises(StudentError, match=r"lacks `head\.safetensors`"):
        load_student(tmp_path / "s")


def test_facts_count_rows_by_source_and_licence(tiny_encoder, triage):
    rows = [
        {**row, "provenance": {"dataset": f"org/d{n % 2}", "license": "mit"}, "sources": []}
        for n, row in enumerate(ROWS)
    ]
    facts = train_student(triage, rows, base_model=tiny_encoder, max_pairs=16).facts
    assert facts["sources"] == {"org/d0": 6, "org/d1": 6}
    assert facts["licenses"] == {"org/d0": "mit", "org/d1": "mit"}
    assert (facts["train_rows"], facts["examples"], facts["phrases"]) == (17, 2, 3)
    bare = train_student(triage, ROWS, base_model=tiny_encoder, max_pairs=16).facts
    assert (bare["train_rows"], bare["examples"], bare["sources"]) == (17, 2, {})
    assert facts["base_model"] == "tiny-encoder"
    assert len(facts["base_model_sha256"]) == 64


def test_nothing_saved_names_this_machines_folders(tiny_encoder, triage, tmp_path):
    train_student(triage, ROWS, base_model=tiny_encoder, output_dir=tmp_path / "s", max_pairs=16)
    for file in (tmp_path / "s").rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert str(tmp_path).encode() not in content, file
            assert tiny_encoder.encode() not in content, file


@pytest.mark.slow
def test_a_student_on_the_hub_is_loaded_without_its_pickle(tiny_encoder, triage, tmp_path):
    folder = tmp_path / "s"
    expected = train_student(triage, ROWS, base_model=tiny_encoder, output_dir=folder, max_pairs=16).predict(["hello"])
    files = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    home = tmp_path / "home"
    home.mkdir()
    code = (
        "import json; from rebase_hf import load_student; print(json.dumps(load_student('org/s').predict(['hello'])))"
    )
    with HubServer() as hub:
        hub.add_repo("org/s", {**files, "model_head.pkl": b"not to be fetched"}, repo_type="model")
        done = subprocess.run(
            [sys.executable, "-c", code], env=hub.env(home), cwd=home, capture_output=True, text=True
        )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == expected
    assert not list(home.rglob("*.pkl"))
