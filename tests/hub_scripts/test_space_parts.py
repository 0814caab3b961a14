"""What the Space does apart from its page: its form, visitors, runs, HTML and download. Needs no Gradio."""

import json
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from datasets import ClassLabel, load_dataset
from rebase_space import visits as visits_module
from rebase_space.download import write_zip
from rebase_space.finding import find_rows
from rebase_space.form import Form, form_of, read_number, read_task
from rebase_space.running import Progress, run_for
from rebase_space.settings import Settings, find_examples, open_index, sample_task
from rebase_space.shown import escaped, show_error, show_found, show_made, show_progress
from rebase_space.visits import Visit, Visits

from rebase_hf import Task, Teacher
from rebase_hf.errors import RebaseError, TaskError
from tests.conftest import EXAMPLES, ROOT
from tests.doubles.tgi_server import TGIServer
from tests.doubles.written_answers import write_as_asked

SPACE = ROOT / "hub_scripts" / "space"
FORM = Form(
    name="parcel or app",
    instruction="Say what a customer's message is about.",
    labels="delivery: a parcel\ntechnical: an app that does not work\n",
    examples="Where is my parcel? | delivery\n\nThe app | or the site | crashes.\ttechnical",
    inputs="message",
    output="team",
    num_examples=12,
)


def settings(**given: str) -> Settings:
    return Settings.from_environment(given)


def test_a_form_is_read_as_a_task() -> None:
    task = read_task(FORM)
    assert (task.name, task.inputs, task.output) == ("parcel-or-app", ("message",), "team")
    assert task.labels == {"delivery": "a parcel", "technical": "an app that does not work"}
    messages = [example["message"] for example in task.examples]
    assert messages == [
        "Where is my parcel?",
        "The app | or the site | crashes.",
    ]


def test_the_sample_comes_back_from_the_form_that_shows_it() -> None:
    examples = find_examples()
    assert examples == EXAMPLES
    task = sample_task(examples)
    read = read_task(form_of(task, 30))
    assert task.evaluation is None and read == replace(task, license=None)


def test_texts_with_bars_or_line_breaks_come_back_too() -> None:
    content = {"name": "t", "instruction": "i", "inputs": ["a", "b"], "output": "c"}
    task = Task.load(
        content | {"examples": [{"a": "x | y\nz", "b": "{", "c": "end"}, {"a": "{1", "b": "2", "c": "3"}]}
    )
    assert read_task(form_of(task, 10)) == task


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"examples": "Where is my parcel?"},
            "Example 1 has 1 of 2 parts: `Where is my parcel?`. Write it",
        ),
        ({"examples": "Where? | sales"}, "label `sales` in example 1 is not one of delivery, technical"),
        ({"examples": ""}, "`examples` holds 0"),
        ({"examples": '{"message": '}, "begins with a brace but is no JSON object"),
        ({"examples": "{" + '"a": [' + "[" * 1900}, "begins with a brace but is no JSON object"),
        ({"examples": '{"message": "\\ud800", "team": "delivery"}'}, "half of a character"),
        ({"instruction": " "}, "`instruction` is ' '; give it a text"),
        ({"instruction": "x" * 2001}, "The instruction has 2001 characters"),
        ({"instruction": "\ud800"}, "half of a character"),
        ({"labels": "a\na: twice"}, "Label `a` stands there twice"),
        ({"labels": "\n".join(map(str, range(31)))}, "has 31 labels"),
        ({"name": "../../etc"}, "`name` is `../../etc`"),
        ({"inputs": ","}, "names 0 input fields"),
        ({"inputs": "provenance"}, "reserved"),
    ],
)
def test_what_is_wrong_with_a_form_is_said_in_one_line(change: dict[str, str], said: str) -> None:
    with pytest.raises(TaskError, match=re.escape(said)) as caught:
        read_task(replace(FORM, **change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [9, 101, 20.5, float("nan"), float("inf"), None])
def test_so_many_examples_are_not_made(number: Any) -> None:
    with pytest.raises(TaskError, match="this Space makes 10 to 100"):
        read_number(replace(FORM, num_examples=number), 100)
    assert read_number(replace(FORM, num_examples=20.0), 100) == 20


def test_the_environment_decides_teacher_index_and_limits() -> None:
    held = settings(REBASE_TEACHER="org/model", REBASE_INDEX=" org/index ", REBASE_MAX_EXAMPLES="20")
    assert held.teacher == Teacher("org/model") and (held.index, held.max_examples) == ("org/index", 20)
    assert settings().is_free and not held.is_free
    for name, value in (("REBASE_TEACHER", "what"), ("REBASE_RUNS_AT_ONCE", "0"), ("REBASE_MAX_EXAMPLES", "9")):
        with pytest.raises(RebaseError, match=value):
            settings(**{name: value})
    with pytest.raises(RebaseError, match="REBASE_TEACHER: .*model"):
        settings(REBASE_TEACHER="org/model", REBASE_TEACHER_MODEL="other")


def test_a_space_without_index_and_bank_says_what_to_set() -> None:
    with pytest.raises(RebaseError, match="Set REBASE_INDEX"):
        open_index(settings(), None)


def test_rows_are_found_and_shown_with_source_licence_and_score(bank_index: Any) -> None:
    found = find_rows(read_task(FORM), bank_index, 12, limit=5)
    assert len(found.rows) == 5
    html = show_found(found)
    first = found.rows[0]
    for text in (first.source.dataset, str(first.source.license), f"score {first.score:.3f}"):
        assert text in html
    assert html.count("<li class='card'>") == 5


def test_nothing_that_is_shown_is_markup_or_a_template() -> None:
    hostile = "<img src=x onerror=alert(1)> ${1+1} {{value}} `x` & \"quoted\" 'too'"
    shown = escaped(hostile)
    assert not re.search(r"[<>\"'{}$`]", shown)
    error = show_error(RebaseError(f"Label `{hostile}`\nis in /home/me/space/index"))
    assert "<img" not in error and "/home/me" not in error and "\n" not in error


def test_seconds_are_not_read_out_each_time() -> None:
    waiting, making = show_progress(Progress(0, 12, 3.2), "a model learns."), show_progress(Progress(5, 12, 9.0), "")
    assert "a model learns." in waiting and 'aria-hidden="true">(3 s)' in waiting
    assert "5 of 12 examples" in making and 'max="12" value="5"' in making


def test_each_visitor_has_a_folder_that_goes_with_them(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").write_text("answers")
    visits = Visits(tmp_path)
    one, other = visits.of("../../one"), visits.of("other")
    assert one is visits.of("../../one") and one.folder != other.folder
    assert {one.folder.parent, other.folder.parent} == {visits.folder}
    (one.home / "journal.sqlite").write_text("a visitor's")
    assert (other.home / "journal.sqlite").read_text() == (tmp_path / "journal.sqlite").read_text() == "answers"
    other.process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], text=True)
    visits.leave("other")
    assert other.process.poll() is not None and not other.folder.exists() and one.folder.exists()
    visits.close()
    assert not visits.folder.exists()


def test_who_was_not_heard_of_for_an_hour_is_forgotten() -> None:
    visits = Visits()
    gone = visits.of("gone")
    gone.seen -= visits_module.IDLE_SECONDS + 1
    visits.of("new")
    assert not gone.folder.exists()
    visits.close()


@pytest.fixture
def visit(tmp_path: Path) -> Visit:
    return Visit(tmp_path / "visit")


def make(visit: Visit, index: Path, held: Settings, form: Form = FORM, number: int = 12) -> list[Progress]:
    return list(run_for(visit, read_task(form), number, index, held))


@pytest.mark.slow
def test_a_dataset_is_made_in_the_visitors_folder_and_downloaded(
    visit: Visit, model_index: Path, tmp_path: Path
) -> None:
    with TGIServer(answer=write_as_asked) as server:
        told = make(visit, model_index, settings(REBASE_TEACHER=server.url))
        asked = len(server.chat_requests)
        again = make(visit, model_index, settings(REBASE_TEACHER=server.url))
        assert len(server.chat_requests) == asked, "what was answered is not asked again"
    assert told[0].examples == 0 and told[-1].examples == again[-1].examples == 12
    assert (visit.home / "journal.sqlite").is_file() and visit.process is not None and visit.process.poll() is not None
    html = show_made(visit.run)
    assert "12 of 12 examples" in html and html.count("<h4>Retrieved row</h4>") == 12
    assert "Where the examples come from" in html and "Licence of the dataset" in html
    for format in ("parquet", "jsonl"):
        target = write_zip(visit.run, tmp_path / f"{format}.zip", format)
        assert target.read_bytes() == write_zip(visit.run, tmp_path / "again.zip", format).read_bytes()
        with zipfile.ZipFile(target) as archive:
            archive.extractall(tmp_path / format)
            said = b"".join(archive.read(name) for name in archive.namelist() if not name.endswith(".parquet"))
        assert str(tmp_path).encode() not in said and b"rebase-hf generate task.yaml" in said
        rows = load_dataset(str(tmp_path / format / "parcel-or-app"), split="train")
        assert len(rows) == 12 and {"message", "team", "provenance", "sources"} == set(rows.column_names)
        assert set(rows["team"]) <= ({0, 1} if format == "parquet" else {"delivery", "technical"})
        assert isinstance(rows.features["team"], ClassLabel) == (format == "parquet")


@pytest.mark.slow
def test_what_a_run_can_not_do_is_said_and_its_process_ends(visit: Visit, model_index: Path) -> None:
    with pytest.raises(RebaseError, match="few-shot teacher only labels rows"):
        make(visit, model_index, settings(), replace(FORM, labels=""))
    with TGIServer(latency=30.0) as server:
        held = settings(REBASE_TEACHER=server.url)
        with pytest.raises(RebaseError, match="ended after 1 s"):
            make(visit, model_index, replace(held, max_seconds=1.0))
        assert visit.process is not None and visit.process.poll() is not None
        threading.Timer(1.0, visit.stop).start()
        with pytest.raises(RebaseError, match="Stopped"):
            make(visit, model_index, held)


@pytest.mark.slow
def test_a_run_ends_with_the_app_that_started_it(tmp_path: Path, model_index: Path) -> None:
    with TGIServer(latency=60.0) as server:
        script = textwrap.dedent(
            f"""
            import json, os, sys
            from pathlib import Path
            from rebase_hf import Task
            from rebase_space.running import run_for
            from rebase_space.settings import Settings
            from rebase_space.visits import Visit
            held = Settings.from_environment({{"REBASE_TEACHER": "{server.url}"}})
            visit = Visit(Path(sys.argv[1]))
            run = run_for(visit, Task.load(json.loads(sys.argv[2])), 12, Path(sys.argv[3]), held)
            next(run), next(run)
            print(visit.process.pid, flush=True)
            os._exit(1)
            """
        )
        task = json.dumps(read_task(FORM).to_dict())
        path = os.pathsep.join((str(ROOT), str(SPACE)))
        command = [sys.executable, "-c", script, str(tmp_path / "visit"), task, str(model_index)]
        # Its own output goes to the worker as well: read from a file, which does not wait for that to end.
        with (tmp_path / "out").open("w") as out:
            subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, stdout=out)
        pid = int((tmp_path / "out").read_text())
        until = time.monotonic() + 20
        while _lives(pid) and time.monotonic() < until:
            time.sleep(0.1)
        assert not _lives(pid)


def _lives(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_the_hub_takes_the_spaces_front_matter_as_it_is() -> None:
    front = yaml.safe_load((SPACE / "README.md").read_text().split("---\n")[1])
    assert front["sdk"] == "gradio" and (SPACE / front["app_file"]).is_file()
    assert isinstance(front["python_version"], str) and isinstance(front["sdk_version"], str)
    assert len(front["short_description"]) <= 60 and front["license"] == "apache-2.0"
    assert {front["colorFrom"], front["colorTo"]} <= {
        "red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"
    }  # fmt: skip
    needed = (SPACE / "requirements.txt").read_text().split("\n")
    assert f"gradio=={front['sdk_version']}" in needed
    variables = set(re.findall(r"REBASE_[A-Z_]+", (SPACE / "rebase_space" / "settings.py").read_text()))
    assert variables and variables <= set(re.findall(r"REBASE_[A-Z_]+", (SPACE / "README.md").read_text()))
