"""The oldest and the newest `datasets` that pyproject.toml allows, each in an environment of its own."""

import os
import subprocess
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NEEDED = ["jinja2", "pyyaml", "rensa", "typer", "usearch", "pytest", "pytest-timeout", "outlines_core", "hypothesis"]
NEEDED += ["aiohttp", "filelock>=4.2", "trustme", "zstandard"]
# The tests that meet `datasets` and `huggingface_hub`; the data loader's needs torch and stays out.
TESTS = ["tests/test_builder.py", "tests/test_register.py", "tests/test_pipeline.py", "tests/teacher/test_endpoint.py"]
TESTS += ["tests/teacher/test_faults.py", "tests/teacher/test_hosted.py", "tests/teacher/test_proxies.py"]


@pytest.mark.versions
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "versions",
    [["datasets==4.0.0", "huggingface-hub<2"], ["datasets<6", "huggingface-hub<3"]],
    ids=["oldest", "newest"],
)
def test_load_dataset_works_with(versions, tmp_path):
    venv.create(tmp_path / "env", with_pip=True)
    python = str(tmp_path / "env/bin/python")
    subprocess.run([python, "-m", "pip", "install", "-q", *versions, *NEEDED], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", str(ROOT)], check=True)
    environment = {k: v for k, v in os.environ.items() if k not in ("HF_HOME", "REBASE_HOME")}
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-m", "not slow", *TESTS],
        cwd=ROOT, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
