import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rebase_hf.errors import TeacherRefused, TeacherUnavailable
from rebase_hf.teacher.dialects import probe, server_root
from rebase_hf.teacher.served import last_seen
from rebase_hf.teacher.target import Teacher
from tests.doubles.tgi_server import TGIServer, status
from tests.teacher.asks import SCHEMA, ask, draft

MODELS = {"data": [{"id": "a", "owned_by": "me"}, {"id": "b", "owned_by": "me"}]}


@pytest.mark.parametrize("kind", ["tgi", "vllm", "llama.cpp", "openai"])
def test_each_kind_of_server_is_told_apart(kind):
    with TGIServer(kind=kind) as server:
        served = probe(Teacher(server.url))
    assert (served.dialect, served.model, served.identity.model) == (kind, "test/teacher", "test/teacher")


def test_tgi_tells_its_revision_and_its_limit():
    with TGIServer(max_concurrent_requests=50) as server:
        served = probe(Teacher(server.url))
        assert (served.identity.revision, served.max_concurrency) == (server.model_sha, 47)


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/v1/chat/completions"])
def test_any_of_a_servers_addresses_will_do(path, tmp_path):
    with TGIServer() as server:
        (answer,), _ = ask(server.url + path, [draft(1)], tmp_path / "j")
    assert answer.model == "test/teacher"
    assert server_root(server.url + path) == server.url


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("tgi", {"response_format": {"type": "json_object", "value": SCHEMA}}),
        ("vllm", {"structured_outputs": {"json": SCHEMA}}),
        ("llama.cpp", {"response_format": {"type": "json_object", "schema": SCHEMA}}),
        (
            "openai",
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA},
                }
            },
        ),
    ],
)
def test_a_schema_is_sent_as_each_kind_of_server_takes_it(kind, sent, tmp_path):
    with TGIServer(kind=kind) as server:
        (answer,), _ = ask(server.url, [draft(1)], tmp_path / "j")
        (body,) = server.chat_requests
    assert {name: body[name] for name in ("response_format", "structured_outputs") if name in body} == sent
    assert json.loads(answer.text)["message"] == "parcel number 1 has not come"


def test_the_dialect_can_be_chosen(tmp_path):
    with TGIServer(kind="openai") as server:
        ask(Teacher(server.url, dialect="none"), [draft(1)], tmp_path / "j")
        assert "response_format" not in server.chat_requests[0]


def test_free_text_is_asked_for_without_a_schema(tmp_path):
    with TGIServer() as server:
        ask(server.url, [draft(1, schema=None)], tmp_path / "j")
        assert "response_format" not in server.chat_requests[0]


@pytest.mark.parametrize("kind", ["tgi", "vllm", "openai"])
def test_a_model_that_is_not_served_is_refused_before_anything_is_asked(kind, tmp_path):
    with TGIServer(kind=kind) as server:
        with pytest.raises(TeacherRefused, match=r"`gpt-9`; it serves `test/teacher`.*--model") as caught:
            ask(Teacher(server.url, model="gpt-9"), [draft(1)], tmp_path / "j")
        assert server.chat_requests == []
    assert caught.value.status == 404


def test_one_of_several_models_must_be_named(tmp_path):
    with TGIServer(kind="openai", routes={"/v1/models": status(200, MODELS)}) as server:
        with pytest.raises(TeacherRefused, match=r"serves 2 models, `a`, `b`.*--model"):
            probe(Teacher(server.url))
        assert probe(Teacher(server.url, model="b")).model == "b"


def test_a_server_that_does_not_say_what_it_serves_is_asked_all_the_same(caplog, tmp_path):
    with TGIServer(kind="bare") as server:
        (answer,), _ = ask(server.url, [draft(1)], tmp_path / "j")
    assert answer.model == "unknown"
    assert "--model" in caplog.text


def test_a_key_that_the_list_of_models_wants_is_asked_for():
    with (
        TGIServer(kind="openai", routes={"/v1/models": status(401, "")}) as server,
        pytest.raises(TeacherRefused, match="401.*--api-key-env"),
    ):
        probe(Teacher(server.url))


def test_a_server_that_is_starting_says_so_with_its_status():
    with TGIServer(routes={"/info": status(503, "")}) as server, pytest.raises(TeacherUnavailable) as caught:
        probe(Teacher(server.url))
    assert caught.value.status == 503


class FailingList(BaseHTTPRequestHandler):
    """What `transformers serve` does without a Hub cache: 500 for the models, then the connection is torn down."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        said = json.dumps({"paths": {"/load_model": {}}}) if self.path == "/openapi.json" else "{}"
        self.answer({"/openapi.json": 200, "/v1/models": 500}.get(self.path, 404), said)
        if self.path == "/v1/models":
            self.connection.settimeout(5)
            self.connection.recv(1, socket.MSG_PEEK)  # the next question, which is lost unread; or the client's end
            self.close_connection = True

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(400, json.dumps({"detail": "Server is pinned to 'tiny'; requested 'which-model-is-served'."}))

    def answer(self, code, said):
        self.send_response(code)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said.encode())


def test_a_route_that_fails_and_hangs_up_does_not_take_the_next_question_with_it():
    with ThreadingHTTPServer(("127.0.0.1", 0), FailingList) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        served = probe(Teacher(f"http://127.0.0.1:{server.server_port}"))
        server.shutdown()
    assert (served.dialect, served.model) == ("transformers", "tiny")


def test_a_damaged_note_of_what_was_seen_is_forgotten(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("REBASE_HOME", str(tmp_path))
    (tmp_path / "endpoints.json").write_text("{")
    with TGIServer() as server:
        assert last_seen(Teacher(server.url)) is None
        served = probe(Teacher(server.url))
        assert last_seen(Teacher(server.url)) == served
