import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rebase_hf import Task

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.slow
def test_the_python_block_runs(tmp_path, home):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (block,) = blocks("python")
    assert len([line for line in block.splitlines() if line.strip()]) <= 10
    done = subprocess.run(
        [sys.executable, "-c", block], cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    assert "'provenance'" in done.stdout
    assert "examples: all" not in done.stderr, "fewer examples than the block asks for"
    assert re.search(r"\['\w+', '\w+'\]", done.stdout.splitlines()[-1])


def test_the_task_block_is_a_task(tmp_path):
    (block,) = blocks("yaml")
    (tmp_path / "eval.jsonl").write_text('{"message": "x", "team": "billing"}\n')
    (tmp_path / "task.yaml").write_text(block)
    assert Task.load(tmp_path).kind == "classification"


def test_the_make_targets_named_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make ([\w-]+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_layout_names_only_what_exists():
    rows = re.findall(r"^\| (`[^|]+) \|", README.split("## Layout")[1], re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    assert len(names) > 12
    for name in names:
        assert (ROOT / name).exists() or (ROOT / "rebase_hf" / name).exists(), name


def test_the_figures_are_those_measured():
    subprocess.run([sys.executable, str(ROOT / "benchmarks/readme_figures.py"), "--check"], check=True)
    for page in ("teacher", "index"):
        subprocess.run([sys.executable, "-m", f"benchmarks.{page}_figures", "--check"], check=True, cwd=ROOT)
    subprocess.run([sys.executable, "-m", "benchmarks.evidence", "--check"], check=True, cwd=ROOT)


def test_nothing_tracked_names_this_machine():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in listed.stdout.split():
        path = ROOT / name
        if path.is_file() and path.suffix in (".py", ".md", ".toml", ".txt", ".yaml", ".json", ".jinja"):
            assert str(ROOT) + "/" not in path.read_text(encoding="utf-8"), name
