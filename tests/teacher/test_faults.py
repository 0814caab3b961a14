import email.utils
import json
import threading
import time
from typing import get_args

import pytest

from rebase_hf.errors import TeacherRefused, TeacherUnavailable
from rebase_hf.rows import Completion
from rebase_hf.teacher import faults
from rebase_hf.teacher.asking import Unanswered
from rebase_hf.teacher.connections import MAX_ANSWER_BYTES, httpx
from rebase_hf.teacher.faults import (
    BY_ANSWER,
    BY_BODY,
    BY_EXCEPTION,
    BY_READING,
    BY_STATUS,
    TRUNCATED_ANSWER,
    Fault,
    classify_response,
    parse_retry_after,
)
from rebase_hf.teacher.target import Teacher
from rebase_hf.teacher.transport import REQUEST_ERRORS, MalformedAnswer, read_answer
from tests.doubles import tgi_server as tgi
from tests.doubles.tgi_server import Answer, TGIServer, answer_from_prompt, raw, status
from tests.teacher.asks import ask, draft

QUICK = {"timeout": 0.4, "dialect": "tgi"}
LONG_422 = status(422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 99. Given: 1"})
LLAMA_400 = status(400, {"error": {"code": 400, "type": "exceed_context_size_error", "message": "context length"}})


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr("rebase_hf.teacher.sending.FIRST_PAUSE", 0.01)


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
        (raw(b"x" * (MAX_ANSWER_BYTES + 1)), "unreadable_answer", 1),
        (tgi.ERROR_200, "server_error", 4),
        (tgi.NO_CHOICES, "empty_answer", 2),
        (tgi.EMPTY_CHOICES, "empty_answer", 2),
        (raw(b'{"choices": [7]}'), "empty_answer", 2),
        (raw(b'{"choices": [{"message": "text"}]}'), "empty_answer", 2),
        (Answer(None), "empty_answer", 2),
        (Answer(""), "empty_answer", 2),
        (Answer("{", "length"), "truncated_answer", 2),
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
    # A lone request that takes too long is asked again only once the server has given a sign of life.
    assert (asker.usage.requests, asker.usage.retries) == (3 if fault is tgi.HANG else 2, 1)


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


def test_every_fault_has_one_of_the_six_ends():
    table = [value for value in vars(faults).values() if isinstance(value, Fault)]
    assert {fault.action for fault in table} == set(get_args(faults.Action))
    assert all((fault.attempts > 1) == (fault.action in ("retry", "widen", "repair")) for fault in table)
    told = {fault for _, fault in BY_BODY} | {TRUNCATED_ANSWER}
    told |= {fault for kind in (BY_STATUS, BY_EXCEPTION, BY_ANSWER, BY_READING) for fault in kind.values()}
    assert told == set(table)
    assert {reason for fault in table if fault.action == "repair" for reason in [fault.reason]} == set(BY_READING)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [status(500), tgi.RESET, tgi.HANG, tgi.HTML, tgi.ERROR_200])
def test_an_outage_costs_no_row_whatever_it_looks_like(fault, tmp_path):
    down = threading.Event()
    down.set()

    def answer(request, call):
        return fault if down.is_set() else answer_from_prompt(request)

    with TGIServer(answer, enforce_schema=False) as server:
        threading.Timer(3.0, down.clear).start()
        outcomes, asker = ask(Teacher(server.url, timeout=1.0), [draft(n) for n in range(20)], tmp_path / "j")
    assert all(isinstance(outcome, Completion) for outcome in outcomes)
    assert asker.usage.retries > 20


def test_an_outage_that_does_not_end_ends_the_run_and_keeps_no_failure(tmp_path, caplog):
    with TGIServer(lambda *_: status(500)) as server:
        with pytest.raises(TeacherUnavailable, match=r"gave no answer for 1.5 s .*run the same command again"):
            ask(server.url, [draft(n) for n in range(20)], tmp_path / "j", give_up_after=1.5)
        assert "fails whatever it is asked" in caplog.text
        server.answer = answer_from_prompt
        outcomes, _ = ask(server.url, [draft(n) for n in range(20)], tmp_path / "j")
    assert all(isinstance(outcome, Completion) for outcome in outcomes)


def test_rows_that_no_server_can_answer_are_told_from_an_outage_by_a_sign_of_life(tmp_path):
    def answer(request, call):
        return status(500) if "number" in request["messages"][-1]["content"] else answer_from_prompt(request)

    with TGIServer(answer) as server:
        outcomes, _ = ask(server.url, [draft(n) for n in range(12)], tmp_path / "j", give_up_after=30.0)
        signs = [b for b in server.chat_requests if "number" not in b["messages"][-1]["content"]]
    assert {(outcome.reason, outcome.attempts) for outcome in outcomes} == {("server_error", 4)}
    assert 1 <= len(signs) <= 12
    assert all(sign["max_tokens"] <= 8 for sign in signs)


@pytest.mark.parametrize(
    "row",
    [
        'the model "gpt-4" does not exist',
        "Your endpoint is paused, ask to restart it",
        "Failed to deserialize the JSON body; the server is pinned to x",
        "maximum context length exceeded\nby this row",
        "401 grammar is not supported; model_not_found",
    ],
)
def test_a_row_that_a_server_repeats_in_its_error_does_not_speak_for_the_server(row, tmp_path):
    def answer(request, call):  # as FastAPI does
        if "number" in request["messages"][-1]["content"]:
            return answer_from_prompt(request)
        said = [{"type": "string_type", "loc": ["body", "messages"], "msg": "wrong", "input": request["messages"]}]
        return status(422, {"detail": said})

    with TGIServer(answer) as server:
        outcomes, _ = ask(server.url, [draft(text=row), draft(1)], tmp_path / "j", give_up_after=5)
    assert (outcomes[0].reason, outcomes[0].attempts) == ("bad_request", 1)
    assert isinstance(outcomes[1], Completion)


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
        read_answer(body)
