"""Whatever a server sends is read or refused: no other exception, in bounded time and memory."""

import gzip
import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebase_hf.rows import Draft
from rebase_hf.teacher.asking import Unanswered
from rebase_hf.teacher.faults import parse_retry_after
from rebase_hf.teacher.prompts import MAX_ANSWER_CHARS, Parsed, Unreadable, answer_keys, parse_answer, repair_draft
from rebase_hf.teacher.transport import MalformedAnswer, read_answer
from tests.doubles.tgi_server import Fault, TGIServer
from tests.teacher.asks import ask, draft
from tests.teacher.tasks import COPY, REASONING, TRIAGE

MEGABYTE = 1_000_000
SECONDS_PER_MEGABYTE = 2.0
TIMES_THE_INPUT = 50
FAULTS = {"unreadable_answer", "error_in_answer", "empty_answer"}

# --- what reads as an answer

GOOD = '{"message": "Where is it?", "team": "delivery"}'
READ = Parsed({"message": "Where is it?", "team": "delivery"})


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"\n {GOOD}\n",
        f"Here it is:\n{GOOD}\nI hope that {{this}} helps.",
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}\n```",
        f"```JSON {GOOD}```",
        f"```python\nx = {{1}}\n```\n```json\n{GOOD}\n```",
        f"{GOOD[:-1]} ,{GOOD}",
        '{"draft": 1} ' + GOOD,
        "Let {x}: " * 300 + GOOD,
        GOOD + " and {x}" * 300,
        '{"a": ' * 60 + GOOD,
        '<think>{"message": "draft", "team": "billing"}</think>\n' + GOOD,
        '{"message": "draft", "team": "billing"} perhaps.</think>\n' * 2 + GOOD,
        '<think>I write {"message": "draft", "team": "billing"}, then </think>.</think>\n' + GOOD,
        '{"team": "delivery", "message": " Where is it? "}',
        '{"message": "Where is it?\x00", "team": "delivery"}',
    ],
)
def test_what_stands_around_an_answer_is_forgiven(text):
    assert parse_answer(TRIAGE, text) == READ


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("12", "12"),
        ("1.50", "1.50"),
        ("-0", "-0"),
        ("1e999", "1e999"),
        ("9" * 5000, "9" * 5000),
        ("true", "true"),
        ("false", "false"),
        ('"a\\nb"', "a\nb"),
        ('"a\nb"', "a\nb"),
        ('"\\ud83d\\ude00"', "😀"),
        ('"\\ud83d"', "?"),
        ('""', ""),
        ('"<b>"', "<b>"),
        ('"</think>{}"', "</think>{}"),
        ('"```json {}"', "```json {}"),
    ],
)
def test_a_lone_value_is_read_as_it_is_written(value, text):
    assert parse_answer(COPY, f'{{"input": "x", "output": {value}}}') == Parsed({"input": "x", "output": text})


@pytest.mark.parametrize(
    ("text", "reason", "detail"),
    [
        ("", "unparsable_answer", "it holds no valid JSON object"),
        ("no", "unparsable_answer", "it holds no valid JSON object"),
        (GOOD[:-1], "unparsable_answer", "it holds no valid JSON object"),
        (f"[{GOOD[1:-1]}]", "unparsable_answer", "it holds no valid JSON object"),
        ('{"message": "a", "message": "b", "team": "billing"}', "unparsable_answer", "it holds no valid JSON object"),
        ('{"message": NaN, "team": "billing"}', "unparsable_answer", "it holds no valid JSON object"),
        ('{"message": -Infinity, "team": "billing"}', "unparsable_answer", "it holds no valid JSON object"),
        ("{'message': 'a', 'team': 'b'}", "unparsable_answer", "it holds no valid JSON object"),
        ('{"message": "a"}', "wrong_fields", "it lacks 'team'"),
        (f'{GOOD[:-1]}, "why": "x"}}', "wrong_fields", "it has 1 key that was not asked for"),
        (
            '{"text": "a", "team": "b"}',
            "wrong_fields",
            "it lacks 'message' and it has 1 key that was not asked for",
        ),
        ('{"Message": "a", "team": "b"}', "wrong_fields", "it lacks 'message' and it has 1 key that was"),
        (f'{{"{"k" * 5000}": "a", "b": 1}}', "wrong_fields", "it lacks 'message', 'team' and it has 2 keys that were"),
        ('{"message": ["a"], "team": "b"}', "wrong_fields", "'message' is a list, not a text"),
        ('{"message": {"a": 1}, "team": "b"}', "wrong_fields", "'message' is an object, not a text"),
        ('{"message": null, "team": "b"}', "wrong_fields", "'message' is null, not a text"),
        (f'{{"example": {GOOD}}}', "wrong_fields", "it lacks 'message', 'team' and it has 1 key that was"),
        ("x" * (MAX_ANSWER_CHARS + 1), "unparsable_answer", "it is 200001 characters long, more than 200000"),
    ],
)
def test_what_is_no_answer_is_named(text, reason, detail):
    found = parse_answer(TRIAGE, text)
    assert isinstance(found, Unreadable)
    assert found.reason == reason
    assert found.detail.startswith(detail)
    assert len(found.detail) < 300


def test_a_reasoning_task_needs_its_rationale():
    assert parse_answer(REASONING, '{"message": "a", "rationale": " b ", "team": "billing"}') == Parsed(
        {"message": "a", "team": "billing"}, "b"
    )
    assert parse_answer(REASONING, GOOD) == Unreadable("wrong_fields", "it lacks 'rationale'")


# --- any text, any bytes

_PARTS = ["{", "}", '"message"', '"team"', ":", ",", '"billing"', "```", "json", "\n", "[", "]", "NaN", "1e9", "\\u"]
TEXTS = st.one_of(
    st.text(),
    st.binary().map(lambda data: data.decode("utf-8", "surrogateescape")),
    st.lists(st.one_of(st.sampled_from(_PARTS), st.text(max_size=4)), max_size=30).map("".join),
)
# Any JSON, with the keys and the values that a chat completion is read by, in the right places and in wrong ones.
_NUMBERS = st.one_of(st.integers(), st.floats(), st.sampled_from([10**30, -1, 1e308, True, 10**400]))
_KEYS = st.one_of(st.sampled_from(["choices", "message", "content", "error", "usage", "finish_reason"]), st.text())
_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), _NUMBERS, st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_KEYS, inner, max_size=4)),
    max_leaves=12,
)
_COMPLETIONS = st.fixed_dictionaries(
    {"choices": st.lists(st.fixed_dictionaries({"message": st.fixed_dictionaries({"content": _VALUES})}) | _VALUES)},
    optional={"usage": _VALUES, "error": _VALUES, "object": _VALUES},
)
BODIES = st.one_of(
    st.binary(),
    TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")),
    (_VALUES | _COMPLETIONS).map(lambda value: json.dumps(value).encode()),
)


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_any_text_is_read_or_refused(text):
    found = parse_answer(TRIAGE, text)
    if isinstance(found, Parsed):
        assert list(found.fields) == ["message", "team"]
        "".join(found.fields.values()).encode()
    else:
        assert found.reason in ("unparsable_answer", "wrong_fields")
    problem = found if isinstance(found, Unreadable) else Unreadable("x", "y")
    repair_draft(answer_keys(TRIAGE), Draft((), None), text, problem)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["message", "team"]), st.text(), min_size=2), st.text(), st.text())
def test_any_texts_in_an_object_are_read(fields, before, after):
    found = parse_answer(TRIAGE, f"{before.replace('{', '')}\n{json.dumps(fields)}\n{after.replace('<', '')}")
    if "```" not in before + after + "".join(fields.values()) and "</think>" not in "".join(fields.values()):
        assert isinstance(found, Parsed)
        clean = {k: v.encode("utf-8", "replace").decode().replace("\x00", "").strip() for k, v in fields.items()}
        assert dict(found.fields) == clean


def read(body: bytes) -> str:
    """Read the body of an answer as the teacher's client and the leader do; return what came of it."""
    try:
        answer = read_answer(body)
    except MalformedAnswer as error:
        return error.fault if len(str(error)) < 1000 else "too much is said about it"
    content = answer["text"]
    assert isinstance(content, str) and content and isinstance(answer["finish_reason"], str)
    for name in ("prompt_tokens", "completion_tokens"):
        assert answer[name] is None or (type(answer[name]) is int and 0 <= answer[name] < 2**63)
    found = parse_answer(TRIAGE, content)
    return "read" if isinstance(found, Parsed) else found.reason


@settings(max_examples=500, deadline=None)
@given(BODIES)
def test_any_bytes_are_read_or_refused(body):
    assert read(body) in FAULTS | {"read", "unparsable_answer", "wrong_fields"}


def completion(text: str, **more: Any) -> bytes:
    answer = {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}], **more}
    return json.dumps(answer).encode()


@pytest.mark.parametrize("given", [GOOD, GOOD.replace("Where", "\U0001f4e6 Wo"), f"```json\n{GOOD}\n```"])
def test_an_answer_cut_anywhere_is_never_taken_for_the_whole(given):
    body = completion(given, usage={"prompt_tokens": 9, "completion_tokens": 9})
    assert read(body) == "read"
    assert {read(body[:end]) for end in range(len(body))} == {"unreadable_answer"}
    whole = given.rindex("}") + 1
    assert {type(parse_answer(TRIAGE, given[:end])) for end in range(whole)} == {Unreadable}
    assert {type(parse_answer(TRIAGE, given[:end])) for end in range(whole, len(given))} <= {Parsed}


@pytest.mark.parametrize("usage", [None, 5, [], "x", {"prompt_tokens": "many"}, {"prompt_tokens": {}}, {"a": [1e999]}])
def test_wrong_counts_of_tokens_cost_no_answer(usage):
    assert read(completion(GOOD, usage=usage)) == "read"


def test_a_byte_order_mark_is_no_fault():
    assert read(b"\xef\xbb\xbf" + completion(GOOD)) == "read"
    assert parse_answer(TRIAGE, "\ufeff" + GOOD) == READ


# --- hostile ones: a megabyte of each

NESTS = {
    "brackets": "[",
    "braces": "{",
    "objects": '{"a":',
    "mixed": '[{"a":',
    "labelled": '{"message":["',
    "quotes": '"',
    "backslashes": "\\",
    "escaped quotes": '\\"',
    "brackets, closed": "[],",
    "objects, closed": "{},",
    "small objects": '{"a":1},',
    "opened objects": '{"a":{},',
    "numbers": "1,",
    "digits": "9",
    "not numbers": "NaN,",
    "infinities": "-Infinity,1e999,",
    "surrogates": "\\ud800",
    "fences": "```",
    "fences with braces": "```{",
    "opened fences": "```json\n{",
    "half fences": "`` `",
    "thoughts": "</think>",
    "opened thoughts": "<think>{",
    "marks": "\u0301",
    "blanks": " \n",
    "tags": "\U000e0041",
    "nuls": "\x00",
    "answers": GOOD[:-1] + ",",
}
# What opens before the megabyte and what closes after it: the parser must enter it, and come out at the end.
FRAMES = {
    "bare": ("", ""),
    "in an object": ('{"message": [', "]}"),
    "in a text": ('{"team": "', '"}'),
    "in a fence": ("```json\n", "\n```"),
    "in fifty objects": ('{"a":' * 50 + "[", "1]"),
}


def seconds(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def peak_memory(work: Callable[[], Any]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("nest", NESTS)
def test_a_hostile_text_is_refused_in_bounded_time_and_memory(nest):
    for name, (before, after) in FRAMES.items():
        room = MAX_ANSWER_CHARS - len(before) - len(after)
        text = before + (NESTS[nest] * (room // len(NESTS[nest]))) + after
        assert isinstance(parse_answer(TRIAGE, text), Unreadable), name
        assert seconds(lambda text=text: parse_answer(TRIAGE, text)) < SECONDS_PER_MEGABYTE / 2, name
    assert peak_memory(lambda: parse_answer(TRIAGE, text)) < TIMES_THE_INPUT * len(text)


@pytest.mark.slow
@pytest.mark.parametrize("nest", NESTS)
def test_a_megabyte_of_hostile_body_is_refused_in_bounded_time_and_memory(nest):
    nested = (NESTS[nest] * (MEGABYTE // len(NESTS[nest].encode()))).encode()
    frames = {b"[": b"1]", b'{"error": [': b"1]}", b'{"choices": [{"message": {"content": "': b'"}}]}'}
    for before, after in frames.items():
        body = before + nested + after
        assert read(body) in FAULTS | {"unparsable_answer"}
        assert seconds(lambda body=body: read(body)) < SECONDS_PER_MEGABYTE
    assert peak_memory(lambda: read(b"[" + nested + b"1]")) < TIMES_THE_INPUT * MEGABYTE


@pytest.mark.parametrize("depth", [10, 100, 300, 600, 900, 990, 1000, 1100, 10_000, 100_000])
@pytest.mark.parametrize(("opens", "closes"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_no_depth_of_nesting_gets_past(depth, opens, closes):
    nest = opens * depth + "1" + closes * depth
    assert isinstance(parse_answer(TRIAGE, nest), Unreadable)
    assert isinstance(parse_answer(TRIAGE, f'{{"message": {nest}, "team": "billing"}}'), Unreadable)
    for body in (nest, f'{{"error": {nest}}}', f'{{"choices": {nest}}}', f'{{"choices": [{{"message": {nest}}}]}}'):
        assert read(body.encode()) in FAULTS


# --- through the whole client


def packed(body: bytes) -> Fault:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    return Fault("status", 200, gzip.compress(body), headers)


def test_a_small_body_that_unpacks_to_a_huge_one_is_refused_in_bounded_memory(tmp_path):
    bomb = packed(b" " * 150 * MEGABYTE + completion(GOOD))
    assert len(bomb.body) < MEGABYTE

    def answer(request: dict[str, Any], call: int) -> Any:
        return bomb if "number 0 " in request["messages"][-1]["content"] else GOOD

    with TGIServer(answer, enforce_schema=False) as server:
        tracemalloc.start()
        try:
            (refused, answered), _ = ask(server.url, [draft(0, schema=None), draft(1, schema=None)], tmp_path / "j")
            assert tracemalloc.get_traced_memory()[1] < 100 * MEGABYTE
        finally:
            tracemalloc.stop()
    assert isinstance(refused, Unanswered) and refused.reason == "unreadable_answer"
    assert answered.text == GOOD


def test_a_packed_body_is_read_though_nobody_asked_for_it(tmp_path):
    with TGIServer(lambda request, call: packed(completion(GOOD))) as server:
        (answered,), _ = ask(server.url, [draft(1)], tmp_path / "j")
    assert answered.text == GOOD


@pytest.mark.parametrize("count", [10**30, 2**63, -5, True, 1.5, "9", None, [1]])
def test_no_count_of_tokens_that_a_server_tells_breaks_the_journal(count, tmp_path):
    body = completion(GOOD, usage={"prompt_tokens": count, "completion_tokens": count})
    with TGIServer(lambda request, call: Fault("status", 200, body, {"Content-Type": "application/json"})) as server:
        (answered,), asker = ask(server.url, [draft(1)], tmp_path / "j")
        (again,), _ = ask(server.url, [draft(1)], tmp_path / "j")
    assert answered == again and answered.text == GOOD
    assert 0 <= asker.usage.prompt_tokens < 10**6 and 0 <= asker.usage.completion_tokens < 10**6


@pytest.mark.parametrize("limit", [10**400, -1, 0, True, 1.5, "128", None, [128], {"a": 1}])
def test_no_limit_that_a_server_tells_breaks_the_probe(limit, tmp_path):
    with TGIServer() as server:
        info = {"model_id": "test/teacher", "model_sha": None, "max_concurrent_requests": limit}
        server.routes["/info"] = Fault("status", 200, json.dumps(info).encode(), {"Content-Type": "application/json"})
        (answered,), asker = ask(server.url, [draft(1)], tmp_path / "j")
    assert answered.text and 1 <= asker.concurrency < 10_000


_DATES = st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,12} \d\d:\d\d:\d\d( GMT| -0000|)", fullmatch=True)


@settings(max_examples=300, deadline=None)
@given(st.text() | _DATES)
def test_any_retry_after_is_a_number_of_seconds_or_nothing(value):
    seconds = parse_retry_after(value)
    assert seconds is None or seconds >= 0
