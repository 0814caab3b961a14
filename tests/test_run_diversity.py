import json

import pytest

from rebase_hf.pipeline import Run
from rebase_hf.plan import make_plan
from rebase_hf.run_report import run_report
from tests.doubles.task_answers import desk_answer
from tests.doubles.tgi_server import TGIServer


@pytest.fixture
def held(tmp_path):
    path = tmp_path / "held.jsonl"
    rows = [{"message": f"Where is my kettle number {n}, ordered in week {n}?", "desk": "parcels"} for n in range(30)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def report_of(task, index, num_examples):
    with TGIServer(answer=desk_answer) as server:
        run = Run(make_plan(task, index, server.url, num_examples=num_examples))
        list(run.execute())
        run.finish()
        return run, run_report(run, command="test", num_validation=0)


def test_a_run_reports_how_diverse_its_examples_are(home, triage, bank_index, held):
    run, report = report_of(triage | {"evaluation": {"path": str(held)}}, bank_index, 40)
    found = report["diversity"]
    assert (found["rows"], found["of"]) == (40, 40)
    assert found["sources"]["kinds"] == len(report["sources"]) > 1
    assert 0 < found["pairwise_similarity"] < 1
    assert found["evaluation"]["rows"] == 30 and 0 <= found["evaluation"]["mauve"] <= 1
    assert run_report(run, command="test", num_validation=0)["diversity"] == found


def test_few_examples_and_no_evaluation_set_leave_figures_out(home, triage, bank_index):
    assert report_of(triage, bank_index, 19)[1]["diversity"] is None
    found = report_of(triage, bank_index, 20)[1]["diversity"]
    assert found["evaluation"] is None and found["pairwise_similarity"] is not None


def test_an_evaluation_set_that_is_gone_is_told_and_costs_only_its_figures(home, triage, bank_index, held, caplog):
    run, _ = report_of(triage | {"evaluation": {"path": str(held)}}, bank_index, 25)
    again = Run(run.plan)
    run.plan.__dict__.pop("evaluation_rows", None)  # as in a process that has not read it yet
    held.unlink()
    found = run_report(again, command="test", num_validation=0)["diversity"]
    assert found["evaluation"] is None and found["self_bleu"]
    assert "does not compare with the evaluation texts" in caplog.text
