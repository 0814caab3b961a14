import email.utils
import json
import time

import pytest

from rebase_hf.errors import TeacherRefused
from rebase_hf.teacher import faults
from rebase_hf.teacher.asking import Unanswered
from rebase_hf.teacher.faults import BY_EXCEPTION, BY_STATUS, Fault, classify_response, parse_retry_after
from rebase_hf.teacher.target import Teacher
from rebase_hf.teacher.transport import REQUEST_ERRORS, MalformedAnswer, check_shape, httpx
from tests.doubles import tgi_server as tgi
from tests.doubles.tgi_server import Answer, TGIServer, answer_from_prompt, raw, status
from tests.teacher.asks import ask, draft

QUICK = {"timeout": 0.4, "dialect": "tgi"}
LONG_422 = status(422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 99. Given: 1"})
LLAMA_400 = status(400, {"error": {"code": 400, "type": "exceed_context_size_error", "message": "context length"}})


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr("rebase_hf.teacher.endpoint.FIRST_PAUSE", 0.01)


@pytest.mark.parametrize(
    ("fault", "reason", "tries"),
    [
        (status(500), "server_error", 4),
        (status(424), "server_error", 4),
        (status(504), "timeout", 2),
        (status(599), "server_error", 4),
        (status(413, "length limit exceeded"), "too_long", 1),
        (LONG_422, "too_long", 1),
        (LLAMA_400, "too_long", 1),
        (status(422), "bad_request", 1),
        (status(400), "bad_request", 1),
        (status(418), "bad_request", 1),
        (tgi.RESET, "connection_lost", 4),
        (tgi.CLOSE, "connection_lost", 4),
        (tgi.CUT, "connection_lost", 4),
        (tgi.HANG, "timeout", 2),
        (tgi.SLOW, "timeout", 2),
        (tgi.HTML, "unreadable_answer", 3),
        (tgi.BAD_UTF8, "unreadable_answer", 3),
        (tgi.JSON_LIST, "unreadable_answer", 3),
        (tgi.DEEP_JSON, "unreadable_answer", 3),
        (raw(b""), "unreadable_answer", 3),
        (raw(b'{"choices": [{"mess'), "unreadable_answer", 3),
        (raw(b"1" * 10_000), "unreadable_answer", 3),
        (tgi.ERROR_200, "server_error", 4),
        (tgi.NO_CHOICES, "empty_answer", 2),
        (tgi.EMPTY_CHOICES, "empty_answer", 2),
        (raw(b'{"choices": [7]}'), "empty_answer", 2),
        (raw(b'{"choices": [{"message": "text"}]}'), "empty_answer", 2),
        (Answer(None), "empty_answer", 2),
        (Answer(""), "empty_answer", 2),
    ],
    ids=lambda value: f"{value.kind}-{value.status}" if isinstance(value, tgi.Fault) else None,
)
def test_a_request_without_a_usable_answer_is_quarantined_and_the_run_goes_on(fault, reason, tries, tmp_path):
    def answer(request, call):
        return fault if "number 1 " in request["messages"][-1]["content"] else answer_from_prompt(request)

    with TGIServer(answer, enforce_schema=False) as server:
        outcomes, _ = ask(Teacher(server.url, **QUICK), [draft(n) for n in range(3)], tmp_path / "j")
        poisoned = [b for b in server.chat_requests if "number 1 " in b["messages"][-1]["content"]]
        again, asker = ask(Teacher(server.url, **QUICK), [draft(1)], tmp_path / "j")
    assert isinstance(outcomes[1], Unanswered)
    assert (outcomes[1].reason, outcomes[1].attempts, len(poisoned)) == (reason, tries, tries)
    assert [json.loads(outcomes[n].text)["message"][:15] for n in (0, 2)] == ["parcel number 0", "parcel number 2"]
    assert (again[0].reason, again[0].detail) == (outcomes[1].reason, outcomes[1].detail)
    assert asker.usage.requests == 0


@pytest.mark.parametrize(
    "fault",
    [status(500), tgi.RESET, tgi.CLOSE, tgi.CUT, tgi.HANG, tgi.HTML, tgi.ERROR_200, tgi.NO_CHOICES, Answer("")],
)
def test_a_fault_that_passes_costs_no_row(fault, tmp_path):
    def answer(request, call):
        return fault if call == 1 else answer_from_prompt(request)

    with TGIServer(answer, enforce_schema=False) as server:
        (answer,), asker = ask(Teacher(server.url, **QUICK), [draft(1)], tmp_path / "j")
    assert json.loads(answer.text)["team"] in ("billing", "travel")
    assert (asker.usage.requests, asker.usage.retries) == (2, 1)


@pytest.mark.parametrize("code", [429, 503, 502, 529])
def test_a_busy_server_costs_the_row_no_attempt(code, tmp_path):
    with TGIServer(lambda request, call: status(code) if call <= 8 else answer_from_prompt(request)) as server:
        (answer,), asker = ask(server.url, [draft(1)], tmp_path / "j")
    assert json.loads(answer.text)["message"]
    assert (asker.usage.requests, asker.usage.refused, asker.usage.retries) == (9, 8, 0)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (status(401, ""), "401.*--api-key-env"),
        (status(403, ""), "403.*--api-key-env"),
        (status(404, ""), "404.*--teacher"),
        (status(402, ""), "402"),
        (status(415, ""), "415"),
        (status(501, ""), "501"),
        (status(404, {"error": {"code": "model_not_found", "message": "The model `x` does not exist."}}), "--model"),
        (status(400, {"detail": "Server is pinned to '/m/tiny'; requested 'x'."}), r"it serves `/m/tiny`.*--model"),
        (status(422, "Failed to deserialize the JSON body: response_format: missing field `value`"), "dialect"),
        (status(422, {"error": "Input validation error: grammar is not supported"}), "dialect"),
        (status(422, {"detail": "Unexpected fields in the request: {'x'}"}), "dialect"),
    ],
)
def test_what_no_request_gets_past_stops_the_run_at_once(fault, says, tmp_path):
    with TGIServer(lambda *_: fault) as server:
        teacher = Teacher(server.url, max_concurrency=2)
        with pytest.raises(TeacherRefused, match=says) as caught:
            ask(teacher, [draft(n) for n in range(50)], tmp_path / "j")
        assert len(server.chat_requests) <= 2
    assert caught.value.status == fault.status
    assert caught.value.url == server.url
    assert "\n" not in str(caught.value)


def test_every_error_of_the_http_library_is_in_the_table():
    def below(kind):
        return {kind}.union(*(below(child) for child in kind.__subclasses__()))

    for kind in below(httpx.HTTPError) - below(httpx.HTTPStatusError):
        assert any(base.__name__ in BY_EXCEPTION for base in kind.__mro__), kind
    assert any(issubclass(httpx.ConnectError, kind) for kind in REQUEST_ERRORS)


def test_every_fault_has_one_of_the_four_ends():
    table = [value for value in vars(faults).values() if isinstance(value, Fault)]
    assert {fault.action for fault in table} == {"retry", "wait", "quarantine", "abort"}
    assert all(fault.attempts > 1 for fault in table if fault.action == "retry")
    assert set(BY_STATUS.values()) | set(BY_EXCEPTION.values()) <= set(table)


def test_an_answer_that_speaks_of_models_is_not_taken_for_a_wrong_model():
    text = json.dumps({"error": "Input validation error: the schema of model `a` has no properties"})
    assert classify_response(422, text, {}).fault.name == "bad_request"


def test_retry_after_is_read_as_seconds_and_as_a_date():
    assert parse_retry_after("3") == 3.0
    assert parse_retry_after(email.utils.formatdate(time.time() + 30, usegmt=True)) == pytest.approx(30, abs=2)
    assert parse_retry_after(email.utils.formatdate(time.time() - 30, usegmt=True)) == 0.0
    assert [parse_retry_after(value) for value in (None, "", "soon", "-1", "nan")] == [None] * 5


@pytest.mark.parametrize("body", [b"\xff", b"{}", b"null", b'"text"', b"[" * 100_000, b'{"choices": {"0": 1}}'])
def test_what_is_no_completion_is_told_by_its_shape(body):
    with pytest.raises(MalformedAnswer):
        check_shape(body)
