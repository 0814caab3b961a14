import json
import os
import subprocess
import sys
import time
import venv
import zipfile
from pathlib import Path

import pytest

import rebase_hf

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "transformers", "setfit", "sentence_transformers", "sklearn")


def python(code, **options):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, **options).stdout


def test_importing_it_loads_nothing_heavy():
    loaded = json.loads(
        python(f"import rebase_hf, sys, json; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))")
    )
    assert loaded == []


@pytest.mark.slow
def test_importing_it_takes_less_than_a_second_and_a_half():
    python("import rebase_hf")
    took = []
    for _ in range(3):
        began = time.monotonic()
        python("import rebase_hf")
        took.append(time.monotonic() - began)
    assert min(took) < 1.5, took


def test_the_public_names_are_those_documented_and_all_resolve():
    assert set(rebase_hf.__all__) == {
        "RowIndex", "Task", "Teacher", "__version__", "generate", "load_dataset", "load_student", "push_dataset",
        "push_student", "train_student",
    }  # fmt: skip
    for name in rebase_hf.__all__:
        assert getattr(rebase_hf, name) is not None
    with pytest.raises(AttributeError, match="no attribute `nothing`"):
        _ = rebase_hf.nothing


@pytest.mark.slow
def test_the_bare_wheel_imports_and_stays_light(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        check=True, capture_output=True,
    )  # fmt: skip
    wheel = next(tmp_path.glob("*.whl"))
    names = zipfile.ZipFile(wheel).namelist()
    for needed in ("teacher/templates/transform.jinja", "publish/templates/dataset.md.jinja", "py.typed"):
        assert f"rebase_hf/{needed}" in names
    assert not [name for name in names if name.endswith(".pth") or name.startswith("tests")]
    venv.create(tmp_path / "env", with_pip=True)
    installed = tmp_path / "env/bin/python"
    constraints = ROOT / "constraints.txt"
    subprocess.run(
        [installed, "-m", "pip", "install", "-q", "-c", str(constraints), str(wheel)], check=True, capture_output=True
    )
    listed = json.loads(
        subprocess.run(
            [installed, "-m", "pip", "list", "--format", "json"], check=True, capture_output=True, text=True
        ).stdout
    )
    packages = [entry["name"] for entry in listed if entry["name"] not in ("pip", "setuptools")]
    # Most come with datasets; 8 with aiohttp, the teacher's connections.
    assert len(packages) <= 50, sorted(packages)
    assert not {"torch", "transformers", "setfit"} & set(packages)
    elsewhere = {"cwd": tmp_path, "env": os.environ | {"REBASE_HOME": str(tmp_path / "home")}}
    code = "import rebase_hf; from rebase_hf import RowIndex, Task, Teacher, generate, push_dataset, train_student"
    subprocess.run([installed, "-c", code], check=True, capture_output=True, **elsewhere)
    told = subprocess.run(
        [tmp_path / "env/bin/rebase-hf", "index", "build", "x", "--source", str(ROOT / "examples/bank/parcel_mail")],
        capture_output=True, text=True, **elsewhere,
    )  # fmt: skip
    assert told.returncode == 2
    assert 'pip install "rebase-hf[encoders]"' in told.stderr and "Traceback" not in told.stderr
