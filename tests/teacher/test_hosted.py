import asyncio
import json
import logging
import os
import pickle
import subprocess
import sys
import threading
import time
from collections import deque
from itertools import islice
from pathlib import Path

import pytest
from huggingface_hub import close_session

from rebase_hf.errors import TeacherRefused, TeacherUnavailable
from rebase_hf.rows import Completion
from rebase_hf.teacher.asking import Halted, identify, open_teacher
from rebase_hf.teacher.journal import Journal
from rebase_hf.teacher.target import Teacher
from tests.doubles.hosted_server import API, ELSEWHERE, ENDPOINT_HOST, HUB, ROUTER, Endpoint, HostedServer
from tests.doubles.task_answers import desk_answer
from tests.doubles.tgi_server import Fault, TGIServer, status
from tests.teacher.asks import SCHEMA, TASK, ask, draft

ROOT = Path(__file__).parents[2]
MINE = "endpoint:me/mine"
LOOK, RESUME, PAUSE = (f"{API}/v2/endpoint/me/mine{action}" for action in ("", "/resume", "/pause"))
CHAT = "/v1/chat/completions"
REDIRECT = Fault("status", 307, b"", {"Location": f"https://{ELSEWHERE}{CHAT}"})


@pytest.fixture
def hosted(monkeypatch, home):
    """Start a double and lead this process's HTTPS to it: the clients read the environment when they are made."""
    servers = []

    def start(**settings):
        server = HostedServer(**settings)
        servers.append(server.__enter__())
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("ALL_PROXY", raising=False)
        monkeypatch.setenv("HF_TOKEN", "hf_good")
        close_session()  # huggingface_hub's client is made anew
        return server

    yield start
    close_session()
    for server in servers:
        server.__exit__()


def actions(server):
    """What an endpoint's API was told to do."""
    return [request.path.rpartition("/")[2] for request in server.asked("POST", API)]


# Inference Endpoints: which one, and may I


def test_an_endpoint_is_identified_by_its_model_and_revision_without_being_woken(hosted):
    server = hosted(state="paused")
    identity = identify(MINE, TASK)
    assert (identity.model, identity.revision) == (server.endpoint.repository, server.endpoint.revision)
    assert server.endpoint.state == "paused"
    assert [(r.method, r.host) for r in server.requests] == [("GET", API)]


@pytest.mark.parametrize("target", ["endpoint:mine", "endpoint:me/", "endpoint:../whoami", "endpoint:me/a/b"])
def test_a_name_that_is_not_namespace_and_name_is_refused_before_anything_is_asked(target):
    with pytest.raises(TeacherRefused, match="expected .* endpoint:NAMESPACE/NAME") as caught:
        identify(target, TASK)
    assert "http://endpoint" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "target", "says"),
    [
        ({}, "endpoint:me/other", "`me/other` was not found"),
        ({"tokens": {"hf_another": "all"}}, MINE, "the token is wrong, or has no right"),
        ({"replies": {f"GET {LOOK}": status(403)}}, MINE, "answered 403"),
        ({"replies": {f"GET {LOOK}": status(418, "I am a teapot")}}, MINE, "refused a request .*418"),
    ],
    ids=["not found", "wrong token", "no right", "other"],
)
def test_what_will_not_get_better_is_refused_in_one_line(hosted, settings, target, says):
    hosted(**settings)
    with pytest.raises(TeacherRefused, match=says) as caught:
        identify(target, TASK)
    assert "\n" not in str(caught.value)
    assert "hf_good" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"replies": {f"GET {LOOK}": status(500)}}, "500"),
        ({"replies": {f"GET {LOOK}": status(429)}}, "429"),
        ({"replies": {f"GET {LOOK}": Fault("status", 200, b"<html>")}}, "JSONDecodeError"),
        ({"replies": {f"GET {LOOK}": status(200, {"name": "mine"})}}, "KeyError"),
        ({"unreachable": (API,)}, "ProxyError"),
    ],
    ids=["server error", "too many requests", "no JSON", "other JSON", "no connection"],
)
def test_what_may_get_better_is_unavailable_in_one_line(hosted, settings, says):
    hosted(**settings)
    with pytest.raises(TeacherUnavailable, match=f"could not be asked .*{says}.* again later") as caught:
        identify(MINE, TASK)
    assert "\n" not in str(caught.value)


def test_an_endpoint_seen_before_is_identified_while_hugging_face_is_away(hosted, caplog):
    server = hosted()
    before = identify(MINE, TASK)
    server.unreachable.add(API)
    close_session()
    assert identify(MINE, TASK) == before
    assert "Going on with the model last seen there, org/teacher" in caplog.text


def test_without_a_token_the_line_says_where_one_is_expected(hosted, monkeypatch):
    server = hosted()
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(TeacherRefused, match="no token was found; expected one in HF_TOKEN"):
        identify(MINE, TASK)
    assert server.requests == []


def test_a_token_that_is_given_is_the_one_that_is_used_for_everything(hosted, monkeypatch, tmp_path):
    server = hosted(state="paused", tokens={"hf_given": "all"})
    monkeypatch.setenv("HF_TOKEN", "hf_saved")
    (answer,), _ = ask(Teacher(MINE, pause_after=True), [draft(1)], tmp_path / "j", token="hf_given")
    assert isinstance(answer, Completion)
    assert {r.headers["authorization"] for r in server.requests} == {"Bearer hf_given"}


# Inference Endpoints: from paused to answers


@pytest.mark.parametrize(
    "settings",
    [
        {"state": "paused"},
        {"state": "scaledToZero"},
        {"endpoint": Endpoint(state="scaledToZero", resumes_from_zero=False)},
        {"state": "initializing"},
        {"state": "running"},
    ],
    ids=["paused", "scaled to zero", "scaled to zero, woken by a request", "starting", "running"],
)
def test_an_endpoint_is_woken_waited_for_and_asked(hosted, settings, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    server = hosted(**settings, warming=(502, 503))
    before = server.endpoint.state
    (answer,), asker = ask(MINE, [draft(1)], tmp_path / "j")
    assert json.loads(answer.text)["message"] == "parcel number 1 has not come"
    assert (answer.model, asker.identity.kind) == ("org/teacher", "hf-endpoint")
    assert asker.usage.requests == 1  # the 502 and 503 of the start were waited out, not paid for
    (sent,) = server.asked("POST", ENDPOINT_HOST, CHAT)
    assert (sent.json["model"], sent.json["response_format"]["type"]) == ("/repository", "json_object")
    assert server.endpoint.state == "running"
    assert actions(server) == (["resume"] if before in ("paused", "scaledToZero") else [])
    assert "Waiting for `endpoint:me/mine`" in caplog.text
    assert "answers 502" in caplog.text and "answers 503" in caplog.text


def test_a_503_after_the_health_route_said_ok_costs_no_answer(hosted, tmp_path):
    chat = deque([status(503, "starting"), status(502, "starting")])
    server = hosted(replies={f"POST {ENDPOINT_HOST}{CHAT}": chat})
    (answer,), asker = ask(MINE, [draft(1)], tmp_path / "j")
    assert isinstance(answer, Completion)
    assert (asker.usage.refused, len(server.asked("POST", ENDPOINT_HOST, CHAT))) == (2, 3)


def test_what_the_journal_answers_wakes_nothing(hosted, tmp_path):
    server = hosted(state="paused")
    first, _ = ask(Teacher(MINE, pause_after=True), [draft(1), draft(2)], tmp_path / "j")
    assert actions(server) == ["resume", "pause"]
    again, asker = ask(Teacher(MINE, pause_after=True), [draft(1), draft(2)], tmp_path / "j")
    assert (again, asker.usage.from_journal) == (first, 2)
    assert actions(server) == ["resume", "pause"]  # nothing more, not even a pause of what was not used


def test_the_journal_answers_while_hugging_face_is_away(hosted, tmp_path):
    server = hosted()
    first, _ = ask(MINE, [draft(1)], tmp_path / "j")
    server.unreachable |= {API, ENDPOINT_HOST}
    close_session()
    assert ask(MINE, [draft(1)], tmp_path / "j")[0] == first


@pytest.mark.parametrize("change", [{"repository": "org/other"}, {"revision": "f" * 40}], ids=["model", "revision"])
def test_an_endpoint_that_comes_up_with_another_model_ends_the_run(hosted, change, tmp_path):
    server = hosted(state="paused")

    async def run():
        journal = Journal.open(tmp_path / "j")
        asker = await open_teacher(MINE, TASK, journal)
        for name, value in change.items():
            setattr(server.endpoint, name, value)
        try:
            await asker.ask(draft(1))
        finally:
            await asker.close()
            journal.close()

    with pytest.raises(TeacherRefused, match=f"now serves .*{next(iter(change.values()))}"):
        asyncio.run(run())
    assert server.asked("POST", ENDPOINT_HOST, CHAT) == []


@pytest.mark.parametrize("state", ["failed", "updateFailed"])
def test_a_failed_endpoint_is_told_with_its_reason(hosted, state, tmp_path):
    server = hosted(endpoint=Endpoint(state=state, message="CUDA out of\nmemory"))
    with pytest.raises(TeacherUnavailable, match=f"its state is {state} \\(CUDA out of memory\\). Mend it"):
        ask(MINE, [draft(1)], tmp_path / "j", give_up_after=60)
    assert actions(server) == []


def test_an_endpoint_that_fails_while_it_starts_is_not_waited_for(hosted, tmp_path):
    hosted(endpoint=Endpoint(state="paused", starting=deque(["initializing", "failed"])))
    with pytest.raises(TeacherUnavailable, match="its state is failed"):
        ask(MINE, [draft(1)], tmp_path / "j", give_up_after=60)


def test_waiting_ends_with_give_up_after_and_says_for_what(hosted, tmp_path):
    hosted(endpoint=Endpoint(state="paused", message="no capacity", starting=deque(["initializing"] * 1000)))
    began = time.monotonic()
    with pytest.raises(TeacherUnavailable, match=r"not ready within 1 s: it is initializing \(no capacity\)"):
        ask(MINE, [draft(1)], tmp_path / "j", give_up_after=1)
    assert time.monotonic() - began < 10


def test_an_api_that_fails_while_it_is_waited_for_is_asked_again(hosted, tmp_path):
    server = hosted(state="paused", replies={f"POST {RESUME}": deque([status(500)])})
    (answer,), _ = ask(MINE, [draft(1)], tmp_path / "j", give_up_after=30)
    assert isinstance(answer, Completion)
    assert actions(server) == ["resume", "resume"]


def test_an_endpoint_that_somebody_pauses_meanwhile_is_waited_for_and_not_resumed(hosted, tmp_path):
    """Its proxy answers 400 then, which is no fault of the row that was asked."""
    server = hosted()

    async def run():
        journal = Journal.open(tmp_path / "j")
        asker = await open_teacher(MINE, TASK, journal, give_up_after=30)
        try:
            await asker.ask(draft(1))
            server.endpoint.state = "paused"
            waiting = asyncio.ensure_future(asker.ask(draft(2)))
            while len(server.asked("POST", ENDPOINT_HOST, CHAT)) < 4 and not waiting.done():
                await asyncio.sleep(0.02)
            server.endpoint.state = "running"
            return await waiting
        finally:
            await asker.close()
            journal.close()

    assert isinstance(asyncio.run(run()), Completion)
    assert actions(server) == []


def test_a_halt_ends_the_waiting_for_a_start_and_pauses(hosted, tmp_path):
    server = hosted(endpoint=Endpoint(state="paused", starting=deque(["initializing"] * 1000)))

    async def run():
        journal = Journal.open(tmp_path / "j")
        asker = await open_teacher(Teacher(MINE, pause_after=True), TASK, journal)
        asking = asyncio.ensure_future(asker.ask(draft(1)))
        while "resume" not in actions(server) and not asking.done():
            await asyncio.sleep(0.02)
        asker.halt()
        try:
            await asyncio.wait_for(asking, 10)
        finally:
            await asker.close()
            journal.close()

    with pytest.raises(Halted):
        asyncio.run(run())
    assert actions(server) == ["resume", "pause"]


def test_a_token_that_may_not_resume_is_told_at_once(hosted, tmp_path):
    hosted(state="paused", tokens={"hf_good": "read"})
    with pytest.raises(TeacherRefused, match="answered 403 .* has no right"):
        ask(Teacher(MINE, pause_after=True), [draft(1)], tmp_path / "j")


# Inference Endpoints: paused again


@pytest.mark.parametrize("before", ["paused", "scaledToZero", "running"])
def test_pause_after_pauses_what_was_used(hosted, before, tmp_path):
    server = hosted(state=before)
    ask(Teacher(MINE, pause_after=True), [draft(1)], tmp_path / "j")
    assert (server.endpoint.state, actions(server)[-1]) == ("paused", "pause")


def test_what_was_resumed_and_is_not_to_be_paused_is_said_to_cost(hosted, tmp_path, caplog):
    server = hosted(state="paused")
    ask(MINE, [draft(1)], tmp_path / "j")
    assert (server.endpoint.state, actions(server)) == ("running", ["resume"])
    assert "still runs, and costs money. Pause it: hf endpoints pause mine --namespace me" in caplog.text


@pytest.mark.parametrize(
    "settings",
    [
        {"endpoint": Endpoint(state="paused", starting=deque(["initializing", "failed"]))},
        {"endpoint": Endpoint(state="paused", starting=deque(["initializing"] * 1000))},
        {"state": "paused", "replies": {f"POST {ENDPOINT_HOST}{CHAT}": status(401, "")}},
    ],
    ids=["it failed", "it took too long", "it refused"],
)
def test_pause_after_pauses_when_the_run_ends_by_an_error(hosted, settings, tmp_path):
    server = hosted(**settings)
    patience = 1 if "endpoint" in settings else 60
    with pytest.raises((TeacherRefused, TeacherUnavailable)):
        ask(Teacher(MINE, pause_after=True), [draft(1)], tmp_path / "j", give_up_after=patience)
    assert (server.endpoint.state, actions(server)) == ("paused", ["resume", "pause"])


def test_pause_after_pauses_when_the_run_is_cancelled(hosted, tmp_path):
    server = hosted(endpoint=Endpoint(state="paused", starting=deque(["initializing"] * 1000)))

    async def run():
        journal = Journal.open(tmp_path / "j")
        asker = await open_teacher(Teacher(MINE, pause_after=True), TASK, journal)
        try:
            await asyncio.wait_for(asker.ask(draft(1)), 0.5)
        finally:
            await asker.close()
            journal.close()

    with pytest.raises(TimeoutError):
        asyncio.run(run())
    assert actions(server) == ["resume", "pause"]


def halted_while(server, held, teacher, folder):
    """Halt and close a teacher while a step of its start is held up on the way; it is let go on during the close."""

    async def run():
        journal = Journal.open(folder / "j")
        asker = await open_teacher(teacher, TASK, journal)
        server.requests.clear()
        gate = server.gates[held] = threading.Event()
        asking = asyncio.ensure_future(asker.ask(draft(1)))
        while not any(f"{r.method} {r.host}{r.path}" == held for r in list(server.requests)):
            assert not asking.done()
            await asyncio.sleep(0.02)
        asker.halt()
        with pytest.raises(Halted):
            await asyncio.wait_for(asking, 10)
        threading.Timer(0.3, gate.set).start()
        await asker.close()
        journal.close()

    asyncio.run(run())  # it waits for the threads of the loop too: what they still do is done after it


@pytest.mark.parametrize("pause_after", [True, False])
def test_a_look_that_ends_after_the_halt_resumes_nothing(hosted, pause_after, tmp_path, caplog):
    server = hosted(state="paused")
    halted_while(server, f"GET {LOOK}", Teacher(MINE, pause_after=pause_after), tmp_path)
    assert server.endpoint.state == "paused"
    assert "resume" not in actions(server)
    assert "cost" not in caplog.text


def test_a_resuming_that_ends_after_the_halt_is_paused_again(hosted, tmp_path):
    server = hosted(state="paused")
    halted_while(server, f"POST {RESUME}", Teacher(MINE, pause_after=True), tmp_path)
    assert (server.endpoint.state, actions(server)) == ("paused", ["resume", "pause"])


def test_a_resuming_that_ends_after_the_halt_is_said_to_cost(hosted, tmp_path, caplog):
    server = hosted(state="paused")
    halted_while(server, f"POST {RESUME}", Teacher(MINE), tmp_path)
    assert (server.endpoint.state, actions(server)) == ("pending", ["resume"])
    assert "still runs, and costs money. Pause it: hf endpoints pause mine --namespace me" in caplog.text


def test_a_resuming_whose_answer_is_lost_is_said_to_cost_perhaps(hosted, tmp_path, caplog):
    hosted(state="paused", replies={f"POST {RESUME}": status(504)})
    with pytest.raises(TeacherUnavailable, match="not ready within 0.2 s"):
        ask(MINE, [draft(1)], tmp_path / "j", give_up_after=0.2)
    assert "it may run, and cost money. Pause it: hf endpoints pause mine" in caplog.text


@pytest.mark.parametrize("taken", [4, 1], ids=["to its end", "left early"])
def test_a_run_pauses_its_endpoint_when_it_is_over(hosted, bank_index, triage, taken):
    from rebase_hf import generate

    server = hosted(state="paused", tgi=TGIServer(desk_answer, model_id="/repository", model_sha=None))
    examples = generate(triage, bank_index, Teacher(MINE, pause_after=True), num_examples=4)
    assert len(list(islice(examples, taken))) == taken
    examples.close()
    until = time.monotonic() + 20
    while server.endpoint.state != "paused" and time.monotonic() < until:
        time.sleep(0.02)
    assert actions(server) == ["resume", "pause"]


def test_a_pause_that_fails_is_tried_again(hosted, tmp_path, caplog):
    server = hosted(replies={f"POST {PAUSE}": deque([status(500)])})
    ask(Teacher(MINE, pause_after=True), [draft(1)], tmp_path / "j")
    assert (server.endpoint.state, actions(server)) == ("paused", ["pause", "pause"])
    assert "costs money" not in caplog.text


def test_what_somebody_else_has_paused_is_not_said_to_cost(hosted, tmp_path, caplog):
    server = hosted()

    async def run():
        journal = Journal.open(tmp_path / "j")
        asker = await open_teacher(Teacher(MINE, pause_after=True), TASK, journal)
        await asker.ask(draft(1))
        server.endpoint.state = "paused"
        await asker.close()
        journal.close()

    asyncio.run(run())
    assert actions(server) == ["pause"]
    assert "could not be paused" not in caplog.text


def test_what_can_not_be_paused_is_said_to_cost_and_the_answers_are_kept(hosted, tmp_path, caplog):
    server = hosted(tokens={"hf_good": "read"})
    (answer,), _ = ask(Teacher(MINE, pause_after=True), [draft(1)], tmp_path / "j")
    assert isinstance(answer, Completion)
    assert server.endpoint.state == "running"
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "could not be paused: it may still run, and cost money" in line
    assert "hf endpoints pause mine --namespace me" in line and "403" in line
    assert "\n" not in line


# Inference Providers


def provided(name, *providers):
    return {f"org/{name}": {provider: f"{provider}/{name}" for provider in providers}}


@pytest.mark.parametrize(
    ("provider", "path", "model"),
    [
        ("auto", CHAT, "org/{}"),
        ("together", f"/together{CHAT}", "together/{}"),
        ("groq", f"/groq/openai{CHAT}", "groq/{}"),
    ],
)
def test_a_model_is_asked_of_the_right_provider_under_its_name_there(hosted, provider, path, model, tmp_path):
    name = f"asked-{provider}"
    server = hosted(providers=provided(name, "together", "groq"))
    teacher = Teacher(f"org/{name}", provider=provider, bill_to="my-org")
    (answer,), asker = ask(teacher, [draft(1)], tmp_path / "j")
    assert json.loads(answer.text)["message"] == "parcel number 1 has not come"
    assert (answer.model, asker.identity.kind) == (f"org/{name}", "provider")
    (sent,) = server.asked("POST", ROUTER)
    assert (sent.path, sent.json["model"]) == (path, model.format(name))
    assert (sent.headers["x-hf-bill-to"], sent.headers["authorization"]) == ("my-org", "Bearer hf_good")
    assert "seed" not in sent.json  # some providers refuse one


@pytest.mark.parametrize("provider", ["auto", "together", "groq"])
def test_a_provider_is_given_the_schema_in_its_own_form(hosted, provider, tmp_path):
    server = hosted(providers=provided(f"schema-{provider}", "together", "groq"))
    ask(Teacher(f"org/schema-{provider}", provider=provider), [draft(1)], tmp_path / "j")
    form = server.asked("POST", ROUTER)[0].json["response_format"]
    assert (form.get("schema") or form["json_schema"]["schema"]) == SCHEMA


def test_who_pays_is_sent_only_when_it_was_said(hosted, tmp_path):
    server = hosted(providers=provided("unbilled", "groq"))
    ask("org/unbilled", [draft(1, schema=None)], tmp_path / "j")
    assert "x-hf-bill-to" not in server.asked("POST", ROUTER)[0].headers


def test_a_provider_that_does_not_serve_the_model_is_refused_with_those_that_do(hosted, tmp_path):
    server = hosted(providers=provided("half", "together", "cerebras"))
    with pytest.raises(TeacherRefused, match="`groq` can't be asked for `org/half`; .* by `cerebras`, `together`"):
        ask(Teacher("org/half", provider="groq"), [draft(1)], tmp_path / "j")
    with pytest.raises(TeacherRefused, match="`nobody` can't be asked .* by `cerebras`, `together`"):
        ask(Teacher("org/half", provider="nobody"), [draft(1)], tmp_path / "j")
    assert server.asked("POST", ROUTER) == []


@pytest.mark.parametrize("provider", ["auto", "groq"])
def test_a_model_that_nobody_serves_is_refused_before_it_is_asked(hosted, provider, tmp_path):
    server = hosted(providers={"org/unserved": {}})
    with pytest.raises(TeacherRefused, match="No Inference Provider serves `org/unserved`"):
        ask(Teacher("org/unserved", provider=provider), [draft(1)], tmp_path / "j")
    assert server.asked("POST", ROUTER) == []


def test_a_model_that_only_providers_serve_which_are_not_enabled_ends_the_run(hosted, tmp_path):
    said = {"error": {"message": "The requested model 'org/off' is not supported by any provider you have enabled."}}
    hosted(providers=provided("off", "groq"), replies={f"POST {ROUTER}{CHAT}": status(400, said)})
    with pytest.raises(TeacherRefused, match="not supported by any provider you have enabled"):
        ask("org/off", [draft(1)], tmp_path / "j")


def test_a_model_that_is_not_on_the_hub_is_refused(hosted, tmp_path):
    hosted()
    with pytest.raises(TeacherRefused, match="answered 404 for the model `org/nowhere`") as caught:
        ask("org/nowhere", [draft(1)], tmp_path / "j")
    assert "\n" not in str(caught.value)


def test_a_hub_that_is_away_for_a_moment_is_asked_again(hosted, tmp_path):
    name = "GET huggingface.co/api/models/org/patient?expand=inferenceProviderMapping"
    server = hosted(providers=provided("patient", "groq"), replies={name: deque([status(503), status(500)])})
    (answer,), _ = ask("org/patient", [draft(1, schema=None)], tmp_path / "j")
    assert isinstance(answer, Completion)
    assert len(server.asked("GET", HUB, "/api/models/org/patient")) == 3


def test_a_hub_that_stays_away_ends_the_run_by_give_up_after(hosted, tmp_path):
    hosted(unreachable=(HUB,))
    with pytest.raises(TeacherUnavailable, match="not ready within 0.5 s: The Hub could not be asked"):
        ask("org/away", [draft(1)], tmp_path / "j", give_up_after=0.5)


def test_a_providers_model_is_identified_and_replayed_without_the_network(hosted, tmp_path):
    server = hosted(providers=provided("replayed", "groq"))
    first, _ = ask("org/replayed", [draft(1, schema=None)], tmp_path / "j")
    server.requests.clear()
    assert identify("org/replayed", TASK).model == "org/replayed"
    assert ask("org/replayed", [draft(1, schema=None)], tmp_path / "j")[0] == first
    assert server.requests == []


def test_a_providers_own_key_goes_to_that_provider_alone(hosted, monkeypatch, tmp_path):
    monkeypatch.setenv("TOGETHER_API_KEY", "tgp_own")
    server = hosted(providers=provided("direct", "together"))
    teacher = Teacher("org/direct", provider="together", api_key_env="TOGETHER_API_KEY")
    (answer,), _ = ask(teacher, [draft(1, schema=None)], tmp_path / "j")
    assert isinstance(answer, Completion)
    assert server.asked("POST", ROUTER) == []
    carried = {r.host for r in server.requests if "tgp_own" in r.headers.get("authorization", "")}
    assert carried == {"api.together.xyz"}


@pytest.mark.parametrize(
    ("teacher", "says"),
    [
        (Teacher("org/x", api_key_env="OWN_KEY"), "`auto` works with one only. Name the provider"),
        (Teacher("org/x", provider="groq", api_key_env="OWN_KEY", bill_to="o"), "bill_to `o` works with one only"),
        (Teacher("org/x", provider="groq"), "does not begin with hf_, so it would be sent to the provider"),
        (Teacher("org/x"), "does not begin with hf_"),
    ],
    ids=["auto", "bill_to", "saved token of another form", "the same, auto"],
)
def test_a_key_that_would_go_where_it_must_not_is_refused_unsent(hosted, monkeypatch, teacher, says, tmp_path):
    server = hosted(providers=provided("x", "groq"))
    monkeypatch.setenv("OWN_KEY", "sk-canary")
    monkeypatch.setenv("HF_TOKEN", "api_org_canary")
    with pytest.raises(TeacherRefused, match=says) as caught:
        ask(teacher, [draft(1)], tmp_path / "j")
    assert "canary" not in str(caught.value)
    assert server.requests == []


# Secrets

CANARY = "hf_canary0123456789"


@pytest.mark.parametrize("way", ["endpoint, paused", "endpoint, redirected", "endpoint, echoed", "provider"])
def test_the_token_is_sent_to_hugging_face_alone_and_is_told_nowhere(hosted, monkeypatch, caplog, way, tmp_path):
    """Its hosts, a redirect to another origin, a server that repeats it: logs at DEBUG, errors, files."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("huggingface_hub").setLevel(logging.DEBUG)
    replies = {
        "endpoint, redirected": {f"POST {ENDPOINT_HOST}{CHAT}": REDIRECT},
        "endpoint, echoed": {f"POST {ENDPOINT_HOST}{CHAT}": status(403, f"Bearer {CANARY} may not")},
        "provider": {f"POST {ROUTER}/groq/openai{CHAT}": REDIRECT},
    }
    server = hosted(
        state="paused",
        tokens={CANARY: "all"},
        providers=provided("secret", "groq"),
        replies=replies.get(way),
    )
    monkeypatch.setenv("HF_TOKEN", CANARY)
    teacher = Teacher(MINE, pause_after=True)
    if way == "provider":
        teacher = Teacher("org/secret", provider="groq")
    told = ""
    try:
        (answer,), asker = ask(teacher, [draft(1, schema=None)], tmp_path / "j")
        told = repr(answer) + repr(asker) + repr(vars(asker).get("_client"))
        with pytest.raises(TypeError):
            pickle.dumps(asker)
    except TeacherRefused as error:
        assert way == "endpoint, echoed"
        told = f"{error!r} {vars(error)} {error.__cause__!r}"
    carried = {r.host for r in server.requests if CANARY in str(r.headers)}
    assert carried == ({HUB, ROUTER} if way == "provider" else {API, ENDPOINT_HOST})
    if "redirected" in way or way == "provider":
        (followed,) = server.asked("POST", ELSEWHERE)
        assert "authorization" not in followed.headers
    assert CANARY not in told + caplog.text + repr(teacher) + pickle.dumps(teacher).decode("latin-1")
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or CANARY.encode() not in file.read_bytes(), file


@pytest.mark.parametrize("host", [ELSEWHERE, "abc.endpoints.huggingface.cloud.elsewhere.example"])
def test_no_token_goes_to_an_address_that_is_not_hugging_faces_whatever_the_api_says(hosted, host, tmp_path):
    server = hosted(endpoint=Endpoint(state="running", host=host))
    with pytest.raises(TeacherRefused, match="no address of Hugging Face's; no token is sent there"):
        ask(MINE, [draft(1)], tmp_path / "j")
    assert {r.host for r in server.requests} == {API}


def test_an_api_that_redirects_elsewhere_takes_no_token_along(hosted):
    away = Fault("status", 302, b"", {"Location": f"https://{ELSEWHERE}/v2/endpoint/me/mine"})
    server = hosted(replies={f"GET {LOOK}": away})
    with pytest.raises(TeacherRefused, match="not found"):
        identify(MINE, TASK)
    (followed,) = server.asked("GET", ELSEWHERE)
    assert "authorization" not in followed.headers


# In processes of their own

OFFLINE = """
import sys
from pathlib import Path
from rebase_hf.errors import TeacherUnavailable
from rebase_hf.teacher.asking import identify
from tests.teacher.asks import TASK, ask, draft

journal = Path(sys.argv[1])
print(ask("endpoint:me/mine", [draft(1)], journal)[0][0].text)
for work in (lambda: ask("endpoint:me/mine", [draft(2)], journal), lambda: identify("endpoint:me/unseen", TASK)):
    try:
        work()
    except TeacherUnavailable as error:
        print(error)
"""
AT_EXIT = """
import asyncio, atexit, sys, threading
from pathlib import Path
from rebase_hf.teacher.target import Teacher
from rebase_hf.teacher.asking import open_teacher
from rebase_hf.teacher.journal import Journal
from tests.teacher.asks import TASK, draft

asked, over = threading.Event(), threading.Event()

async def lead():
    journal = Journal.open(Path(sys.argv[1]))
    asker = await open_teacher(Teacher("endpoint:me/mine", pause_after=True), TASK, journal)
    try:
        await asker.ask(draft(1))
        asked.set()
        while not over.is_set():
            await asyncio.sleep(0.01)
    finally:
        await asker.close()
        journal.close()

leader = threading.Thread(target=lambda: asyncio.run(lead()), daemon=True)
leader.start()
atexit.register(lambda: (over.set(), leader.join(20)))
asked.wait(30)
"""


def run_apart(server, tmp_path, script, **environment):
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "j")],
        cwd=ROOT,
        env=os.environ | server.environment | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_offline_the_journal_answers_and_anything_else_is_one_line(hosted, tmp_path):
    server = hosted()
    ((first,), _) = ask(MINE, [draft(1)], tmp_path / "j")
    server.requests.clear()
    began = time.monotonic()
    lines = run_apart(server, tmp_path, OFFLINE, HF_HUB_OFFLINE="1", PYTHONPATH=str(ROOT)).stdout.splitlines()
    assert lines[0] == first.text
    assert len(lines) == 3
    assert all("offline mode is enabled" in line for line in lines[1:])
    assert server.requests == []
    assert time.monotonic() - began < 60  # give_up_after is 600: there was nothing to wait for


def test_pause_after_pauses_while_the_interpreter_ends(hosted, tmp_path):
    """As when an iterator is left before its end: the leader's thread closes the teacher at exit."""
    server = hosted(state="paused")
    done = run_apart(server, tmp_path, AT_EXIT, PYTHONPATH=str(ROOT))
    assert (server.endpoint.state, actions(server), done.stderr) == ("paused", ["resume", "pause"], "")


@pytest.mark.slow
def test_an_api_that_never_answers_is_given_up(hosted):
    hosted(replies={f"GET {LOOK}": Fault("hang")})
    with pytest.raises(TeacherUnavailable, match="no answer within 15 s|ReadTimeout"):
        identify(MINE, TASK)
