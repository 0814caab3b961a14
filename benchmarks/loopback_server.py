"""A text-generation-inference of nothing but the protocol, for benchmarks: fast, and it counts.

It takes what TGI takes and answers at once, or as slowly, as seldom and as wrongly as it is told. What was asked how
often is counted here, on the server: that is the oracle of every figure.

    with serving(latency=0.2, capacity=64) as server:
        server.url, server.stats(), server.forget()
"""

import argparse
import asyncio
import hashlib
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.faulty_answers import BUSY, FAULTS, WHOLE, break_off, plain

CHARS_PER_TOKEN = 4


def digest_of(messages: list[dict[str, Any]]) -> str:
    """Return what a request is counted under: what was said, whatever else was sent with it."""
    said = json.dumps([[m["role"], text_of(m["content"])] for m in messages]).encode()
    return hashlib.blake2b(said, digest_size=12).hexdigest()


def text_of(content: str | list[dict[str, str]]) -> str:
    """Return what a message says, whether it came as a text or as a list of parts."""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


class Server:
    """The counts, and the answers."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.connections = self.busy = 0
        self.forget()

    def forget(self) -> None:
        self.asked: Counter[str] = Counter()
        self.tries: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.timeline: list[float] = []
        self.began: float | None = None
        self.bodies: list[str] = []
        self.requests = self.answered = self.refused = self.faulty = self.most_busy = 0
        self.prompt_tokens = self.completion_tokens = 0

    def stats(self) -> dict[str, Any]:
        names = ["requests", "answered", "refused", "faulty", "busy", "most_busy"]
        found: dict[str, Any] = {name: getattr(self, name) for name in [*names, "prompt_tokens", "completion_tokens"]}
        # Not counted: the connection that this is asked over.
        found |= {"connections": self.connections - 1, "faults": dict(self.faults)}
        # From the first request to the last answer.
        found["span"] = self.timeline[-1] - self.began if self.began and self.timeline else 0.0
        return found | {"different": len(self.asked), "answered_again": sum(self.asked.values()) - len(self.asked)}

    async def chat(self, body: bytes) -> "bytes | str":
        """Return the answer to a chat completion, or the name of the fault that there is instead."""
        options = self.options
        self.requests += 1
        self.began = self.began or time.monotonic()
        if options.capacity and self.busy >= options.capacity:
            self.refused += 1
            return plain(429, BUSY)
        request = json.loads(body)
        key = digest_of(request["messages"])
        self.tries[key] += 1
        chance = int(key[:8], 16) / 2**32
        if self.tries[key] == 1 and chance < options.scattered:
            self.refused += 1
            return plain(429, BUSY, headers="Retry-After: 1\r\n")
        if self.tries[key] <= options.faults:
            self.faulty += 1
            fault = FAULTS[(int(key[8:16], 16) + self.tries[key]) % len(FAULTS)]
            self.faults[fault] += 1
            return fault
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            if options.latency:
                await asyncio.sleep(options.latency)
        finally:
            self.busy -= 1
        self.asked[key] += 1
        self.answered += 1
        if options.keep_bodies:
            self.bodies.append(body.decode())
        self.timeline.append(time.monotonic())
        return plain(200, self.answer(request))

    def answer(self, request: dict[str, Any]) -> bytes:
        # Some clients ask with no message at all, to read the headers of whatever comes back.
        prompt = text_of(request["messages"][-1]["content"]) if request["messages"] else ""
        found = re.search(r"<row>\n(.*?)\n</row>", prompt, re.DOTALL)
        text = max(json.loads(found[1]).values(), key=len) if found else prompt[:300]
        digest = int(hashlib.blake2b(text.encode(), digest_size=8).hexdigest(), 16)
        schema = (request.get("response_format") or {}).get("value") or {"properties": {"answer": {}}}
        fields = {
            name: part["enum"][digest % len(part["enum"])] if "enum" in part else text
            for name, part in schema["properties"].items()
        }
        if digest % 1000 < 1000 * self.options.useless:
            fields = dict.fromkeys(fields, "I can't say.")
        return self.completion(request, fields)

    def completion(self, request: dict[str, Any], fields: dict[str, str]) -> bytes:
        """Return an answer of these fields as the body of a chat completion."""
        content = json.dumps(fields, ensure_ascii=False)
        asked = sum(len(text_of(m["content"])) for m in request["messages"]) // CHARS_PER_TOKEN
        told = len(content) // CHARS_PER_TOKEN
        self.prompt_tokens += asked
        self.completion_tokens += told
        choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
        return json.dumps(
            {
                "object": "chat.completion",
                "id": "",
                "created": 0,
                "model": "benchmark/teacher",
                "choices": [choice],
                "usage": {"prompt_tokens": asked, "completion_tokens": told, "total_tokens": asked + told},
            }
        ).encode()

    async def route(self, method: str, path: str, body: bytes) -> "bytes | str":
        if path.endswith("/chat/completions") and method == "POST":
            return await self.chat(body)
        told: Any = {}
        if path == "/stats":
            told = self.stats()
        elif path in ("/tries", "/timeline", "/bodies"):
            told = getattr(self, path[1:])
        elif path == "/forget":
            self.forget()
        elif path == "/info":
            told = {"model_id": "benchmark/teacher", "model_sha": "1" * 40, "max_total_tokens": 32_768}
            if self.options.tells_capacity:
                told["max_concurrent_requests"] = self.options.capacity
        elif path == "/v1/models":
            told = {"data": [{"id": "benchmark/teacher", "object": "model"}]}
        else:
            return plain(404, b"{}")
        return plain(200, json.dumps(told).encode())

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
                length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
                body = await reader.readexactly(int(length[1])) if length else b""
                answer = await self.route(method, path, body)
                if isinstance(answer, bytes):
                    writer.write(answer)
                elif answer in WHOLE:
                    writer.write(WHOLE[answer])
                else:
                    await break_off(answer, writer)
                    break
                if re.search(rb"(?i)\r\nconnection: *close", head):
                    await writer.drain()
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.connections -= 1
            writer.close()


class Serving:
    """A server in a process of its own."""

    def __init__(self, url: str) -> None:
        self.url = url

    def stats(self) -> dict[str, Any]:
        """The counts."""
        return dict(self._get("stats"))

    def tries(self) -> dict[str, int]:
        """How often each request came, by `digest_of` its messages; not those that a full server turned away."""
        return dict(self._get("tries"))

    def timeline(self) -> list[float]:
        """When each answer was given, in seconds from whenever, in order."""
        return list(self._get("timeline"))

    def bodies(self) -> list[bytes]:
        """The bodies that were answered (with `keep_bodies`)."""
        return [body.encode() for body in self._get("bodies")]

    def forget(self) -> None:
        """Count from zero."""
        self._get("forget")

    def settled(self) -> dict[str, Any]:
        """Wait until nothing is under way, as after a client was killed, and return the counts."""
        before: dict[str, Any] = {}
        while (found := self.stats()) != before or found["busy"] or found["connections"]:
            before = found
            time.sleep(0.1)
        return found

    def _get(self, what: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/{what}") as response:
            return json.load(response)


@contextmanager
def serving(module: str = "benchmarks.loopback_server", **options: Any) -> Iterator[Serving]:
    """Run the server in a process of its own.

    Args:
        module: What is run; another server takes these options and more.
        options: Those of the command line.
    """
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value is not True]
    arguments += [f"--{name.replace('_', '-')}" for name, value in options.items() if value is True]
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        yield Serving(process.stdout.readline().strip())
    finally:
        process.terminate()
        process.wait()


def command_line() -> argparse.ArgumentParser:
    """Return a parser with what every server takes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before an answer")
    parser.add_argument("--capacity", type=int, default=0, help="answers 429 to what comes above; 0 takes all")
    parser.add_argument("--tells-capacity", action="store_true", help="/info names the capacity")
    parser.add_argument("--scattered", type=float, default=0.0, help="share of first tries refused, Retry-After: 1")
    parser.add_argument("--faults", type=int, default=0, help="faulty answers to each request before the right one")
    parser.add_argument("--useless", type=float, default=0.0, help="share of rows whose answer no check lets pass")
    parser.add_argument("--keep-bodies", action="store_true", help="for /bodies")
    return parser


async def serve(server: Server) -> None:
    """Serve until the process is ended; the first line printed is the address."""
    port = server.options.port
    listening = await asyncio.start_server(server.connected, "127.0.0.1", port, limit=2**24, backlog=4096)
    print(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", flush=True)
    async with listening:
        await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Server(command_line().parse_args())))
