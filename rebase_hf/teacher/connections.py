"""The connections of a teacher's HTTP client: aiohttp's, behind the interface that huggingface_hub's HTTP library has.

httpx spends about 1 ms of CPU a request on its pool, anyio and h11, aiohttp .15 ms (SYSTEMS.md, section 2); with 64 in
flight that is most of what a row costs. It is a dependency for that: eight small packages, none of which is ours.
"""

import asyncio
import zlib
from json import dumps
from typing import Any

import aiohttp
import huggingface_hub.utils._http as hub_http
from yarl import URL

from rebase_hf.teacher.proxies import proxy_for
from rebase_hf.teacher.target import is_loopback

# Whichever HTTP library this huggingface_hub was built on: httpx2 from 2.x on, httpx before. Its errors reach us as
# they are, so they must be caught, and raised here, as the classes of that library.
httpx: Any = getattr(hub_http, "httpx2", None) or hub_http.httpx  # type: ignore[attr-defined]

MAX_CONNECTIONS = 1024
KEEP_ALIVE_SECONDS = 15.0
# A chat completion is a few kilobytes. What is far longer is no answer, and must not fill the memory.
MAX_ANSWER_BYTES = 16 * 2**20


class AnswerTooLarge(ValueError):  # noqa: N818 - a kind of answer
    """The body of an answer is longer than any answer is."""


class Connections(httpx.AsyncBaseTransport):  # type: ignore[misc] # of httpx or httpx2
    """An HTTP transport over aiohttp; made and used inside one event loop.

    It sets no time limit: the deadline of a whole request is the asker's.

    Args:
        trust_env: Take proxies and certificates from the environment (HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE).
    """

    def __init__(self, *, trust_env: bool) -> None:
        self._trust_env = trust_env
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: Any) -> Any:
        """Send a request and return its response, the body read.

        Raises:
            httpx.TransportError: As the HTTP library itself would.
            AnswerTooLarge: The body is longer than MAX_ANSWER_BYTES.
            TeacherRefused: The environment names a proxy that can't be used.
        """
        content = await request.aread()  # after a redirect it is a stream that nobody has read
        return await self.exchange(request, request.headers.multi_items(), content)

    async def exchange(self, request: Any, headers: Any, content: bytes) -> Any:
        """Send `content` with `headers` as the method and to the address of `request`; as `handle_async_request`."""
        session = self._session or self._open()
        try:
            async with session.request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=headers,
                data=content or None,
                proxy=proxy_for(str(request.url)) if self._trust_env else None,
                allow_redirects=False,
            ) as response:
                body = _unpacked(await _read(response), response.headers.get("Content-Encoding", ""))
                received = [(n, v) for n, v in response.raw_headers if n.lower() != b"content-encoding"]
        except zlib.error as error:
            raise httpx.DecodingError(str(error), request=request) from error
        except (aiohttp.ClientError, asyncio.IncompleteReadError, OSError) as error:
            raise _as_httpx(error, request) from error
        return httpx.Response(response.status, headers=received, content=body, request=request)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=MAX_CONNECTIONS,
            limit_per_host=MAX_CONNECTIONS,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            ssl=httpx.create_ssl_context(trust_env=self._trust_env),
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            # Not trust_env: aiohttp would take passwords from ~/.netrc with it, and refuses a key beside one.
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
        return self._session


class HTTPClient(httpx.AsyncClient):  # type: ignore[misc] # of httpx or httpx2
    """The HTTP client of one teacher: the library's own, over `Connections`.

    What a chat completion does, to post JSON, goes straight to the connections: building a request for each and
    leading it through authentication and redirects is a good part of what a row costs. A redirect is led through it.
    """

    def __init__(self, *, trust_env: bool) -> None:
        self._connections = Connections(trust_env=trust_env)
        # A transport of its own leaves the client no proxies to set up: trust_env is the transport's.
        super().__init__(transport=self._connections, timeout=None, follow_redirects=True, trust_env=False)
        self._addresses: dict[str, Any] = {}
        self._redirecting: set[str] = set()

    async def post(self, url: Any, *, json: Any = None, data: Any = None, headers: Any = None, **more: Any) -> Any:
        """Post as AsyncClient.post does."""
        if json is None or data is not None or str(url) in self._redirecting:
            return await super().post(url, json=json, data=data, headers=headers, **more)
        if (address := self._addresses.get(str(url))) is None:
            address = self._addresses[str(url)] = httpx.Request("POST", url)
        content = dumps(json, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        asked_for = {"accept": "*/*", "accept-encoding": "identity"}
        response = await self._connections.exchange(address, asked_for | (headers or {}), content)
        if response.is_redirect:
            self._redirecting.add(str(url))
            return await super().post(url, json=json, headers=asked_for | (headers or {}), **more)
        return response


# A server whose route fails answers 500 and may close the connection a moment later, on which the next question would
# be lost: uvicorn does so, and `transformers serve` answers /v1/models that way where there is no Hub cache.
_ONE_QUESTION_EACH = httpx.Limits(max_keepalive_connections=0)


class _ProxiedTransport(httpx.BaseTransport):  # type: ignore[misc] # of httpx or httpx2
    """The library's own transports, through whichever proxy `proxy_for` names for a request's address."""

    def __init__(self, *, trust_env: bool) -> None:
        self._trust_env = trust_env
        self._certificates = httpx.create_ssl_context(trust_env=trust_env)
        self._transports: dict[str | None, Any] = {}

    def handle_request(self, request: Any) -> Any:
        proxy = proxy_for(str(request.url)) if self._trust_env else None
        if proxy not in self._transports:
            through = None if proxy is None else httpx.Proxy(proxy)
            self._transports[proxy] = httpx.HTTPTransport(
                verify=self._certificates, trust_env=False, proxy=through, limits=_ONE_QUESTION_EACH
            )
        return self._transports[proxy].handle_request(request)

    def close(self) -> None:
        for transport in self._transports.values():
            transport.close()


def questioner(url: str, *, timeout: float, headers: dict[str, str] | None = None) -> Any:
    """Return a client (httpx.Client) for the few questions that a server is asked beside chats; close it after use.

    It reaches a server the way `HTTPClient` does: the library's own client would read the proxies otherwise, and not
    start at all where one of them is a SOCKS proxy, even for a server that needs none.
    """
    transport = _ProxiedTransport(trust_env=not is_loopback(url))
    return httpx.Client(headers=headers, timeout=timeout, follow_redirects=True, transport=transport, trust_env=False)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    if (response.content_length or 0) > MAX_ANSWER_BYTES:
        raise AnswerTooLarge(f"the answer announces {response.content_length} bytes")
    body = await response.content.read(MAX_ANSWER_BYTES + 1)
    if response.content.at_eof():
        return body
    parts, size = [body], len(body)
    while not response.content.at_eof():
        part = await response.content.read(MAX_ANSWER_BYTES + 1)
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise AnswerTooLarge(f"the answer has more than {MAX_ANSWER_BYTES} bytes")
    return b"".join(parts)


def _unpacked(body: bytes, encoding: str) -> bytes:
    """Return a body as it was before it was packed, which nobody asked for: a small one may unpack to gigabytes."""
    if encoding.strip().lower() in ("", "identity"):
        return body
    plain = zlib.decompressobj(wbits=47).decompress(body, MAX_ANSWER_BYTES + 1)  # gzip or zlib
    if len(plain) > MAX_ANSWER_BYTES:
        raise AnswerTooLarge(f"the answer unpacks to more than {MAX_ANSWER_BYTES} bytes")
    return plain


def _as_httpx(error: Exception, request: Any) -> Exception:
    said = str(error) or type(error).__name__
    kind = httpx.ReadError
    if isinstance(error, aiohttp.InvalidURL):
        kind = httpx.UnsupportedProtocol
    elif isinstance(error, aiohttp.ClientConnectorError | aiohttp.ClientProxyConnectionError):
        kind = httpx.ConnectError
    elif isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError | aiohttp.ClientResponseError):
        kind = httpx.RemoteProtocolError
    found: Exception = kind(said, request=request)
    return found
