"""What a job has paid for leaves its machine, however the job ends: the scripts whole, against the doubles."""

import json
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.hub_server import HubServer
from tests.doubles.tgi_server import Reply, TGIServer, status
from tests.doubles.tiny_models import make_sentence_encoder
from tests.doubles.written_answers import write_as_asked
from tests.publish.example_run import write_run

ROOT = Path(__file__).parent.parent.parent
TASK = """\
name: desk
instruction: Decide which desk a customer's message is for.
inputs: [message]
output: desk
labels: {money: a payment or a refund, parcels: where an order is}
examples:
  - {message: "I was charged twice in May.", desk: money}
  - {message: "My parcel has been in the depot for a week.", desk: parcels}
license: mit
"""
Job = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def job(hub: HubServer, tmp_path: Path) -> Job:
    """Run a command on a machine of its own: a home that no other job has seen."""
    (tmp_path / "task.yaml").write_text(TASK)

    def run(*words: object, machine: str = "first") -> subprocess.CompletedProcess[str]:
        home = tmp_path / machine
        home.mkdir(exist_ok=True)
        command = [sys.executable, *map(str, words)]
        return subprocess.run(command, env=hub.env(home), capture_output=True, text=True, cwd=home)

    return run


def generate(server: TGIServer, *options: object) -> tuple[object, ...]:
    asked = ("--teacher", server.url, "--method", "fewgen", "--max-concurrency", 1, "--num-examples", 8)
    return (ROOT / "hub_scripts" / "generate-dataset.py", "../task.yaml", "org/data", *asked, *options)


def with_an_address(request: Mapping[str, Any], call: int) -> str:
    return write_as_asked(request, call).replace("from nothing", "ask ann.berg@mail.net")


def kept(hub: HubServer, name: str = "org/data-run") -> set[str]:
    repo = hub.repos["dataset", name]
    assert repo.private
    return set(repo.files)


def told_to_go_on(job: subprocess.CompletedProcess[str]) -> list[list[str]]:
    """Return the commands that a job says one can go on with."""
    assert "The run is kept, for you alone, in " in job.stderr, job.stderr
    lines = job.stderr.split("Go on from it with:\n")[1].splitlines()
    return [shlex.split(line) for line in lines if line.startswith("    ")]


def test_fewer_examples_than_asked_for_are_published(hub: HubServer, job: Job) -> None:
    with TGIServer(answer=write_as_asked) as server:
        ended = job(*generate(server, "--max-requests", 3, "--private", "--tag", "v1"))
    assert ended.returncode == 3, ended.stderr
    repo = hub.repos["dataset", "org/data"]
    assert repo.private and repo.tags["v1"] == repo.head.sha
    assert 0 < json.loads(repo.files["report.json"])["examples"] < 8
    assert "journal.sqlite" in kept(hub)
    assert [command[-1] for command in told_to_go_on(ended)] == ["--go-on"]


@pytest.mark.slow
def test_a_refused_push_leaves_the_run_where_its_maker_finds_it(hub: HubServer, job: Job, tmp_path: Path) -> None:
    with TGIServer(answer=with_an_address) as server:
        ended = job(*generate(server))
    assert ended.returncode == 2 and "of kind `email`" in ended.stderr, ended.stderr
    assert ("dataset", "org/data") not in hub.repos
    assert {"journal.sqlite", "README.md", "run/report.json", "run/ledger.jsonl", "run/data/train.parquet"} <= kept(
        hub
    )
    fetch, push = told_to_go_on(ended)
    assert fetch[0] == "hf" and push[:2] == ["rebase-hf", "push"]
    card = hub.repos["dataset", "org/data-run"].files["README.md"].decode()
    assert shlex.join(fetch) in card and shlex.join(push) in card
    fetched = job("-m", "huggingface_hub.cli.hf", *fetch[1:], machine="second")
    assert fetched.returncode == 0, fetched.stderr
    pushed = job("-m", "rebase_hf", *push[1:], "--redact", machine="second")
    assert pushed.returncode == 0, pushed.stderr
    assert b"ann.berg" not in hub.repos["dataset", "org/data"].files["README.md"]


@pytest.mark.slow
def test_a_teacher_that_gives_up_is_paid_once_for_what_it_answered(hub: HubServer, job: Job) -> None:
    answered: list[str] = []

    def at_first(request: Mapping[str, Any], call: int) -> Reply:
        if len(answered) >= 2:
            return status(401)
        answered.append(json.dumps([request["messages"], request.get("seed")]))
        return write_as_asked(request, call)

    with TGIServer(answer=at_first) as server:
        stopped = job(*generate(server))
    assert stopped.returncode == 2 and "401" in stopped.stderr, stopped.stderr
    assert "journal.sqlite" in kept(hub) and "run/report.json" not in kept(hub)
    (again,) = told_to_go_on(stopped)
    assert again[-1] == "--go-on"
    with TGIServer(answer=write_as_asked) as server:
        moved = [server.url if re.match("http://", word) else word for word in again[1:]]
        ended = job(ROOT / "hub_scripts" / again[0], *moved, machine="second")
        asked = [json.dumps([r["messages"], r.get("seed")]) for r in server.chat_requests]
    assert ended.returncode == 0, ended.stderr
    assert "2 answers of an earlier job are taken from org/data-run." in ended.stderr
    assert asked and not set(asked) & set(answered)
    assert json.loads(hub.repos["dataset", "org/data"].files["report.json"])["from_journal"] == 2


def test_a_job_that_is_told_to_end_keeps_what_it_was_answered(hub: HubServer, job: Job, tmp_path: Path) -> None:
    second = threading.Event()

    def slowly(request: Mapping[str, Any], call: int) -> str:
        if len(server.chat_requests) > 2:
            second.set()
            time.sleep(0.5)
        return write_as_asked(request, call)

    (tmp_path / "first").mkdir()
    with TGIServer(answer=slowly) as server:
        command = [sys.executable, *map(str, generate(server, "--num-examples", 60))]
        env = hub.env(tmp_path / "first")
        ended = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True, cwd=tmp_path / "first")
        assert second.wait(60)
        ended.send_signal(signal.SIGTERM)
        _, told = ended.communicate(timeout=60)
    assert ended.returncode == 143 and "--go-on" in told, told
    assert "journal.sqlite" in kept(hub)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("org/data-run", (), "org/data-run is public, and a run that is not"),
        ("org/kept", ("--keep-to", "org/kept"), "org/kept is public, and a run that is not"),
        ("org/data", ("--private",), "is there already and public"),
        ("org/none", ("--tag", "v 1"), "can be no tag's name"),
        ("org/none", ("--teacher-license", "mitt"), "did you mean `mit`?"),
        ("org/none", ("--redact", "--keep-personal"), "give one of them"),
    ],
)
def test_what_would_stop_the_push_stops_the_job_before_anything_is_paid(
    hub: HubServer, job: Job, name: str, options: tuple[str, ...], said: str
) -> None:
    hub.add_repo(name, {"a.txt": "theirs"})
    with TGIServer(answer=write_as_asked) as server:
        ended = job(*generate(server, *options))
        assert server.requests == []
    assert ended.returncode == 2 and said in ended.stderr, ended.stderr
    assert len(hub.commits(name)) == 1


def test_a_private_repository_of_something_else_keeps_no_run(hub: HubServer, job: Job) -> None:
    hub.add_repo("org/data-run", {"a.txt": "mine"}, private=True)
    with TGIServer(answer=write_as_asked) as server:
        ended = job(*generate(server))
        assert server.requests == []
    assert ended.returncode == 2 and "something else than a run that is kept (a.txt)" in ended.stderr


def test_a_token_of_one_repository_is_told_where_else_a_run_may_be_kept(hub: HubServer, job: Job) -> None:
    hub.add_repo("org/data", private=True)
    hub.add_repo("org/kept", private=True)
    named = [
        {"entity": {"type": "dataset", "name": name}, "permissions": ["repo.write"]}
        for name in ("org/data", "org/kept")
    ]
    hub.grants[hub.token] = {"global": [], "scoped": named}
    with TGIServer(answer=write_as_asked) as server:
        refused = job(*generate(server))
        assert server.requests == []
        ended = job(*generate(server, "--keep-to", "org/kept"))
    assert refused.returncode == 2 and "--keep-to names another place" in refused.stderr, refused.stderr
    assert ended.returncode == 0, ended.stderr


def test_a_dry_run_proves_nothing_and_publishes_nothing(hub: HubServer, job: Job) -> None:
    with TGIServer(answer=write_as_asked) as server:
        ended = job(*generate(server, "--dry-run"))
    assert ended.returncode == 0 and "Dry run" in ended.stdout, ended.stderr
    assert not hub.repos


def test_a_hub_that_is_away_is_tried_again_before_the_work_is_given_up(
    hub: HubServer, job: Job, tmp_path: Path
) -> None:
    code = """
import sys, time
from pathlib import Path
from rebase_hf.cli.jobs import Job, has_examples, kept_unless_published
job = Job(Path(sys.argv[1]), "org/data-run", has_examples, "PUBLISH", "AGAIN", began=time.time())
with kept_unless_published(job, pauses=(0.0, 0.0)):
    sys.exit(7)
"""
    run = write_run(tmp_path / "run")
    hub.fail("POST", "/commit/", 503, times=2)
    ended = job("-c", code, run)
    assert ended.returncode == 7 and ended.stderr.count("Another try in 0 s") == 2, ended.stderr
    assert "run/report.json" in kept(hub)
    del hub.repos["dataset", "org/data-run"]
    hub.fail("POST", "/commit/", 503, times=3)
    ended = job("-c", code, run)
    assert (
        ended.returncode == 7 and "the run could not be kept: Could not keep the run in org/data-run" in ended.stderr
    )


@pytest.mark.slow
def test_a_student_that_could_not_be_published_is_kept(hub: HubServer, job: Job, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    files = {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}
    files["task.yaml"] = files["task.yaml"].split(b"evaluation:")[0]  # as a push leaves it
    hub.add_repo("org/data", {name: held for name, held in files.items() if not name.startswith("student/")})
    tiny = make_sentence_encoder(tmp_path / "tiny")
    hub.fail("POST", "/api/models/org/student/commit/", 500)
    options = ("--base-model", tiny, "--student-kind", "linear", "--no-pickle", "--private", "--tag", "v1")
    ended = job(ROOT / "hub_scripts" / "train-student.py", "org/data", "org/student", *options)
    assert ended.returncode == 4 and "the Hub answered 500" in ended.stderr, ended.stderr
    assert {"run/student/student.json", "run/data/train.parquet"} <= kept(hub, "org/student-run")
    fetch, push = told_to_go_on(ended)
    assert job("-m", "huggingface_hub.cli.hf", *fetch[1:], machine="second").returncode == 0
    pushed = job(*push[1:], machine="second")
    assert pushed.returncode == 0, pushed.stderr
    repo = hub.repos["model", "org/student"]
    assert repo.private and repo.tags["v1"] == repo.head.sha and repo.card(repo.head)["datasets"] == ["org/data"]
    # What another student scored, in the run that the dataset came from, is nothing that this one did.
    assert b"0.871" in files["report.json"] and b"0.871" not in repo.files["README.md"]
