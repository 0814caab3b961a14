"""A loopback double of text-generation-inference 3.3, with faults on demand.

It enforces TGI's contract as its router has it (v3.3.7): the permit is taken before validation, so an overloaded
server answers 429 even to what would be 422; OpenAI's `json_schema` is a 422 with serde's text; a schema is compiled
by outlines_core, as TGI compiles it, and an answer that it does not allow is never given; `max_tokens` cuts.

    with TGIServer(answer=lambda request, call: "...") as server:
        server.url, server.requests, server.chat_requests

`answer(request, call)` is called with the body and with how many times this very question (messages and seed) has
been asked, from 1; it returns a text, an `Answer`, or a `Fault`. Without it the double answers from the prompt: a
field gets what stands beside its name in the last message, an enumerated one a choice by the message's digest.
"""

import argparse
import hashlib
import json
import math
import re
import signal
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

CHARS_PER_TOKEN = 4


@dataclass(frozen=True)
class Fault:
    """Something other than an answer. `kind`: status, reset, close, hang, slow, cut."""

    kind: str
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 60.0


@dataclass(frozen=True)
class Answer:
    """A text with the finish reason that it is to have."""

    text: str | None
    finish_reason: str = "stop"


def status(code: int, body: Any = None, *, retry_after: str | None = None) -> Fault:
    if body is None:
        body = {"error": f"status {code}", "error_type": "test"}
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    headers["Content-Type"] = "text/plain" if isinstance(body, str) else "application/json"
    return Fault("status", code, content, headers)


def raw(body: bytes, code: int = 200, content_type: str = "application/json") -> Fault:
    return Fault("status", code, body, {"Content-Type": content_type})


RESET = Fault("reset")
CLOSE = Fault("close")
HANG = Fault("hang")
SLOW = Fault("slow")
CUT = Fault("cut")
HTML = raw(b"<html><body>502 Bad Gateway</body></html>", 200, "text/html")
ERROR_200 = status(200, {"error": "CUDA out of memory", "error_type": "generation"})
NO_CHOICES = status(200, {"id": "x", "choices": None})
EMPTY_CHOICES = status(200, {"id": "x", "choices": []})
BAD_UTF8 = raw(b'{"choices": [{"message": {"content": "\xff\xfe"}}]}')
JSON_LIST = raw(b"[1, 2]")
DEEP_JSON = raw(b"[" * 200_000)
OVERLOADED = status(429, {"error": "Model is overloaded", "error_type": "overloaded"})

Reply = str | Answer | Fault
Script = Callable[[dict[str, Any], int], Reply]


@dataclass(frozen=True)
class Recorded:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)


class TGIServer:
    """The double. `kind` makes it look like another server: `vllm`, `llama.cpp`, `openai`, or `bare` (chat only)."""

    def __init__(
        self,
        answer: Script | None = None,
        *,
        model_id: str = "test/teacher",
        model_sha: str | None = "0123456789abcdef0123456789abcdef01234567",
        api_key: str | None = None,
        latency: float = 0.0,
        max_concurrent_requests: int = 128,
        max_total_tokens: int = 32_768,
        enforce_schema: bool = True,
        kind: str = "tgi",
        routes: Mapping[str, Reply] | None = None,
        port: int = 0,
    ) -> None:
        self.answer = answer or answer_from_prompt
        self.model_id = model_id
        self.model_sha = model_sha
        self.api_key = api_key
        self.latency = latency
        self.max_concurrent_requests = max_concurrent_requests
        self.max_total_tokens = max_total_tokens
        self.enforce_schema = enforce_schema
        self.kind = kind
        self.routes = dict(routes or {})
        self.requests: list[Recorded] = []
        self.calls: Counter[str] = Counter()
        self.in_flight = 0
        self.most_in_flight = 0
        self.turned_away = 0
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self._http = _HTTPServer(("127.0.0.1", port), _Handler)
        self._http.double = self
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def chat_requests(self) -> list[dict[str, Any]]:
        """The bodies of all chat completions that were asked for, in the order in which they came in."""
        with self.lock:
            return [r.json for r in self.requests if r.method == "POST" and r.path.endswith("/chat/completions")]

    def forget(self) -> None:
        """Forget what was recorded."""
        with self.lock:
            self.requests.clear()
            self.calls.clear()
            self.most_in_flight = self.turned_away = 0

    def __enter__(self) -> "TGIServer":
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._http.hang_up()

    def get(self, path: str) -> Reply:
        """What a GET of `path` is answered with."""
        if path in self.routes:
            return self.routes[path]
        models = {"object": "list", "data": [{"id": self.model_id, "object": "model", "owned_by": self._owner()}]}
        info = {
            "model_id": self.model_id,
            "model_sha": self.model_sha,
            "max_concurrent_requests": self.max_concurrent_requests,
            "max_input_tokens": self.max_total_tokens - 1,
            "max_total_tokens": self.max_total_tokens,
            "router": "text-generation-router",
            "version": "3.3.7",
        }
        known: dict[str, Any] = {"/health": "", "/v1/models": models}
        if self.kind == "tgi":
            known |= {"/info": info, "/": "", "/ping": ""}
        if self.kind == "bare" or path not in known:
            return status(404, "")
        return status(200, known[path])

    def _owner(self) -> str:
        return {"vllm": "vllm", "llama.cpp": "llamacpp", "tgi": self.model_id}.get(self.kind, "someone")

    def tokenize(self, path: str, request: dict[str, Any]) -> Reply:
        """The tokens of a prompt, on the routes and in the shape of each kind of server."""
        if (self.kind, path) not in (("tgi", "/chat_tokenize"), ("vllm", "/tokenize"), ("llama.cpp", "/tokenize")):
            return status(404, "")
        texts = [m["content"] for m in request["messages"]] if "messages" in request else [request["content"]]
        ids = list(range(sum(map(_tokens, texts))))
        if self.kind == "tgi":
            return status(200, {"tokenize_response": [{"id": i, "text": "?"} for i in ids], "templated_text": "?"})
        return status(200, {"tokens": ids, "count": len(ids)} if self.kind == "vllm" else {"tokens": ids})

    def chat(self, body: bytes) -> Reply:
        """What a chat completion is answered with; holds a permit meanwhile."""
        with self.lock:
            if self.in_flight >= self.max_concurrent_requests:
                self.turned_away += 1
                return OVERLOADED
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return self._chat(body)
        finally:
            with self.lock:
                self.in_flight -= 1

    def _chat(self, body: bytes) -> Reply:
        try:
            request = json.loads(body)
        except ValueError as error:
            return status(400, f"Failed to parse the request body as JSON: {error}")
        refused = self._validate(request)
        if refused is not None:
            return refused
        with self.lock:
            key = json.dumps([request["messages"], request.get("seed")])
            self.calls[key] += 1
            call = self.calls[key]
        reply = self.answer(request, call)
        if self.latency:
            self.closing.wait(self.latency)
        if isinstance(reply, Fault):
            return reply
        answer = reply if isinstance(reply, Answer) else Answer(reply)
        return status(200, self._completion(request, self._enforced(request, answer)))

    def _validate(self, request: dict[str, Any]) -> Fault | None:
        if not isinstance(request.get("messages"), list):
            return _serde("missing field `messages`")
        if "stream_options" in request and request["stream_options"] is None:
            return _serde("stream_options: invalid type: null, expected struct StreamOptions")
        if self.kind == "tgi":
            grammar = request.get("response_format")
            if grammar is not None:
                if grammar.get("type") not in ("json", "json_object", "regex", "json_schema"):
                    return _serde(f"response_format: unknown variant `{grammar.get('type')}`")
                if "value" not in grammar:
                    return _serde("response_format: missing field `value`")
                if grammar["type"] != "regex" and "properties" not in _schema_of(request):
                    return _invalid("Grammar must have a 'properties' field")
        if not request["messages"]:
            return status(422, {"error": "Template error: no messages", "error_type": "template_error"})
        tokens = sum(_tokens(str(m.get("content") or "")) for m in request["messages"])
        if tokens + min(request.get("max_tokens") or 1, 1024) > self.max_total_tokens:
            return _invalid(
                f"`inputs` tokens + `max_new_tokens` must be <= {self.max_total_tokens}. Given: {tokens} `inputs` "
                f"tokens and {request.get('max_tokens')} `max_new_tokens`"
            )
        return None

    def _enforced(self, request: dict[str, Any], answer: Answer) -> Answer:
        schema = _schema_of(request)
        if not self.enforce_schema or schema is None or answer.text is None:
            return answer
        if re.fullmatch(_regex(json.dumps(schema)), answer.text):
            return answer
        return Answer(json.dumps(smallest_instance(schema)), answer.finish_reason)

    def _completion(self, request: dict[str, Any], answer: Answer) -> dict[str, Any]:
        text, finish_reason = answer.text, answer.finish_reason
        most = request.get("max_tokens")
        if text is not None and most and _tokens(text) > most:
            text, finish_reason = text[: most * CHARS_PER_TOKEN], "length"
        prompt_tokens = sum(_tokens(str(m.get("content") or "")) for m in request["messages"])
        completion_tokens = _tokens(text or "")
        return {
            "object": "chat.completion",
            "id": "",
            "created": 0,
            "model": request.get("model") or self.model_id,
            "system_fingerprint": "3.3.7-native",
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
            ],
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": completion_tokens,
                "total_tokens": prompt_tokens + completion_tokens,
            },
        }


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024
    double: TGIServer

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        for connection in list(self.open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is part of the game."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _HTTPServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._record(b"")
        self._send(self.server.double.get(self.path))

    def do_POST(self) -> None:
        double = self.server.double
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._record(body)
        if double.api_key is not None:
            given = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if given.lower() != double.api_key.lower():
                self._send(status(401, ""))
                return
        if self.path in double.routes:
            self._send(double.routes[self.path])
        elif self.path == "/v1/chat/completions":
            self._send(double.chat(body))
        elif self.path in ("/chat_tokenize", "/tokenize"):
            self._send(double.tokenize(self.path, json.loads(body)))
        elif self.path in ("/", "/generate") and double.kind == "tgi":
            text = json.loads(body).get("inputs", "")
            generated = {"generated_text": hashlib.sha256(text.encode()).hexdigest()[:16]}
            self._send(status(200, [generated] if self.path == "/" else generated))
        else:
            self._send(status(404, ""))

    def _record(self, body: bytes) -> None:
        double = self.server.double
        headers = {name.lower(): value for name, value in self.headers.items()}
        with double.lock:
            double.requests.append(Recorded(self.command, self.path, headers, body))

    def _send(self, reply: Reply) -> None:
        if not isinstance(reply, Fault):
            reply = status(200, str(reply))
        with suppress(BrokenPipeError, ConnectionResetError):
            self._send_fault(reply)

    def _send_fault(self, fault: Fault) -> None:
        closing = self.server.double.closing
        self.close_connection = fault.kind != "status"
        if fault.kind == "hang":
            closing.wait(fault.seconds)
        if fault.kind == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if fault.kind in ("reset", "close", "hang"):
            self.connection.close()
            return
        body = fault.body
        if fault.kind in ("slow", "cut"):
            body = json.dumps({"choices": [{"message": {"content": "x" * 1000}}]}).encode()
        self.send_response(fault.status)
        for name, value in fault.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault.kind == "slow":
            for byte in body:
                self.wfile.write(bytes([byte]))
                if closing.wait(0.05):
                    break
        elif fault.kind == "cut":
            self.wfile.write(body[: len(body) // 2])
        else:
            self.wfile.write(body)


def _serde(text: str) -> Fault:
    return status(422, f"Failed to deserialize the JSON body into the target type: {text} at line 1 column 1")


def _invalid(text: str) -> Fault:
    return status(422, {"error": f"Input validation error: {text}", "error_type": "validation"})


def _tokens(text: str) -> int:
    return math.ceil(len(text) / CHARS_PER_TOKEN)


def _schema_of(request: Mapping[str, Any]) -> Any:
    """The JSON schema of a request, in whichever dialect it came."""
    grammar = request.get("response_format") or {}
    schema = grammar.get("value") or grammar.get("schema") or grammar.get("json_schema", {}).get("schema")
    schema = schema or request.get("structured_outputs", {}).get("json")
    if grammar.get("type") == "json_schema" and isinstance(schema, dict) and "schema" in schema:
        schema = schema["schema"]
    return json.loads(schema) if isinstance(schema, str) else schema


@lru_cache(maxsize=32)  # as TGI's shard keeps them
def _regex(schema: str) -> str:
    from outlines_core.json_schema import build_regex_from_schema

    return build_regex_from_schema(schema)


def smallest_instance(schema: Mapping[str, Any]) -> Any:
    """Something small that a schema allows."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return smallest_instance(schema["anyOf"][0])
    if "properties" in schema:
        return {name: smallest_instance(part) for name, part in schema["properties"].items()}
    if schema.get("type", "string") == "string":
        return "x" * schema.get("minLength", 1)
    return {"integer": 0, "number": 0, "boolean": False, "array": []}.get(schema["type"])


def answer_from_prompt(request: Mapping[str, Any], call: int = 1) -> str:
    """A deterministic answer made from the prompt alone."""
    prompt = str(request["messages"][-1].get("content") or "")
    digest = int(hashlib.sha256(prompt.encode("utf-8", "replace")).hexdigest(), 16)
    schema = _schema_of(request)
    if schema is None:
        return f"answer {digest % 10**8:08d}"
    fields = {}
    for name, part in schema.get("properties", {}).items():
        if "enum" in part:
            fields[name] = part["enum"][digest % len(part["enum"])]
        elif part.get("type", "string") == "string":
            beside = re.findall(rf'"?{re.escape(name)}"?\s*[:=]\s*"?([^"\n]+)', prompt)
            text = beside[-1].strip() if beside else f"{name} {digest % 10**8:08d}"
            fields[name] = text[: part.get("maxLength", 2000)]
        else:
            fields[name] = smallest_instance(part)
    return json.dumps(fields, ensure_ascii=False)


def main() -> None:
    """Run the double in a process of its own; its counts are written to a file, atomically, after every request."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--model-id", default="test/teacher")
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--max-concurrent-requests", type=int, default=128)
    parser.add_argument("--state", type=Path, required=True, help="JSON: url, chat_requests, asked {key: times}")
    arguments = parser.parse_args()
    server = TGIServer(
        model_id=arguments.model_id,
        latency=arguments.latency,
        max_concurrent_requests=arguments.max_concurrent_requests,
        port=arguments.port,
    )
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with server:
        written = -1
        while not stop.is_set():
            if (count := len(server.requests)) != written:
                written = count
                keys = {hashlib.sha256(key.encode()).hexdigest(): n for key, n in list(server.calls.items())}
                temporary = arguments.state.with_suffix(".part")
                temporary.write_text(
                    json.dumps({"url": server.url, "chat_requests": sum(keys.values()), "asked": keys})
                )
                temporary.replace(arguments.state)
            time.sleep(0.02)


if __name__ == "__main__":
    main()
