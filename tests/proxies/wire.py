"""Requests and responses in bytes, over a connection to a proxy or to the relay itself."""

import json
import socket
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self

from app.cli.client.signing import make_body, sign_body

Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Event:
    """A signed event, or a signed batch of them.

    Attributes:
        headers: that sign the body.
        body: as it is sent.
    """

    headers: Mapping[str, str]
    body: bytes

    @property
    def event_id(self) -> str:
        return self.headers["webhook-id"]


def make_event(secret: str, *, size_bytes: int = 0) -> Event:
    """Sign the creation of a new user, in a body of at least this many bytes."""
    user_id = str(uuid.uuid4())
    data = {"id": user_id, "email": f"{user_id}@example.com", "username": user_id, "avatar": ""}
    missing = size_bytes - len(make_body("user.created", data))
    body = make_body("user.created", data | {"avatar": "x" * max(0, missing)})
    return Event(sign_body(secret, body), body)


def make_batch(secret: str, count: int, *, size_bytes: int = 0) -> Event:
    """Sign a batch that creates `count` users, in a body of at least this many bytes."""
    events = [
        {"id": event.event_id, **json.loads(event.body)}
        for event in (make_event(secret) for _ in range(count))
    ]
    missing = size_bytes - len(json.dumps({"events": events}).encode())
    events[0]["data"]["avatar"] = "x" * max(0, missing)
    body = json.dumps({"events": events}).encode()
    return Event(sign_body(secret, body), body)


def write_request(
    target: str,
    headers: Mapping[str, str] | Headers,
    body: bytes = b"",
    *,
    method: str = "POST",
    chunk_bytes: int | None = None,
) -> bytes:
    """Write a request; its body in chunks of this size, or with its length declared."""
    fields = [*headers.items()] if isinstance(headers, Mapping) else headers
    framing = (
        ("Content-Length", str(len(body)))
        if chunk_bytes is None
        else ("Transfer-Encoding", "chunked")
    )
    fields = [("Host", "127.0.0.1"), *fields, *([framing] if method == "POST" else [])]
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    head = "\r\n".join((*lines, "", "")).encode()
    return head + (body if chunk_bytes is None else write_chunks(body, chunk_bytes))


def write_chunks(body: bytes, chunk_bytes: int) -> bytes:
    """Write a body in chunks."""
    parts = [body[start : start + chunk_bytes] for start in range(0, len(body), chunk_bytes)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """One response, with lower-case header names."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Client:
    """A sender that keeps its connection, and opens another when the server has closed it.

    Attributes:
        connect: opens one.
    """

    connect: Callable[[], socket.socket]
    _socket: socket.socket | None = None
    _unread: bytes = b""
    statuses: list[int] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self._unread = None, b""

    def ask(self, *pieces: bytes, method: str = "POST") -> Answer:
        """Send a request and read its response."""
        for piece in pieces:
            self.send(piece)
        return self.read(method)

    def send(self, piece: bytes) -> None:
        if self._socket is None:
            self._socket = self.connect()
        self._socket.sendall(piece)

    def post(self, event: Event, target: str = "/webhooks", **options: Any) -> Answer:
        """Send a signed event in one piece."""
        return self.ask(write_request(target, event.headers, event.body, **options))

    def read(self, method: str = "POST") -> Answer:
        """Read a final response, past the interim ones."""
        while (answer := self.read_any(method)).status < HTTPStatus.OK:
            pass
        return answer

    def read_any(self, method: str = "POST") -> Answer:
        """Read a response, interim or final."""
        *head, _ = self._read_until(b"\r\n\r\n").split(b"\r\n")[:-1]
        status = int(head[0].split()[1])
        pairs = (line.decode("latin-1").split(": ", 1) for line in head[1:])
        headers = {name.lower(): value for name, value in pairs}
        has_body = method != "HEAD" and status >= HTTPStatus.OK
        body = self._read_body(headers) if has_body else b""
        if headers.get("connection") == "close":
            self.close()
        self.statuses.append(status)
        return Answer(status, headers, body)

    def _read_body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding") != "chunked":
            return self._read_bytes(int(headers["content-length"]))
        body = b""
        while size := int(self._read_until(b"\r\n"), 16):
            body += self._read_bytes(size)
            self._read_until(b"\r\n")
        self._read_until(b"\r\n")
        return body

    def _read_until(self, end: bytes) -> bytes:
        while end not in self._unread:
            self._receive()
        return self._read_bytes(self._unread.index(end) + len(end))

    def _read_bytes(self, count: int) -> bytes:
        while len(self._unread) < count:
            self._receive()
        read, self._unread = self._unread[:count], self._unread[count:]
        return read

    def _receive(self) -> None:
        assert self._socket is not None
        received = self._socket.recv(65_536)
        if not received:
            raise ConnectionResetError(f"closed before the end of an answer: {self._unread!r}")
        self._unread += received
