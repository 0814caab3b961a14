import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from inspect import signature
from pathlib import Path

import pytest
import yaml
from datasets import load_dataset

from rebase_hf.cli import main, runs
from tests.doubles.task_answers import desk_answer, in_the_form_asked_for, shown_row
from tests.doubles.tgi_server import TGIServer, status

ROOT = Path(__file__).parent.parent


@pytest.fixture
def task_file(tmp_path, triage):
    path = tmp_path / "task.yaml"
    path.write_text(yaml.safe_dump(triage, sort_keys=False))
    return path


@pytest.fixture
def command(monkeypatch, capsys, home):
    """Run the command line in this process; return its exit code, output and errors."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["rebase-hf", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return ended.value.code, told.out, told.err

    return call


def generate(task, index, teacher, output, *options):
    return ("generate", task, "--index", index, "--teacher", teacher, "--output", output, *options)


def test_generate_writes_a_run_folder_that_load_dataset_reads(command, task_file, model_index, tmp_path):
    run = tmp_path / "run"
    with TGIServer(answer=desk_answer) as server:
        options = ("--num-examples", 20, "--num-validation", 5, "--teacher-license", "Apache-2.0")
        code, out, err = command(*generate(task_file, model_index, server.url, run, *options))
    assert code == 0, err
    assert "25 of 25 examples" in out
    report = json.loads((run / "report.json").read_text())
    assert report["retrieved"] == report["asked"] + sum(report["dropped_before"].values())
    assert report["outputs"] == report["examples"] + sum(report["dropped"].values()) + report["quarantined"]
    assert report["examples"] == 25 and report["requests"] == report["outputs"]
    assert sum(report["sources"].values()) == 25 and report["tokens"]["completion"] > 0
    assert report["splits"] == {"train": 20, "validation": 5}
    assert (report["teacher"]["license"], report["teacher"]["license_from"]) == ("apache-2.0", "flag")
    rows = load_dataset("parquet", data_files=str(run / "data/train.parquet"), split="train")
    assert rows.num_rows == 20 and rows.features["desk"].names == ["money", "parcels", "other"]
    ledger = [json.loads(line) for line in (run / "ledger.jsonl").read_text().splitlines()]
    lost = sum(report["dropped_before"].values()) + sum(report["dropped"].values()) + report["quarantined"]
    assert len(ledger) == lost
    assert len((run / "rows.jsonl").read_text().splitlines()) == 25
    del report["command"]
    assert str(tmp_path) not in json.dumps(report)
    assert report["index"]["encoder"]["name"] == "static-encoder"
    assert str(tmp_path) not in (run / "task.yaml").read_text() + (run / "rows.jsonl").read_text()


def test_the_same_command_again_asks_nothing_and_writes_the_same_bytes(command, task_file, model_index, tmp_path):
    with TGIServer(answer=desk_answer) as server:
        written = []
        for name in ("one", "two"):
            code, _, err = command(
                *generate(task_file, model_index, server.url, tmp_path / name, "--num-examples", 15)
            )
            assert code == 0, err
            written.append((tmp_path / name / "data/train.parquet").read_bytes())
        assert written[0] == written[1]
        assert max(server.calls.values()) == 1


def test_trace_tells_a_rows_whole_story_and_export_writes_chats(command, task_file, model_index, tmp_path):
    run = tmp_path / "run"
    with TGIServer(answer=desk_answer) as server:
        assert command(*generate(task_file, model_index, server.url, run, "--num-examples", 6))[0] == 0
        sent = [request["messages"][0]["content"] for request in server.chat_requests]
    code, out, _ = command("trace", run, 3)
    assert code == 0
    prompt = out.split("[user]\n")[1].split("\n\n# Answer")[0]
    assert prompt in sent
    assert json.loads((run / "rows.jsonl").read_text().splitlines()[3])["source"]["dataset"] in out
    assert command("trace", run, 99)[0] == 2
    code, out, _ = command("export", run, "--format", "prompt-completion")
    line = json.loads(Path(out.strip()).read_text().splitlines()[0])
    assert code == 0 and set(line) == {"prompt", "completion"} and line["completion"] in ("money", "parcels", "other")
    assert command("export", run, "--format", "xml")[0] == 2
    code, _, err = command("export", run, "--output", tmp_path)
    assert code == 2 and f"{tmp_path} is a folder; give a file to write, such as" in err and "Traceback" not in err


WRONG_TASKS = {
    "instrution: x": ("unknown key `instrution`; did you mean `instruction`?",),
    "labels: [money]": ("`labels` has only `money`",),
    "examples: []": ("`examples` holds 0; expected a list of 1 to 50",),
    "metric: bleu": ("metric `bleu` does not fit a classification task",),
    "evaluation: {path: nowhere.jsonl}": ("nowhere.jsonl, which does not exist",),
}


@pytest.mark.parametrize("change", WRONG_TASKS)
def test_a_wrong_task_file_is_one_line_and_exit_code_2(command, task_file, model_index, tmp_path, triage, change):
    task_file.write_text(yaml.safe_dump(triage | yaml.safe_load(change), sort_keys=False))
    code, out, err = command(*generate(task_file, model_index, "few-shot", tmp_path / "run"))
    assert code == 2 and out == ""
    assert len(err.strip().splitlines()) == 1 and err.startswith("Error: ")
    assert all(part in err for part in WRONG_TASKS[change])


def test_errors_name_the_value_and_what_to_do(command, task_file, model_index, tmp_path, triage, monkeypatch):
    output = tmp_path / "run"

    def told(*arguments):
        code, _, err = command(*arguments)
        assert "Traceback" not in err
        return code, err.strip().splitlines()[-1]

    bad = triage | {"examples": [{"message": "Hi", "desk": "sales"}]}
    task_file.write_text(yaml.safe_dump(bad, sort_keys=False))
    code, line = told(*generate(task_file, model_index, "few-shot", output))
    assert code == 2 and "label `sales` in example 1 is not one of money, parcels, other" in line
    task_file.write_text(yaml.safe_dump(triage | {"examples": [{"message": "Hi"}]}, sort_keys=False))
    code, line = told(*generate(task_file, model_index, "few-shot", output))
    assert code == 2 and "example 1 lacks `desk`" in line
    task_file.write_text(yaml.safe_dump(triage, sort_keys=False))
    code, line = told(*generate(task_file, tmp_path / "nothing", "few-shot", output))
    assert code == 2 and str(tmp_path / "nothing") in line
    code, line = told(*generate(task_file, model_index, "http://127.0.0.1:9", output))
    assert code == 4 and "http://127.0.0.1:9" in line
    code, line = told(*generate(task_file, model_index, "few-shot", output, "--give-up-after", "soon"))
    assert code == 2 and "`soon` is no duration" in line
    code, line = told(*generate(task_file, model_index, "few-shot", output, "--seed", -1))
    assert code == 2 and "seed is -1" in line
    with TGIServer(answer=desk_answer, api_key="right") as server:
        code, line = told(*generate(task_file, model_index, server.url, output))
        assert code == 2 and "401" in line and "--api-key-env" in line
        code, line = told(*generate(task_file, model_index, server.url, output, "--api-key-env", "NO_SUCH_KEY"))
        assert code == 2 and "NO_SUCH_KEY" in line
    with TGIServer(answer=desk_answer, kind="vllm") as server:
        code, line = told(*generate(task_file, model_index, server.url, output, "--model", "no/such-model"))
        assert code == 2 and "no/such-model" in line and "test/teacher" in line


def test_debug_shows_the_traceback(command, task_file, model_index, tmp_path, monkeypatch):
    monkeypatch.setattr(
        sys, "argv", ["rebase-hf", "generate", "none.yaml", "--index", "x", "--teacher", "few-shot", "--debug"]
    )
    from rebase_hf.errors import TaskError

    with pytest.raises(TaskError, match=r"none\.yaml"):
        main()


WRONG_OPTIONS = {
    ("--give-up-after", "soon"): "`soon` is no duration; write it as 90s, 10m or 1h",
    ("--give-up-after", "0s"): "give_up_after is 0.0; expected a number of seconds above zero",
    ("--timeout", "0"): "--timeout 0.0: expected",
    ("--timeout", "nan"): "--timeout nan: expected",
    ("--temperature", "-1"): "--temperature -1.0: expected",
    ("--allow-quarantined", "1.5"): "--allow-quarantined is 1.5; expected a share from 0 to 1",
    ("--allow-quarantined", "nan"): "--allow-quarantined is nan",
    ("--price", "-1", "2"): "--price (-1.0, 2.0): expected two numbers",
    ("--max-requests", "0"): "--max-requests 0: expected",
    ("--dialect", "klingon"): "--dialect 'klingon': expected one of tgi,",
    ("--max-cost", "1"): "--max-cost needs --price PROMPT COMPLETION to know what is spent.",
    ("--provider", "groq"): "--provider does nothing for `http://",
    ("--bill-to", "an-organisation"): "--bill-to does nothing for `http://",
    ("--pause-after",): "--pause-after does nothing for `http://",
    ("--method", "fewgen"): "and method `fewgen` retrieves nothing as it is asked for here. Leave the index out",
}


@pytest.mark.parametrize("options", WRONG_OPTIONS)
def test_an_option_out_of_range_is_one_line_and_exit_code_2(command, task_file, model_index, tmp_path, options):
    with TGIServer(answer=desk_answer) as server:
        code, out, err = command(*generate(task_file, model_index, server.url, tmp_path / "run", *options))
        assert code == 2 and out == "" and not server.chat_requests
    assert len(err.strip().splitlines()) == 1 and WRONG_OPTIONS[options] in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("words", [("--help",), ("generate", "--help"), ("doctor", "--help")])
def test_help_tells_of_debug(command, words):
    code, out, _ = command(*words)
    assert code == 0 and "--debug" in out


def test_a_bad_evaluation_set_is_told_at_once(command, task_file, model_index, tmp_path, triage):
    held = tmp_path / "held.jsonl"
    held.write_text('{"message": "Where is it?", "desk": "complaints"}\n')
    task_file.write_text(yaml.safe_dump(triage | {"evaluation": {"path": str(held)}}, sort_keys=False))
    with TGIServer(answer=desk_answer) as server:
        code, _, err = command(*generate(task_file, model_index, server.url, tmp_path / "run"))
        assert code == 2 and "complaints" in err and "Go on with" not in err and not server.chat_requests


def test_options_of_hosted_teachers_reach_the_teacher(command, task_file, model_index, tmp_path):
    options = ("--provider", "nobody", "--bill-to", "an-organisation")
    code, _, err = command(*generate(task_file, model_index, "some/model", tmp_path / "run", *options))
    assert code == 2 and "no token was found" in err


def test_a_dry_run_says_what_would_be_asked_and_pays_and_writes_nothing(command, task_file, model_index, tmp_path):
    run = tmp_path / "run"
    with TGIServer(answer=desk_answer) as server:
        asked = generate(task_file, model_index, server.url, run, "--num-examples", 20, "--price", 1, 2)
        code, out, err = command(*asked, "--dry-run", "--max-requests", 5)
        assert code == 0, err
        assert "For 20 of 20 examples, about 23 rows are asked about: 90% of answers pass" in out
        assert "23 requests to test/teacher" in out and "max_requests=5 would stop it after about 5 requests" in out
        assert not server.chat_requests and not run.exists()
        assert {path.name for path in (tmp_path / "home").iterdir()} <= {"endpoints.json", "verified"}
        assert command(*asked)[0] == 0
        code, out, _ = command(*asked, "--dry-run")
        assert code == 0 and "nothing would be asked of test/teacher" in out


def test_a_dry_run_announces_that_an_edit_is_paid(command, task_file, model_index, tmp_path, triage):
    with TGIServer(answer=desk_answer) as server:
        asked = generate(task_file, model_index, server.url, tmp_path / "run", "--num-examples", 20)
        assert command(*asked)[0] == 0
        labels = triage["labels"] | {"money": "payments, invoices and refunds"}
        task_file.write_text(yaml.safe_dump(triage | {"labels": labels}, sort_keys=False))
        code, out, _ = command(*asked, "--dry-run", "--price", 1, 2)
        assert code == 0 and "Only 0 of the first 20 questions are in the journal" in out and "paid again" in out


def test_what_failed_can_be_asked_again(command, task_file, model_index, tmp_path):
    run = tmp_path / "run"

    def failing(request, call):
        return status(422) if "parcel" in json.dumps(shown_row(request)) else desk_answer(request, call)

    def report():
        made = json.loads((run / "report.json").read_text())
        assert made["outputs"] == made["examples"] + sum(made["dropped"].values()) + made["quarantined"]
        assert made["retrieved"] == made["asked"] + sum(made["dropped_before"].values())
        return made

    with TGIServer(answer=failing) as server:
        asked = generate(task_file, model_index, server.url, run, "--num-examples", 30, "--allow-quarantined", 1)
        assert command(*asked)[0] == 0
        first = report()
        assert first["quarantined"] > 0 and first["retries"] == first["refused"] == 0
        server.answer = desk_answer
        sent = len(server.chat_requests)
        code, _, err = command(*asked, "--retry-failed")
        assert code == 0 and f"{first['quarantined']} failed outputs are asked again" in err
        again = server.chat_requests[sent:]
        assert 0 < len(again) <= first["quarantined"]
        assert all("parcel" in json.dumps(shown_row(request)) for request in again)
        assert report()["quarantined"] == 0 and report()["examples"] == 30
        assert command(*asked, "--retry-failed")[0] == 0 and len(server.chat_requests) == sent + len(again)


def test_what_failed_in_a_run_for_fewer_examples_can_be_asked_again_too(command, task_file, model_index, tmp_path):
    first = []

    def failing(request, call):
        prompt = request["messages"][0]["content"]
        first[:] = first or [prompt]
        return status(422) if prompt == first[0] else desk_answer(request, call)

    with TGIServer(answer=failing) as server:
        asked = partial(generate, task_file, model_index, server.url, tmp_path / "run", "--allow-quarantined", 1)
        assert command(*asked("--num-examples", 8))[0] == 0
        sent, server.answer = len(server.chat_requests), desk_answer
        code, _, err = command(*asked("--num-examples", 9, "--retry-failed"))
        assert code == 0 and "1 failed outputs are asked again." in err
        again = [request["messages"][0]["content"] for request in server.chat_requests[sent:]]
        assert again.count(first[0]) == 1 and len(again) <= 2  # that one, and what one example more takes
        assert json.loads((tmp_path / "run/report.json").read_text())["quarantined"] == 0


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_slip_in_a_retry_does_not_buy_a_whole_run(command, task_file, model_index, tmp_path, triage, dry):
    with TGIServer(answer=desk_answer) as server:
        asked = generate(task_file, model_index, server.url, tmp_path / "run", "--num-examples", 8)
        assert command(*asked)[0] == 0
        task_file.write_text(yaml.safe_dump({**triage, "instruction": "Which desk?"}, sort_keys=False))
        code, out, err = command(*asked, "--retry-failed", *dry)
        assert code == 2 and out == "" and len(err.strip().splitlines()) == 1 and len(server.chat_requests) == 8
        assert "never begun here" in err and "(by test/teacher, 8 examples, " in err and "Traceback" not in err


def test_run_takes_the_options_of_generate_and_those_of_training():
    asked, of_run = (signature(made).parameters for made in (runs.generate, runs.run))
    of_training = {"base_model", "seeds", "max_pairs", "student_kind", "student_option", "no_pickle"}
    assert set(of_run) - set(asked) == {*of_training, "push_to", "private"}
    for name, option in asked.items():
        assert (of_run[name].default, of_run[name].annotation) == (option.default, option.annotation), name


def test_fewer_than_asked_for_is_exit_code_3_unless_allowed(command, task_file, model_index, tmp_path):
    with TGIServer(answer=desk_answer) as server:
        asked = generate(task_file, model_index, server.url, tmp_path / "run", "--num-examples", 3000)
        code, out, err = command(*asked)
        assert code == 3 and "of 3,000 examples" in err and "--allow-fewer" in err
        assert command(*asked, "--allow-fewer")[0] == 0
    report = json.loads((tmp_path / "run/report.json").read_text())
    assert report["stopped"] == "candidates_ran_out" and 0 < report["examples"] < 3000


def test_a_budget_is_exit_code_3_and_the_run_can_go_on(command, task_file, model_index, tmp_path):
    with TGIServer(answer=desk_answer) as server:
        asked = generate(task_file, model_index, server.url, tmp_path / "run", "--num-examples", 30)
        code, out, err = command(*asked, "--max-requests", 10)
        assert code == 3 and "budget" in err
        assert json.loads((tmp_path / "run/report.json").read_text())["stopped"] == "budget_reached"
        assert command(*asked)[0] == 0 and max(server.calls.values()) == 1
    assert json.loads((tmp_path / "run/report.json").read_text())["examples"] == 30


def test_a_teacher_that_never_answers_the_task_is_exit_code_3_with_everything_in_the_ledger(
    command, task_file, model_index, tmp_path
):
    run = tmp_path / "run"
    with TGIServer(answer=lambda request, call: "hello there", enforce_schema=False) as server:
        code, _, err = command(*generate(task_file, model_index, server.url, run, "--num-examples", 5))
        asked = len(server.chat_requests)
    report = json.loads((run / "report.json").read_text())
    assert code == 3 and report["examples"] == 0
    assert report["quarantined"] == report["outputs"] == report["asked"] > 0
    assert report["quarantined_reasons"] == {"unparsable_answer": report["outputs"]}
    assert asked == 2 * report["outputs"] == report["requests"]
    ledger = [json.loads(line) for line in (run / "ledger.jsonl").read_text().splitlines()]
    assert sum(entry["outcome"] == "quarantined" for entry in ledger) == report["quarantined"]
    for verb in ("train", "export"):
        code, _, err = command(verb, run)
        assert code == 2 and "has no examples to" in err and "Traceback" not in err
    (run / "report.json").write_text("[]")
    code, _, err = command("train", run)
    assert code == 2 and "unexpected" in err and "--debug" in err and "Traceback" not in err


@pytest.mark.parametrize("name", ["date-finder", "headline"])
def test_other_kinds_of_task_become_datasets_too(command, model_index, tmp_path, name):
    with TGIServer(answer=in_the_form_asked_for) as server:
        asked = generate(ROOT / "examples" / name, model_index, server.url, tmp_path / "run", "--num-examples", 8)
        code, _, err = command(*asked)
    assert code == 0, err
    rows = load_dataset("parquet", data_files=str(tmp_path / "run/data/train.parquet"), split="train")
    assert rows.num_rows == 8 and ("rationale" in rows.features) == (name == "headline")


def test_an_output_folder_of_another_task_is_not_overwritten(command, task_file, model_index, tmp_path, triage):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/task.yaml").write_text(yaml.safe_dump(triage | {"name": "another"}, sort_keys=False))
    with TGIServer(answer=desk_answer) as server:
        code, _, err = command(*generate(task_file, model_index, server.url, tmp_path / "run"))
        assert code == 2 and "holds a run of task `another`" in err and not server.chat_requests


def test_a_folder_that_is_no_run_is_named(command, tmp_path):
    for verb in ("train", "report", "evaluate"):
        code, _, err = command(verb, tmp_path)
        assert code == 2 and str(tmp_path) in err, verb


def test_doctor_says_what_is_installed(command):
    code, out, _ = command("doctor")
    assert code == 0 and "rebase-hf" in out and "sentence_transformers" in out


@pytest.mark.slow
def test_a_run_that_another_process_leads_is_not_begun_anew(command, task_file, model_index, tmp_path):
    with TGIServer(answer=desk_answer, latency=0.5, max_concurrent_requests=8) as server:
        asked = generate(task_file, model_index, server.url, tmp_path / "run", "--num-examples", 60)
        start = [sys.executable, "-m", "rebase_hf", *map(str, asked)]
        with subprocess.Popen(start, cwd=ROOT, env=os.environ, stderr=subprocess.PIPE, text=True) as leading:
            deadline = time.monotonic() + 60
            while not server.chat_requests and time.monotonic() < deadline:
                time.sleep(0.02)
            code, _, err = command(*asked, "--retry-failed")
            assert code == 4 and f"is led by process {leading.pid} on " in err
            _, told = leading.communicate(timeout=120)
            assert leading.returncode == 0, told
        assert max(server.calls.values()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_says_how_to_go_on_and_loses_nothing(
    home, task_file, model_index, tmp_path, sent, expected
):
    with TGIServer(answer=desk_answer, latency=0.2, max_concurrent_requests=8) as server:
        asked = generate(task_file, model_index, server.url, tmp_path / "run", "--num-examples", 100)
        start = [sys.executable, "-m", "rebase_hf", *map(str, asked)]
        # Whoever runs the tests in the background has SIGINT ignored, and children inherit that.
        heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        running = subprocess.Popen(
            start, cwd=ROOT, env=os.environ, stderr=subprocess.PIPE, text=True, preexec_fn=heard
        )
        deadline = time.monotonic() + 60
        while len(server.chat_requests) < 20 and time.monotonic() < deadline:
            time.sleep(0.02)
        running.send_signal(sent)
        _, err = running.communicate(timeout=60)
        assert running.returncode == expected, err
        assert "of 100 examples. Go on with: rebase-hf generate" in err and "Traceback" not in err
        again = subprocess.run(start, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=120)
        assert again.returncode == 0, again.stderr
        assert max(server.calls.values()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_interrupt_ends_the_wait_and_says_how_to_go_on_as_well(
    home, task_file, model_index, tmp_path, sent, expected
):
    with TGIServer(answer=desk_answer, latency=30.0) as server:
        asked = generate(task_file, model_index, server.url, tmp_path / "run", "--num-examples", 100)
        heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        start = [sys.executable, "-m", "rebase_hf", *map(str, asked)]
        running = subprocess.Popen(
            start, cwd=ROOT, env=os.environ, stderr=subprocess.PIPE, text=True, preexec_fn=heard
        )
        deadline = time.monotonic() + 60
        while len(server.chat_requests) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        running.send_signal(sent)
        time.sleep(1.5)
        assert running.poll() is None  # it waits for what is in flight
        running.send_signal(sent)
        _, err = running.communicate(timeout=20)
    assert running.returncode == expected, err
    assert err.count("Stopped with 0 of 100 examples. Go on with: rebase-hf generate") == 1, err
    assert "Traceback" not in err


@pytest.mark.slow
def test_run_trains_a_student_compares_it_and_writes_cards_and_report(command, model_index, tmp_path, home):
    from tests.doubles.task_answers import about_the_row
    from tests.doubles.tiny_models import make_sentence_encoder

    tiny = make_sentence_encoder(tmp_path / "tiny")
    run = tmp_path / "run"

    teams = ("billing", "delivery", "returns", "technical", "account", "sales")
    with TGIServer(answer=about_the_row("team", teams)) as server:
        code, out, err = command(
            "run", ROOT / "examples/support-triage", "--index", model_index, "--teacher", server.url, "--output", run,
            "--num-examples", 40, "--base-model", tiny, "--seeds", 2, "--max-pairs", 32,
        )  # fmt: skip
    assert code == 0, err
    report = json.loads((run / "report.json").read_text())
    assert set(report["baselines"]) == {"majority", "few_examples", "examples_and_phrases"}
    assert len(report["comparison"]["per_seed"]["student"]) == 2 and report["evaluation"]["rows"] == 150
    assert f"{report['student']['accuracy']:.3f}" in out and "majority" in out
    assert (run / "report.html").is_file() and (run / "student/README.md").is_file()
    card = (run / "README.md").read_text()
    assert card.startswith("---") and "2407.05463" in card
    assert load_dataset(str(run), split="train").num_rows == 40
    code, out, _ = command("evaluate", run)
    assert code == 0 and f"{report['comparison']['per_seed']['student'][0]:.4f}" in out


@pytest.mark.slow
@pytest.mark.parametrize("name", ["date-finder", "headline"])
def test_run_trains_the_kind_of_student_that_the_task_asks_for(command, model_index, tmp_path, name):
    from tests.doubles.tiny_models import make_bert, make_t5

    tiny = make_bert(tmp_path / "bert") if name == "date-finder" else make_t5(tmp_path / "t5")
    run = tmp_path / "run"
    with TGIServer(answer=in_the_form_asked_for) as server:
        code, out, err = command(
            "run", ROOT / "examples" / name, "--index", model_index, "--teacher", server.url, "--output", run,
            "--num-examples", 12, "--base-model", tiny, "--max-pairs", 16,
        )  # fmt: skip
    assert code == 0, err
    report = json.loads((run / "report.json").read_text())
    metric = {"date-finder": "squad_f1", "headline": "rouge_l"}[name]
    assert 0.0 <= report["student"][metric] <= 1.0
    assert set(report["baselines"]) == {"majority", "few_examples"}
    assert (run / "student/README.md").is_file() and (run / "report.html").is_file()


@pytest.mark.slow
def test_train_takes_the_kind_that_is_named_and_leaves_the_pickle_out(command, model_index, tmp_path, home):
    from tests.doubles.task_answers import about_the_row
    from tests.doubles.tiny_models import make_sentence_encoder

    tiny, run = make_sentence_encoder(tmp_path / "tiny"), tmp_path / "run"
    teams = ("billing", "delivery", "returns", "technical", "account", "sales")
    asked = (ROOT / "examples/support-triage", model_index)
    with TGIServer(answer=about_the_row("team", teams)) as server:
        assert command(*generate(*asked, server.url, run, "--num-examples", 24))[0] == 0
    linear = ("train", run, "--base-model", tiny, "--student-kind", "linear")
    code, out, err = command(*linear, "--student-option", "C=10", "--no-pickle")
    assert code == 0, err
    assert "training pairs" not in out and not list((run / "student").glob("*.pkl"))
    assert json.loads((run / "student/training.json").read_text())["C"] == 10
    assert json.loads((run / "report.json").read_text())["comparison"]["kind"] == "linear"
    assert command(*linear)[0] == 0 and list((run / "student").glob("*.pkl"))
    code, out, err = command("train", run, "--base-model", tiny, "--student-kind", "encoder", "--max-pairs", 16)
    assert code == 0 and "16 training rows shown for each student" in out, err
    assert not list((run / "student").glob("*.pkl"))
    assert command("evaluate", run)[0] == 0
    for wrong, told in (("C", "expected NAME=VALUE"), ("seed=1", "no option `seed`"), ("D=1", "no option `D`")):
        code, _, err = command(*linear, "--student-option", wrong)
        assert code == 2 and told in err


def test_a_kind_that_can_not_do_the_task_is_told_before_anything_is_asked(command, model_index, tmp_path):
    with TGIServer(answer=desk_answer) as server:
        code, _, err = command(
            "run", ROOT / "examples/support-triage", "--index", model_index, "--teacher", server.url,
            "--output", tmp_path / "run", "--student-kind", "extractive",
        )  # fmt: skip
        assert code == 2 and "use one of setfit, encoder, linear, seq2seq, causal" in err
        assert not server.chat_requests


def test_a_base_model_that_can_not_be_had_is_told_before_anything_is_asked(command, model_index, tmp_path, triage):
    with TGIServer(answer=desk_answer) as server:
        code, _, err = command(
            "run", ROOT / "examples/support-triage", "--index", model_index, "--teacher", server.url,
            "--output", tmp_path / "run", "--base-model", "not/a/model",
        )  # fmt: skip
        assert code == 2 and "`not/a/model`" in err and "--base-model" in err
        assert not server.chat_requests


def test_another_run_into_the_same_folder_leaves_nothing_of_the_first(command, task_file, model_index, tmp_path):
    run = tmp_path / "run"
    with TGIServer(answer=desk_answer) as server:
        first = generate(task_file, model_index, server.url, run, "--num-examples", 8, "--num-validation", 3)
        assert command(*first)[0] == 0
        (run / "student").mkdir()
        assert command(*generate(task_file, model_index, server.url, run, "--num-examples", 9))[0] == 0
    assert not (run / "data/validation.parquet").exists()
    assert not (run / "student").exists()
    assert {name: split.num_rows for name, split in load_dataset(str(run)).items()} == {"train": 9}
