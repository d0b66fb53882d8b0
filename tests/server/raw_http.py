"""Raw connections to a served relay, and webhooks in bytes."""

import asyncio
import contextlib
import json
import re
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Self, cast

from app.auth.signatures import sign
from app.server.protocol import RelayProtocol
from app.server.request_parser import Stage
from tests.api.relay_harness import NOW, WEBHOOK_SECRET, Fields, make_body

PATIENCE_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.0005

BODY: Final = json.dumps(make_body("user.created")).encode()
OTHER_BODY: Final = json.dumps(make_body("user.created", username="grace")).encode()


def await_that(condition: Callable[[], object]) -> None:
    """Wait for the relay's thread."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < until, "it did not come about in time"
        time.sleep(_POLL_SECONDS)


class ObservedProtocol(RelayProtocol):
    """The protocol, with what a test has to know of it."""

    received_bytes = 0
    is_stopping = False

    @property
    def client(self) -> object:
        return self._transport.get_extra_info("peername")

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered."""
        return self._request is not None

    @property
    def is_idle(self) -> bool:
        """Whether the next byte begins a request.

        Asked in the event loop: seen from another thread, a connection between two requests of a
        pipeline looks idle.
        """
        return asyncio.run_coroutine_threadsafe(self._find_idle(), self._loop).result()

    async def _find_idle(self) -> bool:
        return not self.is_busy and self._parser.stage is Stage.START and self._is_reading

    @property
    def is_blocked(self) -> bool:
        """Whether the client does not read its answers."""
        return not self._is_writable

    @property
    def is_closing(self) -> bool:
        return self._is_closing

    @property
    def is_reading(self) -> bool:
        return self._is_reading

    def shrink_write_buffers(self, size_bytes: int) -> None:
        """Have little room for answers that are not read."""
        sending = self._transport.get_extra_info("socket")
        sending.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size_bytes)
        self._loop.call_soon_threadsafe(
            partial(self._transport.set_write_buffer_limits, high=size_bytes // 2)
        )

    def buffer_updated(self, nbytes: int) -> None:
        super().buffer_updated(nbytes)
        self.received_bytes += nbytes

    def shutdown(self) -> None:
        super().shutdown()
        self.is_stopping = True


@dataclass(frozen=True)
class Answer:
    """One answer.

    Attributes:
        line: with the status.
        headers: as they came, `date` among them.
    """

    line: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def status(self) -> int:
        return int(self.line.split()[1])

    @property
    def fields(self) -> dict[bytes, bytes]:
        assert len(dict(self.headers)) == len(self.headers)
        return dict(self.headers)

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    def undated(self) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
        """Give all of it but the time."""
        return self.line, [pair for pair in self.headers if pair[0] != b"date"], self.body


class RawConnection:
    """A connection to the relay. Each send arrives as one piece, before the next is sent.

    Args:
        client: the end that is held here, connected.
        protocol: the relay's end, where it is known.
    """

    def __init__(self, client: socket.socket, protocol: ObservedProtocol | None) -> None:
        self.socket = client
        self._protocol = protocol
        self._sent_bytes = 0
        self._unread = b""

    @property
    def protocol(self) -> ObservedProtocol:
        assert self._protocol is not None
        return self._protocol

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            if not piece:
                continue
            await_that(partial(self._is_received, self.send_without_waiting(piece)))

    def send_without_waiting(self, piece: bytes) -> int:
        """Send what the relay may leave unread, and say how much has been sent in all."""
        self._sent_bytes += len(piece)
        self.socket.sendall(piece)
        return self._sent_bytes

    def send_while_open(self, *pieces: bytes) -> None:
        """Send pieces one after another, until the relay closes or reads no more for now."""
        for piece in pieces:
            try:
                total = self.send_without_waiting(piece)
            except OSError:
                return
            await_that(partial(self._is_received_or_refused, total))

    def read(self) -> Answer:
        """Read one answer."""
        head = self.read_head()
        length = int(dict(head.headers).get(b"content-length", b"0"))
        return replace(head, body=self.read_bytes(length))

    def read_head(self) -> Answer:
        """Read a response without a body, ignoring its length."""
        while b"\r\n\r\n" not in self._unread:
            self._receive()
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        line, *rest = head.split(b"\r\n")
        headers = [cast(tuple[bytes, bytes], tuple(pair.split(b": ", 1))) for pair in rest]
        return Answer(line, headers, b"")

    def read_bytes(self, count: int) -> bytes:
        """Read so many bytes."""
        while len(self._unread) < count:
            self._receive()
        found, self._unread = self._unread[:count], self._unread[count:]
        return found

    def ask(self, *pieces: bytes) -> Answer:
        self.send(*pieces)
        return self.read()

    def is_ended(self) -> bool:
        """Tell whether the relay has closed, waiting until it has or the patience is at its end."""
        assert self._unread == b""
        return self.socket.recv(1) == b""

    def close(self) -> None:
        self.socket.close()

    def is_answered(self) -> bool:
        return not self.protocol.is_busy

    def break_off(self) -> None:
        """Be gone as a process is that was killed in the middle: with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def read_to_end(self) -> bytes:
        """Read all that comes until the relay is idle, and then has closed."""
        await_that(
            lambda: (
                self.protocol.is_closing
                or (self._is_received(self._sent_bytes) and self.protocol.is_idle)
            )
        )
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
        while True:
            received = self.socket.recv(65_536)
            self._unread += received
            if not received:
                return self._unread

    def _is_received(self, total: int) -> bool:
        return self.protocol.received_bytes >= total

    def _is_received_or_refused(self, total: int) -> bool:
        protocol = self.protocol
        return self._is_received(total) or protocol.is_closing or not protocol.is_reading

    def _receive(self) -> None:
        received = self.socket.recv(65_536)
        assert received, "the relay has closed the connection"
        self._unread += received


def sign_event(event_id: str, body: bytes = BODY) -> Fields:
    """Make the headers of a signed webhook."""
    return {
        "content-type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": str(int(NOW)),
        "webhook-signature": sign(
            WEBHOOK_SECRET, webhook_id=event_id, timestamp=int(NOW), body=body
        ),
    }


def write_request(
    event_id: str,
    body: bytes = BODY,
    *extra: str,
    target: str = "/webhooks",
    method: str = "POST",
    http: str = "1.1",
    **changes: str,
) -> bytes:
    """Write a signed webhook in bytes.

    Args:
        event_id: its id.
        body: what is signed and sent.
        extra: header lines, after all others.
        target: path and query.
        method: of the request.
        http: version of the protocol.
        changes: to the headers, with underscores for hyphens.
    """
    fields = sign_event(event_id, body) | {
        "host": "relay.test",
        "content-length": str(len(body)),
        # Otherwise each response has another one.
        "x-request-id": "req-1",
    }
    fields |= {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{method} {target} HTTP/{http}", *(f"{n}: {v}" for n, v in fields.items()), *extra]
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body


def write_chunked(event_id: str, body: bytes = BODY, *extra: str) -> bytes:
    """Write it in two chunks, with no length declared."""
    whole = write_request(event_id, body, "Transfer-Encoding: chunked", *extra)
    head = re.sub(rb"content-length: \d+\r\n", b"", whole.partition(b"\r\n\r\n")[0])
    half = len(body) // 2
    chunks = [b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:])]
    return head + b"\r\n\r\n" + b"".join(chunks) + b"0\r\n\r\n"


def cut(request: bytes) -> tuple[bytes, bytes]:
    """Cut a request behind its headers."""
    end = request.index(b"\r\n\r\n") + 4
    return request[:end], request[end:]
