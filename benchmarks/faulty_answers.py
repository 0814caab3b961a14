"""What a server, or what stands before it, may send instead of an answer."""

import asyncio
import socket
import struct

BUSY = b'{"error":"Model is overloaded","error_type":"overloaded"}'
JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def plain(status: int, body: bytes, kind: str = "application/json", headers: str = "") -> bytes:
    """Return a whole response."""
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


WHOLE = {
    "generation": plain(424, b'{"error":"Request failed during generation","error_type":"generation"}'),
    "error": plain(500, b'{"error":"Incomplete generation","error_type":"incomplete_generation"}'),
    "unavailable": plain(503, b"", "text/plain", "Retry-After: 0\r\n"),
    "gateway page": plain(502, b"<html><body><h1>502 Bad Gateway</h1></body></html>", "text/html"),
    "page": plain(200, b"<html><body>Log in</body></html>", "text/html"),
    "no choices": plain(200, b'{"choices": null}'),
    "error in answer": plain(200, b'{"error": {"message": "out of memory", "code": 500}}'),
    "list": plain(200, b"[]"),
    "no UTF-8": plain(200, b'{"choices": "\xff\xfe"}'),
    "nothing": plain(200, b""),
    "too long": plain(413, b"length limit exceeded", "text/plain"),
    "timeout": plain(504, b"", "text/plain"),
}
# After these the connection is closed; `drip` sends a byte now and then until the client has enough.
BROKEN = {
    "close": b"",
    "cut head": b"HTTP/1.1 200 OK\r\nContent-Ty",
    "cut body": JSON_HEAD + b'Content-Length: 500\r\n\r\n{"choices": [',
    "cut chunk": JSON_HEAD + b'Transfer-Encoding: chunked\r\n\r\n80\r\n{"choices": [',
    "no HTTP": b"\x00\x01\x02 220 mail.example ESMTP\r\n\r\n",
    "reset": b"",
    "drip": JSON_HEAD + b"Content-Length: 5000\r\n\r\n",
}
FAULTS = (*WHOLE, *BROKEN)


async def break_off(fault: str, writer: asyncio.StreamWriter) -> None:
    """Answer as one of BROKEN; the connection is of no use afterwards."""
    writer.write(BROKEN[fault])
    while fault == "drip" and not writer.transport.is_closing():
        writer.write(b" ")
        await asyncio.sleep(0.1)
    if fault == "reset":
        at_once = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        writer.transport.abort()
