"""The checks of the whole set, in run folders, on the command line and through `load_dataset`."""

import json
from collections import Counter

import pytest
from datasets import load_dataset
from typer.testing import CliRunner

from rebase_hf.errors import RebaseError, TaskError
from rebase_hf.finished_set import looks_at_whole_set
from rebase_hf.named_options import read_options
from rebase_hf.pipeline import Run
from rebase_hf.plan import make_plan
from rebase_hf.quality.check_options import CheckOptions
from rebase_hf.run_folder import prepare_run_folder, whole_set, write_dataset
from rebase_hf.run_report import check_identities, run_report
from tests.doubles.tgi_server import TGIServer
from tests.doubles.written_answers import write_as_asked

TASK = {
    "name": "mood",
    "instruction": "Name the mood of a message.",
    "inputs": ["message"],
    "output": "mood",
    "labels": {"glad": "a message that is happy", "cross": "a message that complains"},
    "examples": [
        {"message": "what a fine day it was", "mood": "glad"},
        {"message": "nobody answered my letters", "mood": "cross"},
    ],
}
UNEVEN = {"labels": ("glad=0.75",)}


def run_of(url, number=40, **checks):
    return Run(make_plan(TASK, None, url, method="fewgen", num_examples=number, options=UNEVEN, checks=checks))


@pytest.fixture
def server():
    with TGIServer(answer=write_as_asked) as serving:
        yield serving


def test_what_the_whole_set_refuses_is_in_the_ledger_and_in_no_file_of_data(home, server, tmp_path):
    run = run_of(server.url, balance=True)
    list(run.examples())
    whole = whole_set(run)
    prepare_run_folder(tmp_path / "run", run.plan.task)
    assert write_dataset(run, tmp_path / "run", whole=whole) == {"train": 20}
    report = run_report(run, command="", num_validation=0, whole=whole)
    check_identities(report)
    assert report["examples"] == 20 and report["dropped"]["label_surplus"] == 20
    assert report["labels"] == {"glad": 10, "cross": 10} and "20 stay after the checks" in report["statement"]
    ledger = [json.loads(line) for line in (tmp_path / "run" / "ledger.jsonl").read_text().splitlines()]
    left = [entry for entry in ledger if entry["reason"] == "label_surplus"]
    assert len(left) == 20 and all(entry["fields"]["mood"] == "glad" and entry["key"] for entry in left)
    data = load_dataset("parquet", data_files=str(tmp_path / "run" / "data" / "train.parquet"), split="train")
    assert not {entry["fields"]["message"] for entry in left} & set(data["message"])


def test_load_dataset_gives_the_same_rows(home, server):
    run = run_of(server.url, balance=True)
    list(run.examples())
    kept = whole_set(run).checked.kept
    asked = {"method": "fewgen", "num_examples": 40, "options": UNEVEN, "checks": {"balance": True}}
    loaded = load_dataset("rebase", task=TASK, teacher=server.url, split="train", **asked)
    assert loaded["message"][:] == [example.fields["message"] for example in kept]
    assert Counter(loaded["mood"]) == {0: 10, 1: 10}


def test_cartography_keeps_its_share_of_each_label(home, server, model_index):
    plan = make_plan(
        TASK,
        model_index,
        server.url,
        method="synthesizrr",
        num_examples=60,
        options={"similarity": (-1.0, 1.0), "context_tokens": (1, 400), "shot_kind": "none"},
        checks={"cartography": 0.5},
    )
    run = Run(plan)
    list(run.examples())
    whole = whole_set(run)
    labels = Counter(example.fields["mood"] for example in whole.checked.kept)
    assert whole.dropped["hard_to_learn"] == 30 and labels == {"glad": 15, "cross": 15}
    assert whole_set(run).kept == whole.kept


@pytest.mark.parametrize("check", [{"cartography": 0.5}, {"contradicted_odds": 3.0}])
def test_too_few_examples_are_not_mapped(home, server, caplog, check):
    run = run_of(server.url, number=8, **check)
    list(run.examples())
    assert len(whole_set(run).kept) == 8 and "too few to be mapped" in caplog.text


def test_the_command_line_takes_checks_by_name(home, server, tmp_path, monkeypatch):
    from rebase_hf.cli import app

    (tmp_path / "task.yaml").write_text(json.dumps(TASK))
    monkeypatch.chdir(tmp_path)
    asked = ["generate", "task.yaml", "--teacher", server.url, "--method", "fewgen", "--num-examples", "20"]
    asked += ["--option", "labels=glad=0.75", "--output", "run"]
    done = CliRunner().invoke(app, [*asked, "--check", "balance=true", "--check", "language=false"])
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["labels"] == {"glad": 5, "cross": 5} and report["dropped_from_whole"] == {"label_surplus": 10}
    assert report["checks"]["language"] is False
    for wrong, said in (("balanced=true", "has no option `balanced`"), ("cartography=most", "expected float")):
        done = CliRunner().invoke(app, [*asked, "--check", wrong])
        assert isinstance(done.exception, RebaseError) and said in str(done.exception)


def test_checks_are_read_from_texts():
    given = {"balance": "glad=0.4,cross=0.6", "evaluation_sets": "a.jsonl,org/b", "cartography": "0.83"}
    read = read_options(CheckOptions, given | {"length_factor": "none"}, "What is checked")
    assert read.balance == {"glad": 0.4, "cross": 0.6} and read.evaluation_sets == ("a.jsonl", "org/b")
    assert read.cartography == 0.83 and read.length_factor is None
    assert looks_at_whole_set(read) and not looks_at_whole_set(CheckOptions())
    with pytest.raises(TaskError, match="takes CheckOptions or a mapping, not list"):
        read_options(CheckOptions, [1], "What is checked")
