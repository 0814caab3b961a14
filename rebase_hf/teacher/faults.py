"""What can go wrong with one request, and what is done about it: one table.

retry       ask again, after a pause; it costs the row an attempt, and when those are used up it is quarantined
wait        ask again later; the server is busy or away, so it costs the row nothing
widen       ask again with room for twice as many tokens, then quarantine
repair      show the teacher what it wrote and what is wrong with it, once, then quarantine
quarantine  this request will never be answered; the run goes on
abort       no request will be answered; the run stops

A `retry` may be an outage: the server fails whatever it is asked, and the row is not to blame. So before such a row is
quarantined, some request must have been answered since it first failed; see `endpoint.EndpointAsker`.
"""

import email.utils
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

Action = Literal["retry", "wait", "widen", "repair", "quarantine", "abort"]

DETAIL_CHARS = 300


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault.

    Attributes:
        name: What it is called; a quarantined row is counted under `reason`.
        attempts: How often a request is tried in all before it is quarantined (of `retry`, `widen` and `repair`).
        outage: It may be the server that fails, not this request.
    """

    name: str
    action: Action
    reason: str
    attempts: int = 1
    outage: bool = False


REFUSED_KEY = Fault("refused_key", "abort", "refused_key")
NOT_FOUND = Fault("not_found", "abort", "not_found")
WRONG_MODEL = Fault("wrong_model", "abort", "wrong_model")
WRONG_REQUEST = Fault("wrong_request", "abort", "wrong_request")
WRONG_ADDRESS = Fault("wrong_address", "abort", "wrong_address")
NO_CREDIT = Fault("no_credit", "abort", "no_credit")
BAD_REQUEST = Fault("bad_request", "quarantine", "bad_request")
TOO_LONG = Fault("too_long", "quarantine", "too_long")
ANSWER_TOO_LARGE = Fault("answer_too_large", "quarantine", "unreadable_answer")
SERVER_ERROR = Fault("server_error", "retry", "server_error", attempts=4, outage=True)
ERROR_IN_ANSWER = Fault("error_in_answer", "retry", "server_error", attempts=4, outage=True)
TIMEOUT = Fault("timeout", "retry", "timeout", attempts=2, outage=True)
CONNECTION_LOST = Fault("connection_lost", "retry", "connection_lost", attempts=4, outage=True)
UNREADABLE_ANSWER = Fault("unreadable_answer", "retry", "unreadable_answer", attempts=3, outage=True)
EMPTY_ANSWER = Fault("empty_answer", "retry", "empty_answer", attempts=2)
TRUNCATED_ANSWER = Fault("truncated_answer", "widen", "truncated_answer", attempts=2)
UNPARSABLE_ANSWER = Fault("unparsable_answer", "repair", "unparsable_answer", attempts=2)
WRONG_FIELDS = Fault("wrong_fields", "repair", "wrong_fields", attempts=2)
OVERLOADED = Fault("overloaded", "wait", "overloaded")
UNAVAILABLE = Fault("unavailable", "wait", "unavailable")
UNREACHABLE = Fault("unreachable", "wait", "unreachable")

# What a 4xx says decides before its status does: servers use 400, 404, 413 and 422 for the same things.
BY_BODY: tuple[tuple[re.Pattern[str], Fault], ...] = (
    (
        re.compile(
            r"server is pinned to|model_not_found|model_not_supported|not supported by (any )?provider|"
            r"model\W+\S+\W+(does not exist|not found)",
            re.I,
        ),
        WRONG_MODEL,
    ),
    (
        re.compile(
            r"context.?length|maximum context|max_total_tokens|inputs`? (tokens|must have less)|too (long|large)|"
            r"too many tokens|exceed\w* .{0,40}(context|tokens)|length limit exceeded",
            re.I,
        ),
        TOO_LONG,
    ),
    # What the proxy of an Inference Endpoint answers while it is paused.
    (re.compile(r"bad request: invalid state|endpoint is paused", re.I), UNAVAILABLE),
    (re.compile(r"grammar is not supported|failed to deserialize|unexpected fields", re.I), WRONG_REQUEST),
)
BY_STATUS: dict[int, Fault] = {
    400: BAD_REQUEST,
    401: REFUSED_KEY,
    402: NO_CREDIT,
    403: REFUSED_KEY,
    404: NOT_FOUND,
    405: NOT_FOUND,
    408: TIMEOUT,
    409: SERVER_ERROR,
    410: NOT_FOUND,
    413: TOO_LONG,
    415: WRONG_REQUEST,
    422: BAD_REQUEST,
    424: SERVER_ERROR,
    425: OVERLOADED,
    429: OVERLOADED,
    500: SERVER_ERROR,
    501: WRONG_REQUEST,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: TIMEOUT,
    529: OVERLOADED,
}
# By the name of the class or of one of its bases: the HTTP library is httpx or httpx2, as huggingface_hub has it.
BY_EXCEPTION: dict[str, Fault] = {
    "TimeoutError": TIMEOUT,
    "TimeoutException": TIMEOUT,
    "ConnectError": UNREACHABLE,
    "UnsupportedProtocol": WRONG_ADDRESS,
    "InvalidURL": WRONG_ADDRESS,
    "TooManyRedirects": WRONG_ADDRESS,
    "DecodingError": UNREADABLE_ANSWER,
    "AnswerTooLarge": ANSWER_TOO_LARGE,
    "TransportError": CONNECTION_LOST,
    "HTTPError": CONNECTION_LOST,
}
# By what a body with status 200 holds instead of a chat completion.
BY_ANSWER: dict[str, Fault] = {f.name: f for f in (UNREADABLE_ANSWER, ERROR_IN_ANSWER, EMPTY_ANSWER)}
# By what reading the text of an answer says (`prompts.parse_answer`).
BY_READING: dict[str, Fault] = {f.name: f for f in (UNPARSABLE_ANSWER, WRONG_FIELDS)}


@dataclass(frozen=True, slots=True)
class Incident:
    """One fault that happened.

    Attributes:
        detail: One line of what the server or the transport said.
        retry_after: Seconds that the server asked to be left alone for, if it did.
    """

    fault: Fault
    detail: str
    status: int | None = None
    retry_after: float | None = None


def classify(error: Exception, *, hide: Callable[[str], str] = str, sent: Iterable[str] = ()) -> Incident:
    """Return which fault an exception of a request is.

    Args:
        hide: Takes out of a text what nobody may see.
        sent: The texts of the request.
    """
    response = getattr(error, "response", None)
    if response is not None:
        return classify_response(response.status_code, hide(response.text), response.headers, sent)
    if (name := getattr(error, "fault", None)) is not None:
        return Incident(BY_ANSWER[name], one_line(hide(str(error))))
    for kind in type(error).__mro__:
        if fault := BY_EXCEPTION.get(kind.__name__):
            return Incident(fault, one_line(hide(f"{type(error).__name__}: {error}".removesuffix(": "))))
    raise TypeError(f"{type(error).__name__} is no fault of a request.") from error


def classify_response(status: int, text: str, headers: Any, sent: Iterable[str] = ()) -> Incident:
    """Return which fault a response that is no answer is."""
    fault = BY_STATUS.get(status) or (SERVER_ERROR if status >= 500 else BAD_REQUEST)
    if status in (400, 404, 413, 422):
        fault = _fault_by_body(text[:4000], sent) or fault
    retry_after = parse_retry_after(headers.get("retry-after"))
    return Incident(fault, one_line(f"{status} {text[:4000]}"), status=status, retry_after=retry_after)


def _fault_by_body(text: str, sent: Iterable[str]) -> Fault | None:
    """Return what an error's text says. Servers repeat the request in it, and a row must not speak for its server."""
    asked: str | None = None
    for pattern, fault in BY_BODY:
        for match in pattern.finditer(text):
            asked = _letters(" ".join(sent)) if asked is None else asked
            if _letters(match.group()) not in asked:
                return fault
    return None


def _letters(text: str) -> str:
    # Whatever quoting and escaping a text went through on its way, its words stay.
    return " ".join(re.findall(r"[^\W_]+", text)).lower()


def parse_retry_after(value: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for: a number or an HTTP date; None when it says neither.

    Example:
        >>> parse_retry_after("1.5"), parse_retry_after("soon")
        (1.5, None)
    """
    if not value:
        return None
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value.strip()):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def one_line(text: str) -> str:
    """Return `text` as one line, cut where it gets long."""
    line = " ".join(text.split())
    return line if len(line) <= DETAIL_CHARS else line[:DETAIL_CHARS] + "..."
