"""Many unauthenticated connections: non-blocking sockets in one thread."""

import errno
import re
import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, Self

_RECEIVED_BYTES: Final = 65_536
_UNREAD_BUFFER_BYTES: Final = 4096
_CONNECTED_AT_ONCE: Final = 64
_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_STATUS_BYTES: Final = 13
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

Pieces = Iterator[bytes]
"""What one connection sends, piece after piece."""


class AtEnd(Enum):
    """What a connection does when it has sent everything."""

    STAY = auto()
    HALF_CLOSE = auto()
    RESET = auto()


@dataclass
class _Stranger:
    socket: socket.socket
    pieces: Pieces
    unsent: memoryview = field(default_factory=lambda: memoryview(b""))
    read: bytes = b""
    next_piece_at: float = 0.0


@dataclass
class Strangers:
    """Connections that send as fast as the relay reads.

    Attributes:
        port: of the relay, on loopback.
        count: connections.
        make_pieces: gives what a connection sends.
        reads: whether they read what they are answered.
        returns: whether a connection that has ended is replaced by another.
        pace_seconds: from one piece of a connection to its next.
        at_end: what a connection does when it has sent everything.
        opened: how many connections were made.
        ended: how many of them have ended.
        statuses: of the answers that were read.
    """

    port: int
    count: int
    make_pieces: Callable[[], Pieces]
    reads: bool = True
    returns: bool = False
    pace_seconds: float = 0.0
    at_end: AtEnd = AtEnd.STAY
    opened: int = 0
    ended: int = 0
    statuses: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._poll = select.epoll()
        self._open: dict[int, _Stranger] = {}
        self._resting: list[_Stranger] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stranger in self._open.values():
            stranger.socket.close()
        self._poll.close()

    def run(self, seconds: float) -> None:
        """Flood for at most so long; less if the relay has ended all connections."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            wanted = self.count - (len(self._open) if self.returns else self.opened)
            # A few at a time: those that are open go on meanwhile.
            for _ in range(min(wanted, _CONNECTED_AT_ONCE)):
                self._connect()
            if not self._open and wanted <= 0:
                return
            for number, events in self._poll.poll(0.01, 1024):
                self._serve(self._open[number], events)
            self._end_rests()

    def _connect(self) -> None:
        client = socket.socket()
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        if not self.reads:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UNREAD_BUFFER_BYTES)
        status = client.connect_ex(("127.0.0.1", self.port))
        assert status in (0, errno.EINPROGRESS), errno.errorcode[status]
        self.opened += 1
        self._open[client.fileno()] = _Stranger(client, self.make_pieces())
        self._poll.register(client, self._events(is_sending=True))

    def _events(self, *, is_sending: bool) -> int:
        # Epoll always tells of a reset; a connection that reads also learns of a close.
        return (select.EPOLLIN if self.reads else 0) | (select.EPOLLOUT if is_sending else 0)

    def _serve(self, stranger: _Stranger, events: int) -> None:
        try:
            if events & (select.EPOLLIN | select.EPOLLERR):
                self._read(stranger)
            if events & select.EPOLLHUP:
                raise ConnectionError
            if events & select.EPOLLOUT:
                self._send(stranger)
        except BlockingIOError:
            pass
        except OSError:
            self._end(stranger)

    def _read(self, stranger: _Stranger) -> None:
        data = stranger.socket.recv(_RECEIVED_BYTES)
        if not data:
            raise ConnectionError
        text = stranger.read + data
        self.statuses.update(int(status) for status in _STATUS.findall(text))
        # Too short for a status that was counted, long enough for one that was cut.
        stranger.read = text[-(_STATUS_BYTES - 1) :]

    def _send(self, stranger: _Stranger) -> None:
        if not stranger.unsent:
            piece = next(stranger.pieces, None)
            if piece is None:
                self._finish(stranger)
                return
            stranger.unsent = memoryview(piece)
        sent = stranger.socket.send(stranger.unsent)
        stranger.unsent = stranger.unsent[sent:]
        if self.pace_seconds and not stranger.unsent:
            stranger.next_piece_at = time.monotonic() + self.pace_seconds
            self._resting.append(stranger)
            self._poll.modify(stranger.socket, self._events(is_sending=False))

    def _finish(self, stranger: _Stranger) -> None:
        match self.at_end:
            case AtEnd.STAY:
                self._poll.modify(stranger.socket, self._events(is_sending=False))
            case AtEnd.HALF_CLOSE:
                self._poll.modify(stranger.socket, self._events(is_sending=False))
                stranger.socket.shutdown(socket.SHUT_WR)
            case AtEnd.RESET:
                self._end(stranger)

    def _end_rests(self) -> None:
        now = time.monotonic()
        # They rest equally long, so the first is due first.
        due = 0
        for stranger in self._resting:
            if stranger.next_piece_at > now:
                break
            due += 1
            if stranger.socket.fileno() != -1:
                self._poll.modify(stranger.socket, self._events(is_sending=True))
        del self._resting[:due]

    def _end(self, stranger: _Stranger) -> None:
        self.ended += 1
        del self._open[stranger.socket.fileno()]
        self._poll.unregister(stranger.socket)
        stranger.socket.close()
