import json
import shutil
from pathlib import Path

import pytest

from rebase_hf.errors import RebaseError, TaskError
from rebase_hf.run_folder import prepare_run_folder, read_task
from rebase_hf.task import Task

TASK = """\
name: tone
instruction: Name the tone.
labels: [kind, rude]
examples: [{input: Thanks a lot!, output: kind}]
evaluation: {path: eval.jsonl}
train: {path: more/train.jsonl}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "more").mkdir(parents=True)
    (root / "task.yaml").write_text(TASK)
    for name in ("eval.jsonl", "more/train.jsonl"):
        (root / name).write_text(json.dumps({"input": f"Go away, {name}.", "output": "rude"}) + "\n")
    prepare_run_folder(root / "runs" / "tone", Task.load(root / "task.yaml"))
    return root


def test_a_run_folder_names_no_absolute_path_and_moves_with_its_project(project: Path, tmp_path: Path) -> None:
    assert str(tmp_path) not in (project / "runs" / "tone" / "task.yaml").read_text()
    before = Task.load(project / "runs" / "tone")
    assert before.fingerprint == Task.load(project / "task.yaml").fingerprint
    moved = tmp_path / "elsewhere" / "project"
    shutil.move(project, moved)
    task = Task.load(moved / "runs" / "tone")
    assert task.evaluation_rows()[0]["input"] == "Go away, eval.jsonl."
    assert task.fingerprint == before.fingerprint
    prepare_run_folder(moved / "runs" / "tone", task)


def test_a_run_folder_whose_rows_are_gone_is_read_without_them(project: Path) -> None:
    run = project / "runs" / "tone"
    (project / "eval.jsonl").unlink()
    task = read_task(run)
    assert task.evaluation is None and len(task.train_rows()) == 1
    with pytest.raises(TaskError, match="eval.jsonl, which does not exist"):
        Task.load(run)
    other = Task.load({"name": "other", "instruction": "Say.", "examples": [{"input": "a", "output": "b"}]})
    with pytest.raises(RebaseError, match="holds a run of task `tone`, not `other`"):
        prepare_run_folder(run, other)
