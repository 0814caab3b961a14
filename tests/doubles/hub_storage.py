"""Where a Hub keeps large files: another host, which is sent to by redirects and signed addresses and sees no token.

    with HubStorage() as storage, HubServer(storage=storage) as hub:
        ...
        assert all(request.token is None for request in storage.requests)

Files from `part_bytes` on are uploaded in parts. Xet, the Hub's newer protocol, has no double: it is switched off
where this is used (HF_HUB_DISABLE_XET), and what is tested goes the way of LFS.
"""

import hashlib
import json
import re
import threading
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.doubles.hub_server import Answer, Handler, Refusal, Request


class HubStorage:
    """The double.

    Attributes:
        url: Its address.
        objects: What it holds, by sha256.
        requests: Every request in the order of arrival.
        part_bytes: Files of so many bytes are uploaded in parts of this size.
    """

    def __init__(self, part_bytes: int = 1 << 20) -> None:
        self.objects: dict[str, bytes] = {}
        self.requests: list[Request] = []
        self.part_bytes = part_bytes
        self.lock = threading.RLock()
        self.stalled: list[str] = []
        self.release = threading.Event()
        self.sent: list[tuple[str, int]] = []
        self._parts: dict[str, dict[int, bytes]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "HubStorage":
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def upload_action(self, oid: str, size: int) -> dict[str, Any]:
        """Return where to upload an object, as the LFS batch endpoint tells it."""
        if size < self.part_bytes:
            return {"href": f"{self.url}/objects/{oid}"}
        count = -(-size // self.part_bytes)
        parts = {f"{number:05}": f"{self.url}/objects/{oid}/{number}" for number in range(1, count + 1)}
        return {"href": f"{self.url}/objects/{oid}", "header": {"chunk_size": str(self.part_bytes), **parts}}

    def address(self, oid: str, content: bytes) -> str:
        """Return where an object can be fetched."""
        self.objects[oid] = content
        return f"{self.url}/objects/{oid}"

    def uploaded(self) -> list[str]:
        """Return the names of the objects that were sent, in order; one that came in parts once."""
        sent = [urlsplit(request.path).path.split("/")[2] for request in self.requests if request.method == "PUT"]
        return list(dict.fromkeys(sent))

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        with self.lock:
            self.requests.append(request)
            found = re.fullmatch(r"/objects/(\w+)(?:/(\d+))?", urlsplit(request.path).path)
            try:
                if request.token is not None:
                    raise Refusal(400, message="Only one auth mechanism allowed")  # as S3 says to a token
                if found is None:
                    raise Refusal(404)
                return getattr(self, f"_{request.method.lower()}")(found[1], int(found[2] or 0), request.body)
            except Refusal as refusal:
                return refusal.answer

    def _put(self, oid: str, part: int, body: bytes) -> Answer:
        if part:
            self._parts.setdefault(oid, {})[part] = body
        else:
            self._keep(oid, body)
        return Answer(200, headers={"ETag": f'"{hashlib.md5(body).hexdigest()}"'})

    def _post(self, oid: str, part: int, body: bytes) -> Answer:
        held = self._parts.pop(oid, {})
        if [told["partNumber"] for told in json.loads(body)["parts"]] != sorted(held):
            raise Refusal(400, message="Parts are missing")
        self._keep(oid, b"".join(held[number] for number in sorted(held)))
        return Answer.of({})

    def _get(self, oid: str, part: int, body: bytes) -> Answer:
        if oid not in self.objects:
            raise Refusal(404)
        return Answer(200, self.objects[oid], {"Accept-Ranges": "bytes"})

    _head = _get

    def _keep(self, oid: str, content: bytes) -> None:
        if hashlib.sha256(content).hexdigest() != oid:
            raise Refusal(400, message="The content does not have the sha256 it was announced with")
        self.objects[oid] = content
