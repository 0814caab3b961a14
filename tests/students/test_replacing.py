"""Saving a student puts it in place of an earlier one, and of nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rebase_hf.errors import StudentError
from rebase_hf.students import load_student, train_student
from rebase_hf.students.saving import read_saved, saving
from tests.doubles.tiny_models import ROWS, make_static_encoder

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def static_encoder(tmp_path_factory):
    return make_static_encoder(tmp_path_factory.mktemp("static"))


@pytest.fixture
def small(triage, static_encoder):
    return train_student(triage, ROWS, kind="linear", base_model=static_encoder)


def names(folder):
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def write(folder, *files, task):
    with saving(folder, kind="setfit", task=task, facts={}) as path:
        for name in files:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_text(f"{name} of {files}")
    return folder


@pytest.mark.parametrize("name", ["task.yaml", "modules.json", "student.json", "tokenizer.json"])
def test_a_users_own_file_is_not_replaced(small, tmp_path, name):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / name).write_text("{}")
    with pytest.raises(StudentError, match=f"holds `{name}`.* which no student wrote"):
        small.save(tmp_path / "s")
    assert names(tmp_path / "s") == {name} and (tmp_path / "s" / name).read_text() == "{}"


def test_a_users_own_files_beside_it_stay(small, tmp_path):
    own = {"README.md", "notes.txt", "reranker/mine.txt", "1_Pooling/config.json", "vocab.txt", "config.json"}
    for name in own:
        (tmp_path / "s" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "s" / name).write_text("mine")
    small.save(tmp_path / "s")
    small.save(tmp_path / "s")
    assert {name for name in own if (tmp_path / "s" / name).read_text() == "mine"} == own


def test_where_it_can_not_be_saved_nothing_is_trained(triage, tmp_path):
    (tmp_path / "task.yaml").write_text(triage.to_yaml())
    with pytest.raises(StudentError, match=r"holds `task\.yaml`, which no student wrote"):
        train_student(triage, ROWS, kind="linear", base_model="/nowhere", output_dir=tmp_path)
    with pytest.raises(StudentError, match="is a file"):
        train_student(triage, ROWS, kind="linear", base_model="/nowhere", output_dir=tmp_path / "task.yaml")


def test_nothing_of_a_student_of_another_kind_is_left(small, triage, tiny_encoder, tiny_chat, tmp_path):
    folder = tmp_path / "s"
    train_student(triage, ROWS, kind="causal", base_model=tiny_chat, output_dir=folder, max_pairs=4)
    assert "chat_template.jinja" in names(folder)
    train_student(triage, ROWS, base_model=tiny_encoder, output_dir=folder, max_pairs=8)
    assert "1_Pooling/config.json" in names(folder) and "chat_template.jinja" not in names(folder)
    small.save(folder)
    assert names(folder) == names(small.save(tmp_path / "alone"))
    assert not (folder / "1_Pooling").exists()
    assert load_student(folder).predict(["hello"]) == small.predict(["hello"])


def test_an_earlier_student_stays_where_saving_another_fails(small, tmp_path):
    small.save(tmp_path / "s")
    before, said = names(tmp_path / "s"), small.predict(["hello"])
    small.head = None  # written after the body
    with pytest.raises(AttributeError):
        small.save(tmp_path / "s")
    assert names(tmp_path / "s") == before
    assert load_student(tmp_path / "s").predict(["hello"]) == said


KILLED = """
import os, sys
from pathlib import Path
from rebase_hf.students.saving import saving

moved, replace = [], Path.replace

def until_killed(self, target):
    if self.parent.name == "new" and not self.name.startswith("."):
        moved.append(target)
        if len(moved) > int(sys.argv[2]):
            os._exit(9)
    return replace(self, target)

Path.replace = until_killed
task = {"name": "t", "instruction": "Say.", "examples": [{"input": "a", "output": "b"}]}
from rebase_hf import Task
with saving(sys.argv[1], kind="setfit", task=Task.load(task), facts={}) as path:
    for name in ("b.json", "c.json"):
        (path / name).write_text("new")
"""


@pytest.mark.parametrize("after", [0, 2, 4])
def test_a_save_that_was_killed_half_way_is_made_good_by_saving_again(triage, tmp_path, after):
    folder = write(tmp_path / "s", "a.json", "b.json", task=triage)
    (folder / "mine.txt").write_text("mine")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(after)], env=environment)
    assert done.returncode == 9
    with pytest.raises(StudentError, match="was cut short: it is incomplete. Save it again"):
        load_student(folder)
    write(folder, "d.json", task=triage)
    assert names(folder) == {"d.json", "mine.txt", "student.json", "task.yaml", "training.json"}
    assert read_saved(folder).kind == "setfit"


def test_a_list_of_files_reaches_nothing_outside_the_folder(triage, tmp_path):
    folder = write(tmp_path / "s", "a.json", task=triage)
    outside = [tmp_path / "out.txt", tmp_path / "other" / "b.txt"]
    for file in outside:
        file.parent.mkdir(exist_ok=True)
        file.write_text("mine")
    (folder / "link").symlink_to(tmp_path / "other")
    manifest = json.loads((folder / "student.json").read_text())
    listed = ["../out.txt", str(outside[0]), "link/b.txt", 3, "", *manifest["files"]]
    (folder / "student.json").write_text(json.dumps(manifest | {"files": listed}))
    write(folder, "c.json", task=triage)
    assert all(file.read_text() == "mine" for file in outside)
    assert not (folder / "a.json").exists()


def test_a_student_from_before_files_were_listed_is_replaced(triage, tmp_path):
    folder = write(tmp_path / "s", "a.json", task=triage)
    manifest = json.loads((folder / "student.json").read_text())
    (folder / "student.json").write_text(json.dumps({k: v for k, v in manifest.items() if k != "files"}))
    write(folder, "a.json", "b.json", task=triage)
    assert "b.json" in (folder / "a.json").read_text()


def test_a_damaged_manifest_says_what_to_do(triage, tmp_path):
    folder = write(tmp_path / "s", "a.json", task=triage)
    (folder / "student.json").write_text("{")
    with pytest.raises(StudentError, match="give another folder, or delete this one"):
        write(folder, "a.json", task=triage)
