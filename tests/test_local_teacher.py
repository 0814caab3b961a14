"""The whole command against a server that nobody here wrote: `transformers serve`, with a tiny random chat model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from rebase_hf import RowIndex
from tests.doubles.chat_model import make_chat_model
from tests.doubles.tiny_models import make_static_encoder

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_a_random_model_is_asked_journalled_quarantined_and_stopped(home, triage, tmp_path):
    model = make_chat_model(tmp_path / "model")
    rows = tmp_path / "notes.jsonl"
    texts = [f"Parcel {n} of order {n} came late and I want my money back." for n in ("one", "two", "three", "four")]
    rows.write_text("".join(json.dumps({"note": text}) + "\n" for text in texts))
    index = RowIndex.build(tmp_path / "index", [str(rows)], encoder=make_static_encoder(tmp_path), licenses="any")
    task = tmp_path / "task.yaml"
    task.write_text(yaml.safe_dump(triage))
    asked = [sys.executable, "-m", "rebase_hf", "generate", str(task), "--index", str(index.path)]
    asked += ["--teacher", f"local:{model}", "--num-examples", "3", "--max-tokens", "16", "--output"]

    def run(name):
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [*asked, str(tmp_path / name)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240
        )

    done = run("run")
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    report = json.loads((tmp_path / "run/report.json").read_text())
    assert report["examples"] == 0 and report["quarantined"] == report["outputs"] == report["asked"] > 0
    assert report["retrieved"] == report["asked"] + sum(report["dropped_before"].values())
    assert sum(report["quarantined_reasons"].values()) == report["quarantined"]
    assert report["requests"] >= report["outputs"]
    left = subprocess.run(["pgrep", "-f", str(model)], capture_output=True, text=True).stdout.split()
    assert left == []
    again = run("again")
    assert again.returncode == 3
    assert (tmp_path / "again/ledger.jsonl").read_bytes() == (tmp_path / "run/ledger.jsonl").read_bytes()
