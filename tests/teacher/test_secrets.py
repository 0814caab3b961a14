"""No secret leaves: canaries stand in no log, error, path, file or pickle, and reach only whom they are meant for."""

import dataclasses
import json
import logging
import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from rebase_hf import Teacher
from rebase_hf.builder import RebaseConfig
from rebase_hf.errors import RebaseError, TeacherRefused
from rebase_hf.pipeline import make_plan
from rebase_hf.rows import Completion
from rebase_hf.teacher.asking import Unanswered
from tests.doubles.task_answers import desk_answer
from tests.doubles.tgi_server import Answer, Fault, TGIServer, raw, status
from tests.teacher.asks import ask, draft

ROOT = Path(__file__).parent.parent.parent
CHAT = "/v1/chat/completions"
KEY = "sk-KeyCanary-5fd2a91c7e3b4d60"
ENVIRONMENT_TOKEN = "hf_EnvironCanaryQm4tV9xLw2ZrT7"
SAVED_TOKEN = "hf_SavedCanary8a1b2c3d4e5f60718"
GIVEN_TOKEN = "hf_GivenCanary90817263544536271"
SECRETS = (KEY, ENVIRONMENT_TOKEN, SAVED_TOKEN, GIVEN_TOKEN)
# A part of a secret is a leak too: these many characters of it from either end.
PART = 10

# Everything is logged that anybody logs, and then the real command line runs.
COMMANDS = """
import logging, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
from rebase_hf.cli import main
main()
"""
LOADING = """
import json, logging, pickle, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
import rebase_hf
from datasets import load_dataset, load_dataset_builder
asked = json.loads(sys.argv[1])
builder = load_dataset_builder("rebase", **asked)
print(builder.cache_dir, builder.config, vars(builder.config), builder.info, pickle.dumps(builder.config))
rows = load_dataset("rebase", **asked, split="train", num_proc=2)
print(rows, rows.info, rows.cache_files, rows.to_list())
print(list(load_dataset("rebase", **asked, split="train", streaming=True)))
"""


def leaks(text: str | bytes) -> list[str]:
    content = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return [s for s in SECRETS if s[:PART].encode() in content or s[-PART:].encode() in content]


def leaking_files(folder: Path) -> list[tuple[str, list[str]]]:
    """Return the files under a folder whose path or content holds a secret; the file of the saved token may."""
    found = []
    for path in folder.rglob("*"):
        if path.name == "token" and path.parent.name == "hf":
            continue
        content = path.read_bytes() if path.is_file() else b""
        if told := leaks(str(path)) + leaks(content):
            found.append((str(path), told))
    return found


@pytest.fixture
def places(tmp_path: Path, triage: Mapping[str, Any]) -> Path:
    """A folder for all that is written, with a saved token and a task in it."""
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text(SAVED_TOKEN)
    (tmp_path / "task.yaml").write_text(yaml.safe_dump(dict(triage), sort_keys=False))
    return tmp_path


def run(places: Path, code: str, *arguments: str, **variables: str | None) -> subprocess.CompletedProcess[str]:
    """Run Python with everything it writes under `places`; fail where it says a secret."""
    env = os.environ | {
        "PYTHONPATH": str(ROOT),
        "HOME": str(places / "home"),
        "HF_HOME": str(places / "hf"),
        "HF_DATASETS_CACHE": str(places / "datasets"),
        "REBASE_HOME": str(places / "rebase"),
        "TMPDIR": str(places),
        "HF_DEBUG": "1",
        "OMP_NUM_THREADS": "1",
        "HF_TOKEN": ENVIRONMENT_TOKEN,
        "DESK_KEY": KEY,
    }
    env |= {name: value for name, value in variables.items() if value is not None}
    env = {name: value for name, value in env.items() if name not in variables or variables[name] is not None}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=places, env=env, capture_output=True, text=True, timeout=120)
    assert leaks(done.stdout) == [] and leaks(done.stderr) == [], done.stderr[-3000:]
    return done


def received(server: TGIServer) -> str:
    """Return all that came in at a server: methods, paths, headers, bodies."""
    return "\n".join(f"{r.method} {r.path} {r.headers} {r.body!r}" for r in server.requests)


def authorizations(server: TGIServer) -> set[str | None]:
    return {request.headers.get("authorization") for request in server.requests}


# --- the command line and load_dataset, in processes of their own


@pytest.mark.slow
def test_the_command_line_tells_no_secret(places, model_index):
    output = places / "run"
    with TGIServer(desk_answer, api_key=KEY) as server:
        generate = ["generate", "task.yaml", "--index", str(model_index), "--teacher", server.url]
        generate += ["--output", str(output), "--num-examples", "12", "--api-key-env", "DESK_KEY"]
        for arguments in (generate, [*generate, "--debug"], ["report", str(output)], ["trace", str(output), "3"]):
            done = run(places, COMMANDS, *arguments)
            assert done.returncode == 0, done.stderr[-3000:]
        assert authorizations(server) == {f"Bearer {KEY}"}
        assert leaks(received(server)) == [KEY]
    assert {"report.json", "README.md", "report.html", "ledger.jsonl", "task.yaml"} <= set(os.listdir(output))
    assert list((places / "rebase").rglob("journal.sqlite*"))
    assert leaking_files(places) == []


@pytest.mark.slow
def test_the_command_line_tells_no_secret_when_the_key_is_refused(places, model_index):
    with TGIServer(lambda request, call: status(403, f"The key {KEY} is not known here.")) as server:
        generate = ["generate", "task.yaml", "--index", str(model_index), "--teacher", server.url]
        generate += ["--output", str(places / "run"), "--num-examples", "5", "--api-key-env", "DESK_KEY"]
        done = run(places, COMMANDS, *generate, "--debug")
        assert done.returncode != 0 and "403" in done.stderr and "Traceback" in done.stderr
    assert leaking_files(places) == []


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["in the environment", "saved"])
def test_load_dataset_tells_no_secret_and_sends_no_hub_token_to_a_server_of_ones_own(places, model_index, kept):
    with TGIServer(desk_answer) as server:
        asked = {"task": "task.yaml", "index": str(model_index), "teacher": server.url, "num_examples": 12}
        token = ENVIRONMENT_TOKEN if kept == "in the environment" else None
        done = run(places, LOADING, json.dumps(asked | {"token": GIVEN_TOKEN}), HF_TOKEN=token)
        assert done.returncode == 0, done.stderr[-3000:]
        assert len(server.chat_requests) >= 12
        assert leaks(received(server)) == []
        assert authorizations(server) <= {None, "Bearer none"}
    assert list((places / "datasets").rglob("*.arrow"))
    assert leaking_files(places) == []


# --- settings


def test_no_settings_hold_a_secret(monkeypatch, home, triage, bank_index):
    monkeypatch.setenv("DESK_KEY", KEY)
    monkeypatch.setenv("HF_TOKEN", ENVIRONMENT_TOKEN)
    with TGIServer(desk_answer, api_key=KEY) as server:
        teacher = Teacher(server.url, api_key_env="DESK_KEY")
        plan = make_plan(triage, bank_index, teacher, num_examples=5, token=GIVEN_TOKEN)
        config = RebaseConfig(task=triage, index=bank_index, teacher=teacher, num_examples=5)
        config.plan = plan
        identifier = config.create_config_id({})
    assert leaks(repr(teacher) + repr(dataclasses.asdict(teacher)) + repr(plan) + repr(config) + identifier) == []
    for settings in (teacher, plan.teacher, plan.task, plan.identity, config):
        assert leaks(pickle.dumps(settings)) == []
    assert leaks(repr(plan.__getstate__())) == [] and leaks(plan.run_id) == []
    assert leaks(json.dumps(plan.task.to_dict())) == []


# --- a token that is given


def test_a_key_that_is_given_as_the_token_reaches_its_server_alone(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("HF_TOKEN", ENVIRONMENT_TOKEN)
    caplog.set_level(logging.DEBUG)
    with TGIServer() as other, TGIServer(api_key=KEY) as server:
        server.routes["/info"] = redirect(302, other.url + "/info")
        (answer,), asker = ask(server.url, [draft(1)], tmp_path / "j", token=KEY)
        assert isinstance(answer, Completion)
        assert authorizations(server) == {f"Bearer {KEY}"} and leaks(received(server)) == [KEY]
        assert [request.path for request in other.requests] == ["/info"] and leaks(received(other)) == []
    assert leaks(repr(asker)) == [] and leaks(caplog.text) == [] and leaking_files(tmp_path) == []


def test_a_hugging_face_token_that_is_given_for_a_server_of_ones_own_is_refused_unsent(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    with TGIServer() as server:
        with pytest.raises(TeacherRefused, match="no address of Hugging Face's; it is not sent there") as caught:
            ask(server.url, [draft(1)], tmp_path / "j", token=GIVEN_TOKEN)
        assert server.requests == []
    assert leaks(told_by(caught.value)) == [] and leaks(caplog.text) == [] and leaking_files(tmp_path) == []


# --- servers that repeat what they were sent


def told_by(error: BaseException) -> str:
    said = [str(error), repr(error), repr(vars(error)), repr(error.args)]
    return "\n".join((*said, *traceback.format_exception(error)))


ECHOES: dict[str, Any] = {
    "400": status(400, {"error": f"The key {KEY} is wrong.", "error_type": "validation"}),
    "401": status(401, f"Bearer {KEY}"),
    "403": status(403, f"{'x' * 290}{KEY}"),
    "404": status(404, {"detail": {"authorization": f"Bearer {KEY}"}}),
    "422, cut in the key": status(422, f"{'x' * 280}{KEY}{KEY}"),
    "422, cut early": status(422, f"{'x' * 3985}{KEY}{KEY}"),
    "422, in its headers": Fault("status", 422, b"{}", {"X-Sent": f"Bearer {KEY}", "Set-Cookie": f"key={KEY}"}),
    "500": status(500, f"Traceback: headers={{'Authorization': 'Bearer {KEY}'}}"),
    "200 with an error": status(200, {"error": {"message": f"no such key {KEY}"}}),
    "200, cut in the error": status(200, {"error": f"{'x' * 185}{KEY}"}),
    "200, no JSON": raw(f"<html>{KEY}</html>".encode()),
    "200, cut in what is no JSON": raw(f"{'x' * 105}{KEY}{KEY}".encode()),
    "200, no choices": status(200, {"choices": f"{'x' * 70}{KEY}"}),
    "200, no text": status(200, {"choices": [{"message": {"content": {"key": f"{'x' * 60}{KEY}"}}}]}),
    "200, a reason": Answer("yes", f"stopped by {KEY}"),
    "an answer": Answer(f"Your key is {KEY}."),
    "an answer cut short": Answer(f"{'x' * 5000}{KEY}{'y' * 140}", "length"),
    "an address": Fault("status", 302, b"", {"Location": f"http://127.0.0.1:9/{KEY}"}),
    "no address": Fault("status", 302, b"", {"Location": f"ftp://{KEY}/{KEY}"}),
}


@pytest.mark.parametrize("name", ECHOES)
def test_a_server_that_repeats_the_key_gets_it_nowhere(name, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("DESK_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    for logger in ("huggingface_hub", "rebase_hf", "aiohttp", "asyncio"):
        logging.getLogger(logger).setLevel(logging.DEBUG)

    def answer(request: dict[str, Any], call: int) -> Any:
        return ECHOES[name] if "number 1 " in request["messages"][-1]["content"] else "yes"

    told = ""
    with TGIServer(answer, api_key=KEY, enforce_schema=False) as server:
        teacher = Teacher(server.url, api_key_env="DESK_KEY", max_concurrency=1)
        try:
            outcomes, asker = ask(teacher, [draft(n, schema=None) for n in range(3)], tmp_path / "j", give_up_after=3)
            assert isinstance(outcomes[0], Completion)
            told = repr(asker) + "".join(told_by(o) if isinstance(o, Unanswered) else repr(o) for o in outcomes)
        except RebaseError as error:
            told = told_by(error)
        assert authorizations(server) <= {f"Bearer {KEY}"} and len(server.chat_requests) >= 2
    assert leaks(told) == []
    assert leaks(caplog.text) == []
    assert leaking_files(tmp_path) == []


@pytest.mark.parametrize("more", ["\nX-More: 1", "\x07bell", "é", "\x7f", "\u2028x", " and more"])
def test_a_key_that_no_header_can_hold_is_refused_without_being_shown(more, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("DESK_KEY", KEY + more)
    caplog.set_level(logging.DEBUG)
    with TGIServer() as server:
        with pytest.raises(TeacherRefused, match="DESK_KEY") as caught:
            ask(Teacher(server.url, api_key_env="DESK_KEY"), [draft(1)], tmp_path / "j", give_up_after=1)
        assert server.requests == []
    assert leaks(told_by(caught.value)) == [] and leaks(caplog.text) == [] and leaking_files(tmp_path) == []


# --- redirects


def redirect(code: int, to: str) -> Fault:
    return Fault("status", code, b"", {"Location": to})


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_origin_loses_the_key(code, tmp_path, monkeypatch, caplog):
    """The server that was sent the prompt may pass it on (307, 308); the key was meant for it alone."""
    monkeypatch.setenv("DESK_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    with TGIServer() as other, TGIServer(api_key=KEY) as server:
        server.routes[CHAT] = redirect(code, other.url + CHAT)
        teacher = Teacher(server.url, api_key_env="DESK_KEY")
        told = answered = None
        try:
            (answered,), _ = ask(teacher, [draft(1, schema=None)], tmp_path / "j", give_up_after=2)
        except RebaseError as error:
            told = told_by(error)
        assert f"Bearer {KEY}" in authorizations(server)
        (followed,) = other.requests
        assert "authorization" not in followed.headers and leaks(received(other)) == []
    if code in (307, 308):
        assert isinstance(answered, Completion)
        # The first answer tells that this address redirects; from then on the library's own way is gone.
        first, sent = server.chat_requests
        assert followed.method == "POST" and followed.json == sent == first
    else:  # as browsers have it: a GET, without the prompt; what it gets is no answer
        assert followed.method == "GET" and followed.body == b"" and told is not None
    assert leaks(str(told)) == [] and leaks(caplog.text) == [] and leaking_files(tmp_path) == []


@pytest.mark.parametrize("path", ["/info", "/v1/models"])
def test_a_redirect_of_the_probe_to_another_origin_loses_the_key(path, tmp_path, monkeypatch):
    monkeypatch.setenv("DESK_KEY", KEY)
    with TGIServer() as other, TGIServer(api_key=KEY) as server:
        server.routes[path] = redirect(302, other.url + path)
        ask(Teacher(server.url, api_key_env="DESK_KEY"), [draft(1)], tmp_path / "j")
        assert [request.path for request in other.requests] == [path]
        assert leaks(received(other)) == []


def test_a_redirect_within_the_origin_keeps_the_key(tmp_path, monkeypatch):
    monkeypatch.setenv("DESK_KEY", KEY)
    with TGIServer(api_key=KEY) as server:
        server.routes["/old" + CHAT] = redirect(307, CHAT)
        server.routes |= {"/old/info": server.get("/info"), "/old/v1/models": server.get("/v1/models")}
        (answer,), _ = ask(Teacher(server.url + "/old", api_key_env="DESK_KEY"), [draft(1)], tmp_path / "j")
    assert isinstance(answer, Completion)


def test_a_redirect_in_a_circle_ends(tmp_path):
    with TGIServer() as server:
        server.routes[CHAT] = redirect(307, CHAT)
        with pytest.raises(RebaseError) as caught:
            ask(server.url, [draft(1)], tmp_path / "j", give_up_after=3)
        assert server.url in str(caught.value)
        assert len(server.requests) < 60


def test_passwords_of_netrc_are_sent_to_nobody(tmp_path, monkeypatch):
    """At an address of this machine that is not known as such: the environment is trusted as for any server."""
    netrc = tmp_path / "netrc"
    netrc.write_text(f"default login user password {KEY}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("no_proxy", "*")
    with TGIServer() as server:
        address = server.url.replace("127.0.0.1", "0.0.0.0")  # noqa: S104 - what connects to it comes here
        (answer,), _ = ask(address, [draft(1)], tmp_path / "j", give_up_after=3)
        assert authorizations(server) <= {None, "Bearer none"}
    assert isinstance(answer, Completion)
