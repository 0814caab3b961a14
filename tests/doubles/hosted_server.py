"""A loopback double of what Hugging Face hosts: Inference Endpoints, their API, the providers' router, and the Hub.

It is an HTTPS proxy that ends the TLS connections itself, with certificates of an authority made on the spot. So the
real host names are asked, by unchanged clients, with two variables in the environment:

    with HostedServer(state="paused") as server:
        os.environ.update(server.environment)     # HTTPS_PROXY, SSL_CERT_FILE
        server.endpoint.state, server.asked("POST", "api.endpoints.huggingface.cloud")

An endpoint goes through the states of the API (huggingface_hub 2.4, `InferenceEndpointStatus`): resumed, it is
pending, from look to look what `starting` says, then running; its proxy answers for it at first (`warming`); then it
is a TGI.
"""

import json
import ssl
import tempfile
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trustme

from tests.doubles.tgi_server import Fault, Reply, TGIServer, status

API = "api.endpoints.huggingface.cloud"
ROUTER = "router.huggingface.co"
HUB = "huggingface.co"
ENDPOINT_HOST = "abc123.us-east-1.aws.endpoints.huggingface.cloud"
ELSEWHERE = "elsewhere.example"
OWN_HOSTS = ("api.together.xyz", "api.groq.com")
HOSTS = (API, ROUTER, HUB, ENDPOINT_HOST, ELSEWHERE, *OWN_HOSTS)
# What each provider's route on the router, or its own host, takes as a JSON schema; huggingface_hub translates.
PROVIDER_ROUTES = {
    (ROUTER, "/v1/chat/completions"): "auto",
    (ROUTER, "/together/v1/chat/completions"): "together",
    (ROUTER, "/groq/openai/v1/chat/completions"): "groq",
    ("api.together.xyz", "/v1/chat/completions"): "together",
    ("api.groq.com", "/openai/v1/chat/completions"): "groq",
}


@dataclass
class Endpoint:
    """An Inference Endpoint as its API describes it. `starting`: the states that are seen one by one until it runs."""

    namespace: str = "me"
    name: str = "mine"
    repository: str = "org/teacher"
    revision: str = "0123456789abcdef0123456789abcdef01234567"
    state: str = "running"
    message: str = ""
    host: str = ENDPOINT_HOST
    starting: deque[str] = field(default_factory=lambda: deque(["initializing"]))
    resumes_from_zero: bool = True

    def look(self) -> dict[str, Any]:
        """Describe it; time passes with every look."""
        if self.state in ("pending", "initializing", "updating"):
            self.state = self.starting.popleft() if self.starting else "running"
        return self.described()

    def described(self) -> dict[str, Any]:
        stands = self.state in ("running", "scaledToZero", "updating")
        return {
            "name": self.name,
            "type": "protected",
            "accountId": None,
            "healthRoute": "/health",
            "model": {
                "repository": self.repository,
                "revision": self.revision,
                "task": "text-generation",
                "framework": "pytorch",
                "image": {"huggingface": {}},
            },
            "status": {
                "state": self.state,
                "message": self.message,
                "createdAt": "2026-01-02T03:04:05.678Z",
                "updatedAt": "2026-01-02T03:04:05.678Z",
                **({"url": f"https://{self.host}"} if stands else {}),
            },
        }


@dataclass(frozen=True)
class Recorded:
    """One request as it came in."""

    method: str
    host: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)


class HostedServer:
    """The double.

    Args:
        tokens: Hugging Face tokens and what they may do: `all`, or `read` (look at an endpoint, but not resume it).
        providers: Model ids, and under which id which provider serves them.
        warming: How the endpoint's proxy answers before the endpoint does.
        replies: What to answer instead, once each, by `"METHOD host/path"`; a Fault alone is answered always.
        unreachable: Hosts that can't be connected to.

    Attributes:
        gates: Held until its event is set: what comes in at a `"METHOD host/path"`. It is answered then as if it came
            only now.
    """

    def __init__(
        self,
        *,
        endpoint: Endpoint | None = None,
        state: str = "running",
        tokens: Mapping[str, str] | None = None,
        providers: Mapping[str, Mapping[str, str]] | None = None,
        warming: tuple[int, ...] = (),
        replies: Mapping[str, "Fault | deque[Fault]"] | None = None,
        unreachable: tuple[str, ...] = (),
        tgi: TGIServer | None = None,
    ) -> None:
        self.endpoint = endpoint or Endpoint(state=state)
        self.tokens = dict(tokens or {"hf_good": "all"})
        self.providers = {model: dict(ids) for model, ids in (providers or {}).items()}
        self.warming = deque(warming)
        self.replies = dict(replies or {})
        self.unreachable = set(unreachable)
        self.gates: dict[str, threading.Event] = {}
        self.requests: list[Recorded] = []
        self.lock = threading.Lock()
        # As on Inference Endpoints, TGI's model is a mounted folder, whatever the repository.
        self.tgi = tgi or TGIServer(model_id="/repository", model_sha=None)
        self.provider_models = TGIServer(kind="openai")
        self._open = ExitStack()

    @property
    def environment(self) -> dict[str, str]:
        """What leads every HTTPS client of a process here."""
        proxy = f"http://127.0.0.1:{self._http.server_address[1]}"
        names = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), proxy)
        return names | {"SSL_CERT_FILE": str(self._authority), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}

    def __enter__(self) -> "HostedServer":
        folder = Path(self._open.enter_context(tempfile.TemporaryDirectory()))
        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self._authority = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(self._authority))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*HOSTS, key_type=trustme.KeyType.ECDSA).configure_cert(context)
        self._http = _HTTPServer(("127.0.0.1", 0), _Handler)
        self._http.double, self._http.context = self, context
        self._open.enter_context(self.tgi)
        self._open.enter_context(self.provider_models)
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        self._open.callback(self._http.server_close)
        self._open.callback(self._http.shutdown)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def asked(self, method: str, host: str, path: str = "") -> list[Recorded]:
        """The requests of one method to one host, and to a path that begins so."""
        with self.lock:
            return [r for r in self.requests if r.method == method and r.host == host and r.path.startswith(path)]

    def answer(self, request: Recorded) -> Reply:
        """What a request is answered with."""
        if (gate := self.gates.get(f"{request.method} {request.host}{request.path}")) is not None:
            gate.wait(30)
        instead = self.replies.get(f"{request.method} {request.host}{request.path}")
        if isinstance(instead, Fault):
            return instead
        if instead:
            return instead.popleft()
        with self.lock:
            if request.host == API:
                return self._api(request)
            if request.host == HUB:
                return self._hub(request)
            if request.host == self.endpoint.host and (away := self._away(request)) is not None:
                return away
        if request.host in (ROUTER, *OWN_HOSTS):
            return self._provider(request)
        return self.tgi.get(request.path) if request.method == "GET" else self.tgi.chat(request.body)

    def _right(self, request: Recorded) -> str | None:
        return self.tokens.get(request.headers.get("authorization", "").removeprefix("Bearer "))

    def _api(self, request: Recorded) -> Fault:
        endpoint, right = self.endpoint, self._right(request)
        if right is None:
            return status(401, {"error": "Unauthorized"})
        path, _, action = request.path.removeprefix("/v2/endpoint/").partition(f"{endpoint.namespace}/{endpoint.name}")
        if path or action not in ("", "/resume", "/pause"):
            return status(404, {"error": "Endpoint not found"})
        if request.method == "GET":
            return status(200, endpoint.look())
        if right != "all":
            return status(403, {"error": "Forbidden: inference.endpoints.write"})
        if action == "/pause":
            if endpoint.state == "paused":
                return status(400, {"error": "Bad Request: Endpoint is already paused"})
            endpoint.state = "paused"
        elif endpoint.state == "paused" or (endpoint.state == "scaledToZero" and endpoint.resumes_from_zero):
            endpoint.state = "pending"
        else:
            return status(400, {"error": "Bad Request: Invalid state"})
        return status(200, endpoint.described())

    def _away(self, request: Recorded) -> Fault | None:
        """What the proxy before an endpoint answers, unless it passes a request on."""
        if self._right(request) is None:
            return status(401, {"error": "Unauthorized"})
        state = self.endpoint.state
        if state == "scaledToZero":
            self.endpoint.state = "initializing"
        if state == "running" and not self.warming:
            return None
        if state == "paused":
            return status(400, {"error": "Bad Request: Invalid state"})
        return status(self.warming.popleft() if self.warming and state == "running" else 503, "<html>not yet</html>")

    def _hub(self, request: Recorded) -> Fault:
        parts = urlsplit(request.path)
        model = parts.path.removeprefix("/api/models/")
        if model == parts.path or parse_qs(parts.query).get("expand") != ["inferenceProviderMapping"]:
            return status(404, {"error": "Not found"})
        if model not in self.providers:
            return Fault("status", 404, b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound"})
        mapping = {
            name: {"status": "live", "providerId": theirs, "task": "conversational"}
            for name, theirs in self.providers[model].items()
        }
        return status(200, {"_id": "1", "id": model, "inferenceProviderMapping": mapping})

    def _provider(self, request: Recorded) -> Reply:
        provider = PROVIDER_ROUTES.get((request.host, request.path))
        if request.method != "POST" or provider is None:
            return status(404, {"error": "Not found"})
        if request.host == ROUTER and self._right(request) is None:
            return status(401, {"error": "Invalid username or password."})
        body = request.json
        models = self.providers if provider == "auto" else {ids.get(provider) for ids in self.providers.values()}
        if body.get("model") not in models:
            message = f"The requested model '{body.get('model')}' is not supported by any provider you have enabled."
            return status(400, {"error": {"message": message, "param": "model", "code": "model_not_supported"}})
        if (form := body.get("response_format")) is not None and not _takes(provider, form):
            return status(400, {"error": {"message": f"Invalid response_format: {form}", "param": "response_format"}})
        return self.provider_models.chat(request.body)


def _takes(provider: str, form: Mapping[str, Any]) -> bool:
    if provider == "together":  # json_object: huggingface_hub 1.0
        return form["type"] in ("json_schema", "json_object") and isinstance(form.get("schema"), dict)
    return form["type"] == "json_schema" and isinstance(form.get("json_schema", {}).get("schema"), dict)


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    double: HostedServer
    context: ssl.SSLContext

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is part of the game."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _HTTPServer
    host = ""

    def log_message(self, *_: object) -> None:
        pass

    def do_CONNECT(self) -> None:
        host = self.path.rpartition(":")[0]
        if host in self.server.double.unreachable or host not in HOSTS:
            self.send_error(502)
            return
        self.send_response(200)
        self.end_headers()
        self.connection = self.server.context.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
        self.host = host

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Recorded(self.command, self.host, self.path, headers, body)
        with self.server.double.lock:
            self.server.double.requests.append(request)
        reply = self.server.double.answer(request)
        fault = reply if isinstance(reply, Fault) else status(200, str(reply))
        if fault.kind == "hang":
            self.server.double.tgi.closing.wait(fault.seconds)
        with suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.send_response(fault.status)
            for name, value in fault.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(fault.body)))
            self.end_headers()
            self.wfile.write(fault.body)
            self.wfile.flush()

    do_POST = do_GET
