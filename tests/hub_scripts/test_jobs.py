"""The scripts for `hf jobs uv run`, each whole, against the doubles of Hub and teacher."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.doubles.hub_server import HubServer
from tests.doubles.tgi_server import TGIServer
from tests.doubles.written_answers import write_as_asked

ROOT = Path(__file__).parent.parent.parent
SCRIPTS = sorted((ROOT / "hub_scripts").glob("*.py"))
TASK = ROOT / "examples" / "support-triage" / "task.yaml"
Job = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def job(hub: HubServer, tmp_path: Path) -> Job:
    """Run a script as a job does: a process of its own, which sees the Hub through its environment."""

    def run(name: str, *arguments: object, token: str | None = HubServer.token) -> subprocess.CompletedProcess[str]:
        env = hub.env(tmp_path / "home", token) | {"REBASE_HOME": str(tmp_path / "rebase")}
        command = [sys.executable, str(ROOT / "hub_scripts" / name), *map(str, arguments)]
        return subprocess.run(command, env=env, capture_output=True, text=True, cwd=tmp_path)

    return run


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_says_what_it_needs_and_helps_without_a_network(script: Path, tmp_path: Path) -> None:
    header = re.match(r"# /// script\n((?:# .*\n)+)# ///\n", script.read_text())
    assert header
    told = tomllib.loads(re.sub("^# ", "", header[1], flags=re.MULTILINE))
    assert told["requires-python"] == ">=3.11" and all(name.startswith("rebase-hf[") for name in told["dependencies"])
    nowhere = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    helped = subprocess.run([sys.executable, str(script), "--help"], env=nowhere, capture_output=True, text=True)
    assert helped.returncode == 0 and "hf jobs uv run" in helped.stdout and script.name in helped.stdout


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("build-index.py", ["org/index", "--source", "nowhere"]),
        ("generate-dataset.py", [str(TASK), "org/data", "--teacher", "http://127.0.0.1:9", "--method", "fewgen"]),
        ("train-student.py", ["org/data", "org/student"]),
    ],
)
def test_write_access_is_proved_before_anything_is_done(job: Job, name: str, arguments: list[str]) -> None:
    ended = job(name, *arguments, token=None)
    assert ended.returncode == 2 and "There is no Hugging Face token" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_index_dataset_and_student_from_job_to_job(hub: HubServer, job: Job) -> None:
    banks = [f"--source={ROOT / 'examples' / 'bank' / name}" for name in ("webshop_chats", "telecom_tickets")]
    built = job("build-index.py", "org/index", *banks)
    assert built.returncode == 0, built.stderr
    assert {"manifest.json", "README.md"} <= set(hub.commits("org/index")[-1].files)
    with TGIServer(answer=write_as_asked) as server:
        asked = ["--index", "org/index", "--teacher", server.url, "--method", "synthesizrr", "--num-examples", "12"]
        made = job(
            "generate-dataset.py", TASK, "org/data", *asked, "--option", "context_tokens=5,400", "--allow-fewer"
        )
    assert made.returncode == 0, made.stderr
    files = hub.commits("org/data")[-1].files
    assert {"data/train.parquet", "README.md", "report.json", "task.yaml"} <= set(files)
    trained = job(
        "train-student.py", "org/data", "org/student", "--task", TASK.parent / "task.yaml", "--max-pairs", 24
    )
    assert trained.returncode == 0, trained.stderr
    student = hub.repos["model", "org/student"].commits[-1].files
    assert {"README.md", "model.safetensors", "student.json"} <= set(student)
    assert b"org/data" in student["README.md"].content


def test_what_a_command_refuses_ends_the_job_with_its_exit_code(hub: HubServer, job: Job) -> None:
    ended = job("generate-dataset.py", TASK, "org/data", "--teacher", "http://127.0.0.1:9", "--method", "synthesizer")
    assert ended.returncode == 2 and "did you mean `synthesizrr`?" in ended.stderr
    assert ("dataset", "org/data") not in hub.repos
