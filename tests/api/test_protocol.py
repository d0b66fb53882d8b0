"""An event that arrives whole: taken without a task, and answered as if it had had one.

The relay runs in a thread, by the loop and the protocol of `relay serve`; the tests speak to it in
bytes, for what matters is how they are cut.
"""

import json
import logging
import re
import socket
import sqlite3
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Final, Self, cast

import httpx
import pytest
import uvicorn
from prometheus_client.parser import text_string_to_metric_families

from app.api.application import Application, ShortWay
from app.api.bodies import EVENT_BYTES
from app.api.protocol import ShortWayProtocol
from app.api.services import Services
from app.auth.signatures import sign
from app.domain.failpoints import Failpoint
from app.settings import Settings
from tests.api.running import (
    NOW,
    WEBHOOK_SECRET,
    Fields,
    RelayStarter,
    full_disk,
    make_body,
)
from tests.fake_postgrest import FakePostgrest

_PATIENCE_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.0005

BODY: Final = json.dumps(make_body("user.created")).encode()
OTHER_BODY: Final = json.dumps(make_body("user.created", username="grace")).encode()


def await_that(condition: Callable[[], object]) -> None:
    """Wait for the relay's thread."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < until, "it did not come about in time"
        time.sleep(_POLL_SECONDS)


# --- the relay ---


class Added(set[Any]):
    """A set that knows how often something was added: uvicorn adds every task it makes."""

    times = 0

    def add(self, element: Any) -> None:
        self.times += 1
        super().add(element)


class Witnessed(ShortWayProtocol):
    """The protocol, with how much came and who was told to stop."""

    received_bytes = 0
    is_stopping = False

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.received_bytes += len(data)

    def shutdown(self) -> None:
        super().shutdown()
        self.is_stopping = True


@dataclass
class Served:
    """A relay that is being served.

    Attributes:
        app: the application.
        server: serves it.
        port: of loopback.
        starter: has its folder and clock.
        offered: what came of each request that was offered to the short way.
        tasks: what uvicorn makes for requests that go the long way.
    """

    app: Application
    server: uvicorn.Server
    port: int
    starter: RelayStarter
    offered: list[bool] = field(default_factory=list)
    tasks: Added = field(default_factory=Added)

    @property
    def taken(self) -> int:
        """How many requests went the short way."""
        return sum(self.offered)

    @property
    def services(self) -> Services:
        return cast(Services, self.app.state.services)

    @property
    def connections(self) -> list[Witnessed]:
        return cast(list[Witnessed], list(self.server.server_state.connections))

    def open(self) -> "Line":
        return Line(self)

    def find_bodies(self, event_id: str) -> list[str]:
        """Give what is stored under an id, by a connection of one's own."""
        with closing(sqlite3.connect(self.starter.folder / "relay.db")) as connection:
            rows = connection.execute("SELECT data FROM events WHERE event_id = ?", (event_id,))
            return [data for (data,) in rows]

    @contextmanager
    def hold_store(self) -> Iterator[None]:
        """Let nothing be committed: another process is writing to the file."""
        file = self.starter.folder / "relay.db"
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")

    def count(self) -> dict[str, float]:
        """Read the counters of events and rejections, by receipt and code."""
        return {
            next(iter(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(self.read_metrics())
            for sample in family.samples
            if sample.name in ("relay_events_total", "relay_rejections_total")
        }

    def read_metrics(self) -> str:
        return httpx.get(f"http://127.0.0.1:{self.port}/metrics", trust_env=False).text

    def stop(self) -> None:
        """Begin to stop, as SIGTERM does."""
        self.server.should_exit = True


@contextmanager
def serve(
    starter: RelayStarter, *, options: dict[str, Any] | None = None, **changes: object
) -> Iterator[Served]:
    """Serve a relay as `relay serve` does, with `changes` to its settings."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        app = cast(Application, starter.make_app(**changes))
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=Witnessed,
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                **({"timeout_graceful_shutdown": 5, "timeout_keep_alive": 75} | (options or {})),
            )
        )
        served = Served(app, server, listener.getsockname()[1], starter)
        server.server_state.tasks = served.tasks
        app.short_way = _remember(app.short_way, served.offered)
        thread = threading.Thread(target=server.run, args=([listener],), name="relay")
        thread.start()
        try:
            await_that(lambda: server.started or not thread.is_alive())
            yield served
        finally:
            served.stop()
            thread.join(_PATIENCE_SECONDS)
        assert not thread.is_alive(), "the relay did not stop"
        assert not server.server_state.connections


def _remember(way: ShortWay, offered: list[bool]) -> ShortWay:
    def go(*arguments: Any) -> bool:
        is_taken = way(*arguments)
        offered.append(is_taken)
        return is_taken

    return go


# --- its client ---


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


class Line:
    """A connection to the relay. Each send arrives as one piece, before the next is sent."""

    def __init__(self, served: Served, *, receive_buffer_bytes: int | None = None) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(_PATIENCE_SECONDS)
        if receive_buffer_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.connect(("127.0.0.1", served.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        address = self.socket.getsockname()
        await_that(lambda: any(other.client == address for other in served.connections))
        (self.protocol,) = (other for other in served.connections if other.client == address)
        self._unread = b""

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
        """Send what the relay may leave unread, and say what it has received when it has not."""
        total = self.protocol.received_bytes + len(piece)
        self.socket.sendall(piece)
        return total

    def read(self) -> Answer:
        """Read one answer."""
        while b"\r\n\r\n" not in self._unread:
            self._receive()
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        line, *rest = head.split(b"\r\n")
        headers = [cast(tuple[bytes, bytes], tuple(pair.split(b": ", 1))) for pair in rest]
        length = int(dict(headers).get(b"content-length", b"0"))
        while len(self._unread) < length:
            self._receive()
        body, self._unread = self._unread[:length], self._unread[length:]
        return Answer(line, headers, body)

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
        return self.protocol.cycle.response_complete

    def break_off(self) -> None:
        """Be gone as a process is that was killed in the middle: with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def read_to_end(self) -> bytes:
        """Read all that comes, having said that nothing more will be sent."""
        self.socket.shutdown(socket.SHUT_WR)
        while True:
            received = self.socket.recv(65_536)
            self._unread += received
            if not received:
                return self._unread

    def _is_received(self, total: int) -> bool:
        return self.protocol.received_bytes >= total

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
    fields = sign_event(event_id, body) | {"host": "relay.test", "content-length": str(len(body))}
    fields |= {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{method} {target} HTTP/{http}", *(f"{n}: {v}" for n, v in fields.items()), *extra]
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body


def write_chunked(event_id: str, body: bytes = BODY) -> bytes:
    """Write it in two chunks, with no length declared."""
    whole = write_request(event_id, body, "Transfer-Encoding: chunked")
    head = re.sub(rb"content-length: \d+\r\n", b"", whole.partition(b"\r\n\r\n")[0])
    half = len(body) // 2
    chunks = [b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:])]
    return head + b"\r\n\r\n" + b"".join(chunks) + b"0\r\n\r\n"


def cut(request: bytes) -> tuple[bytes, bytes]:
    """Cut a request behind its headers."""
    end = request.index(b"\r\n\r\n") + 4
    return request[:end], request[end:]


# --- fixtures ---


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One relay for the tests of this file that do it no harm: use ids of your own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (*Settings.model_fields, "supabase_secret_key"):
            patch.delenv(name.upper(), raising=False)
        starter = RelayStarter(tmp_path_factory.mktemp("served"), FakePostgrest())
        with serve(starter) as served:
            yield served


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Hold the log of every test to no traceback, but the dispatcher's where the disk is full."""
    caplog.set_level(logging.INFO)
    yield
    for record in caplog.get_records("call"):
        assert record.name != "asyncio", record.getMessage()
        assert record.exc_info is None or record.name == "app.relay.dispatch", record.exc_text


@pytest.fixture
def ways(relay: Served) -> "Ways":
    return Ways(relay)


class Ways:
    """How many requests have gone each way since it was made."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._taken, self._tasks = served.taken, served.tasks.times

    @property
    def short(self) -> int:
        return self._served.taken - self._taken

    @property
    def long(self) -> int:
        return self._served.tasks.times - self._tasks


# --- which way ---


def test_event_that_arrives_whole_is_taken_without_a_task(relay: Served, ways: Ways) -> None:
    with relay.open() as line:
        answer = line.ask(write_request("evt_whole"))
    assert answer.line == b"HTTP/1.1 202 Accepted"
    assert answer.body == b'{"event_id": "evt_whole", "status": "accepted"}'
    assert (ways.short, ways.long) == (1, 0)
    assert len(relay.find_bodies("evt_whole")) == 1


def test_event_has_the_date_of_now(relay: Served) -> None:
    with relay.open() as line:
        fields = line.ask(write_request("evt_dated")).fields
    assert abs(parsedate_to_datetime(fields[b"date"].decode()).timestamp() - time.time()) < 5
    assert fields.keys() == {b"date", b"content-type", b"content-length"}


def test_event_whose_body_comes_after_its_headers_goes_the_long_way(
    relay: Served, ways: Ways
) -> None:
    with relay.open() as line:
        assert line.ask(*cut(write_request("evt_halves"))).status == 202
    assert (ways.short, ways.long) == (0, 1)


def test_event_that_comes_byte_by_byte_is_taken(relay: Served, ways: Ways) -> None:
    request = write_request("evt_bytes")
    with relay.open() as line:
        answer = line.ask(*(request[n : n + 1] for n in range(len(request))))
    assert answer.document == {"event_id": "evt_bytes", "status": "accepted"}
    assert (ways.short, ways.long) == (0, 1)


def test_event_whose_last_headers_come_with_its_body_is_taken_without_a_task(
    relay: Served, ways: Ways
) -> None:
    request = write_request("evt_late_headers")
    with relay.open() as line:
        assert line.ask(request[:40], request[40:]).status == 202
    assert (ways.short, ways.long) == (1, 0)


def test_event_of_which_only_the_beginning_is_signed_is_refused_when_it_is_whole(
    relay: Served, ways: Ways
) -> None:
    with relay.open() as line:
        line.send(write_request("evt_prefix", content_length=str(len(BODY) + 2)))
        assert ways.long == 1
        assert line.ask(b"  ").status == 401
    assert relay.find_bodies("evt_prefix") == []


def test_event_in_chunks_that_arrive_together_is_taken_without_a_task(
    relay: Served, ways: Ways
) -> None:
    with relay.open() as line:
        assert line.ask(write_chunked("evt_chunks")).status == 202
        assert line.ask(write_chunked("evt_chunks")).status == 200
    assert (ways.short, ways.long) == (2, 0)
    (data,) = relay.find_bodies("evt_chunks")
    assert json.loads(data) == json.loads(BODY)["data"]


def test_event_of_a_sender_who_waits_goes_the_long_way(relay: Served, ways: Ways) -> None:
    with relay.open() as line:
        answer = line.ask(write_request("evt_waits", BODY, "Prefer: wait=10"))
    assert (answer.status, answer.fields[b"preference-applied"]) == (200, b"wait=10")
    assert answer.document["status"] in ("applied", "superseded")
    assert (ways.short, ways.long) == (0, 1)


def test_event_of_a_sender_who_waits_for_the_go_ahead_is_given_it(
    relay: Served, ways: Ways
) -> None:
    head, body = cut(write_request("evt_expects", BODY, "Expect: 100-continue"))
    with relay.open() as line:
        assert line.ask(head).line == b"HTTP/1.1 100 Continue"
        assert line.ask(body).status == 202
    assert (ways.short, ways.long) == (0, 1)


def test_event_of_a_sender_who_does_not_wait_for_the_go_ahead_gets_its_answer_alone(
    relay: Served,
) -> None:
    # RFC 9110, 10.1.1: with the content there, 100 may be left out.
    with relay.open() as line:
        assert line.ask(write_request("evt_hurries", BODY, "Expect: 100-continue")).status == 202
        assert line.ask(write_request("evt_hurries")).status == 200


@pytest.mark.parametrize("target", ["/%77ebhooks", "/webhooks?a=b&a=%2F"])
def test_event_to_a_path_written_otherwise_is_taken_without_a_task(
    relay: Served, ways: Ways, target: str
) -> None:
    with relay.open() as line:
        assert line.ask(write_request(f"evt_{len(target)}", target=target)).status == 202
    assert (ways.short, ways.long) == (1, 0)


def test_event_that_is_taken_without_a_task_is_written_to_supabase(starter: RelayStarter) -> None:
    with serve(starter) as relay, relay.open() as line:
        # The second finds a dispatcher that has nothing to do and no reason of its own to look.
        for table, kind in (("users", "user"), ("trips", "trip")):
            body = json.dumps(make_body(f"{kind}.created")).encode()
            assert line.ask(write_request(f"evt_{kind}", body)).status == 202
            await_that(partial(starter.postgrest.rows, table))
            await_that(lambda: "relay_pending_entities 0.0" in relay.read_metrics())
        assert relay.taken == 2


# --- one connection ---


def test_connection_takes_one_event_after_another(relay: Served, ways: Ways) -> None:
    with relay.open() as line:
        for number in range(20):
            answer = line.ask(write_request(f"evt_again_{number}"))
            assert answer.document == {"event_id": f"evt_again_{number}", "status": "accepted"}
            assert b"connection" not in answer.fields
        assert line.ask(b"GET /health/live HTTP/1.1\r\nhost: relay.test\r\n\r\n").status == 200
    assert (ways.short, ways.long) == (20, 1)


@pytest.mark.parametrize("count", [2, 50])
def test_events_in_one_piece_are_answered_in_their_order(
    relay: Served, ways: Ways, count: int
) -> None:
    ids = [f"evt_{count}_{number}" for number in range(count)]
    with relay.open() as line:
        line.send(b"".join(write_request(event_id) for event_id in ids))
        assert [line.read().document["event_id"] for _ in ids] == ids
        assert line.ask(write_request(f"evt_{count}_last")).status == 202
    # The first of a piece; each of the others begins when the one before it is answered.
    assert (ways.short, ways.long) == (2, count - 1)
    assert all(len(relay.find_bodies(event_id)) == 1 for event_id in ids)


def test_requests_of_every_kind_in_one_piece_are_answered_in_their_order(relay: Served) -> None:
    piece = (
        write_request("evt_mixed")
        + b"GET /health/live HTTP/1.1\r\nhost: relay.test\r\n\r\n"
        + write_request("evt_mixed", OTHER_BODY)
        + write_request("evt_mixed")
    )
    for pieces in ((piece,), (piece[:-10], piece[-10:]), (piece[:300], piece[300:])):
        with relay.open() as line:
            line.send(*pieces)
            statuses = [line.read().status for _ in range(4)]
        assert statuses[1:] == [200, 409, 200]


def test_event_behind_one_that_waits_for_its_commit_is_answered_after_it(relay: Served) -> None:
    with relay.open() as line:
        with relay.hold_store():
            line.send(write_request("evt_before"), write_request("evt_behind"))
        assert line.read().document["event_id"] == "evt_before"
        assert line.read().document["event_id"] == "evt_behind"


@pytest.mark.parametrize(
    "request_",
    [
        partial(write_request, http="1.0"),
        partial(write_request, connection="close"),
        partial(write_request, connection="Close, TE"),
    ],
    ids=["http-1.0", "close", "close-and-more"],
)
def test_event_on_a_connection_that_is_to_end_ends_it(
    relay: Served, ways: Ways, request_: Callable[[str], bytes]
) -> None:
    event_id = f"evt_ends_{relay.taken}"
    with relay.open() as line:
        answer = line.ask(request_(event_id))
        assert (answer.status, answer.fields[b"connection"]) == (202, b"close")
        assert line.is_ended()
    assert (ways.short, ways.long) == (1, 0)


def test_event_that_ends_the_connection_has_what_follows_it_dropped(relay: Served) -> None:
    with relay.open() as line:
        line.send(write_request("evt_final", connection="close") + write_request("evt_dropped"))
        assert line.read().document["event_id"] == "evt_final"
        assert line.is_ended()
    assert relay.find_bodies("evt_dropped") == []


def test_event_with_rubbish_behind_it_is_stored_once_and_ends_the_connection(
    relay: Served,
) -> None:
    with relay.open() as line:
        # uvicorn's own answer overtakes: it says that the connection is no good any more.
        line.send(write_request("evt_rubbish") + b"\x00\x01rubbish\r\n\r\n")
        assert line.read().fields[b"connection"] == b"close"
        assert line.is_ended()
    await_that(lambda: relay.find_bodies("evt_rubbish"))
    assert len(relay.find_bodies("evt_rubbish")) == 1


def test_idle_connection_ends_after_the_answer_and_not_before(starter: RelayStarter) -> None:
    with serve(starter, options={"timeout_keep_alive": 0}) as relay, relay.open() as line:
        with relay.hold_store():
            line.send(write_request("evt_1"))
            await_that(lambda: relay.taken == 1)
            line.socket.setblocking(False)
            with pytest.raises(BlockingIOError):
                line.socket.recv(1)
            line.socket.settimeout(_PATIENCE_SECONDS)
        answer = line.read()
        assert (answer.status, b"connection" in answer.fields) == (202, False)
        assert line.is_ended()


def test_sender_who_does_not_read_is_held_up_and_loses_nothing(relay: Served, ways: Ways) -> None:
    with Line(relay, receive_buffer_bytes=4096) as line:
        protocol = line.protocol
        # What the kernel takes is not for the relay to bound; here it is little.
        sending: socket.socket = protocol.transport.get_extra_info("socket")
        sending.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        protocol.loop.call_soon_threadsafe(
            partial(protocol.transport.set_write_buffer_limits, high=2048)
        )
        sent = 0
        while not protocol.flow.write_paused:
            assert sent < 2000, "the relay does not notice"
            sent += 1
            line.send(write_request(f"evt_unread_{sent}"))
            await_that(lambda: protocol.cycle.response_complete or protocol.flow.write_paused)
        await_that(lambda: protocol.cycle.response_complete)
        assert (ways.short, ways.long) == (sent, 0)
        line.send(*(write_request(f"evt_unread_{sent + n}") for n in (1, 2)))
        await_that(lambda: relay.find_bodies(f"evt_unread_{sent + 1}"))
        # The next is stored and waits to be answered; who is behind it waits, and no more is read.
        assert (ways.short, ways.long) == (sent, 1)
        assert (protocol.cycle.response_complete, protocol.flow.read_paused) == (False, True)
        line.send_without_waiting(write_request(f"evt_unread_{sent + 3}"))
        ids = [line.read().document["event_id"] for _ in range(sent + 3)]
    assert ids == [f"evt_unread_{n + 1}" for n in range(sent + 3)]


# --- the same answer on either way ---


def _duplicate(line: Line, event_id: str) -> bytes:
    line.ask(write_request(event_id))
    return write_request(event_id)


def _conflict(line: Line, event_id: str) -> bytes:
    line.ask(write_request(event_id))
    return write_request(event_id, OTHER_BODY)


def _plain(*extra: str, **changes: Any) -> Callable[[Line, str], bytes]:
    def write(_: Line, event_id: str) -> bytes:
        return write_request(event_id, changes.get("content", BODY), *extra, **_rest(changes))

    return write


def _rest(changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in changes.items() if name != "content"}


SAME: Final[Mapping[str, tuple[int, Callable[[Line, str], bytes]]]] = {
    "accepted": (202, _plain()),
    "duplicate": (200, _duplicate),
    "conflict": (409, _conflict),
    "chunked": (202, lambda _, event_id: write_chunked(event_id)),
    "http-1.0": (202, _plain(http="1.0")),
    "close": (202, _plain(connection="close")),
    "bad-signature": (401, _plain(webhook_signature="v1,bm9uZQ==")),
    "no-signature": (401, _plain(webhook_signature="")),
    "old": (401, _plain(webhook_timestamp="1")),
    "not-json": (422, _plain(content=b'{"type": ')),
    "not-utf-8": (422, _plain(content=b"\xff\xfe")),
    "no-body": (422, _plain(content=b"")),
    "unknown-type": (422, _plain(content=BODY.replace(b"user.created", b"user.sang"))),
    "another-media-type": (415, _plain(content_type="text/plain")),
    "no-media-type": (415, _plain(content_type="")),
    "longest-body": (202, _plain(content=BODY.ljust(EVENT_BYTES))),
    "too-long-body": (413, _plain(content=BODY.ljust(EVENT_BYTES + 1))),
    "media-type-twice": (415, _plain("Content-Type: text/plain")),
    "media-type-twice-the-last-right": (
        202,
        _plain("Content-Type: application/json;charset=utf-8", content_type="text/plain"),
    ),
    "id-twice": (401, _plain("Webhook-Id: evt_another")),
    "signature-twice": (401, _plain("Webhook-Signature: v1,bm9uZQ==")),
    "odd-preference": (202, _plain("Prefer: respond-async")),
    "query": (202, _plain(target="/webhooks?wait=10")),
    "percent-encoded": (202, _plain(target="/%77ebhooks")),
    "another-path": (404, _plain(target="/webhook")),
    "slash-behind": (404, _plain(target="/webhooks/")),
    "double-slash": (404, _plain(target="//webhooks")),
    "put": (405, _plain(method="PUT")),
    "get": (405, _plain(method="GET")),
}


@pytest.mark.parametrize("name", SAME)
def test_answer_is_the_same_on_either_way(relay: Served, name: str) -> None:
    status, write = SAME[name]
    answers = []
    # Ids of the same length, so that nothing else may differ.
    for event_id, split in ((f"evt_same_1_{name}", False), (f"evt_same_2_{name}", True)):
        with relay.open() as line:
            request = write(line, event_id)
            answer = line.ask(*cut(request)) if split else line.ask(request)
            is_last = answer.fields.get(b"connection") == b"close"
            assert line.is_ended() if is_last else _goes_on(line)
        answers.append(answer.undated())
    whole, (line_2, headers_2, body_2) = answers
    assert whole == (line_2, headers_2, body_2.replace(b"evt_same_2", b"evt_same_1"))
    assert int(line_2.split()[1]) == status


def _goes_on(line: Line) -> bool:
    return line.ask(b"GET /health/live HTTP/1.1\r\nhost: relay.test\r\n\r\n").status == 200


def test_head_of_the_path_is_answered_as_ever(relay: Served, ways: Ways) -> None:
    answers: list[bytes] = []
    for split in (False, True):
        with relay.open() as line:
            request = write_request("evt_head", b"", method="HEAD")
            line.send(*((request[:30], request[30:]) if split else (request,)))
            await_that(lambda: ways.long == len(answers) + 1)
            await_that(line.is_answered)
            answers.append(re.sub(rb"date: [^\r]*\r\n", b"", line.read_to_end()))
    assert answers[0] == answers[1]
    assert answers[0].startswith(b"HTTP/1.1 405 ")
    assert (ways.short, ways.long) == (0, 2)


def test_event_that_asks_for_another_protocol_is_refused_as_ever(relay: Served, ways: Ways) -> None:
    # httptools takes what follows the headers for the other protocol: the event has no body.
    request = write_request("evt_h2c", BODY, "Connection: Upgrade", "Upgrade: h2c")
    with relay.open() as line:
        assert line.ask(request).status == 401
    assert (ways.short, ways.long) == (0, 1)


def test_answers_under_a_root_path_are_the_same_on_either_way(starter: RelayStarter) -> None:
    with serve(starter, options={"root_path": "/relay"}) as relay:
        answers = []
        for event_id, split in (("evt_1", False), ("evt_2", True)):
            with relay.open() as line:
                request = write_request(event_id)
                answers.append(line.ask(*cut(request)) if split else line.ask(request))
        assert [answer.status for answer in answers] == [202, 202]
        assert answers[0].headers[1:] == answers[1].headers[1:]
        assert relay.tasks.times == 2


def test_answers_without_a_store_are_the_same_on_either_way(starter: RelayStarter) -> None:
    with serve(starter, max_in_flight=1) as relay, relay.open() as line:
        assert line.ask(write_request("evt_0")).status == 202
        with full_disk():
            whole = line.ask(write_request("evt_1"))
            pieces = line.ask(*cut(write_request("evt_1")))
        assert (whole.status, whole.fields[b"retry-after"]) == (503, b"2")
        assert whole.document["code"] == "store-unavailable"
        assert whole.undated() == pieces.undated()
        assert relay.find_bodies("evt_1") == []
        # Its place is free, and with room on the disk it is new.
        assert line.ask(write_request("evt_1")).status == 202
        assert relay.count()["store-unavailable"] == 2
        assert relay.count()["accepted"] == 2


def test_answers_without_a_place_are_the_same_on_either_way(starter: RelayStarter) -> None:
    with serve(starter, max_in_flight=1) as relay, relay.open() as first:
        with relay.hold_store():
            first.send(write_request("evt_1"))
            await_that(lambda: relay.taken == 1)
            with relay.open() as second:
                whole = second.ask(write_request("evt_2"))
                pieces = second.ask(*cut(write_request("evt_2")))
        assert (whole.status, whole.fields[b"retry-after"]) == (429, b"1")
        assert whole.document["code"] == "overloaded"
        assert whole.undated() == pieces.undated()
        assert first.read().status == 202
        # The place is free again.
        assert first.ask(write_request("evt_2")).status == 202
        assert relay.taken == 2


def test_places_of_those_who_are_refused_are_free_again(starter: RelayStarter) -> None:
    with serve(starter, max_in_flight=1) as relay, relay.open() as line:
        for request, status in (
            (write_request("evt_1"), 202),
            (write_request("evt_1", OTHER_BODY), 409),
            (write_request("evt_2", b"{}"), 422),
            (write_request("evt_2", content_type="text/plain"), 415),
            (write_request("evt_2", webhook_signature="v1,bm9uZQ=="), 401),
            (write_request("evt_2"), 202),
        ):
            assert line.ask(request).status == status


def test_event_beyond_what_the_server_takes_is_refused_as_ever(starter: RelayStarter) -> None:
    with serve(starter, options={"limit_concurrency": 1}) as relay, relay.open() as line:
        answer = line.ask(write_request("evt_1"))
        assert (answer.status, answer.body) == (503, b"Service Unavailable")
        assert relay.offered == []


@pytest.mark.parametrize(
    ("mode", "status"), [("hmac", 202), ("any", 202), ("both", 401), ("jwt", 401)]
)
def test_signature_alone_is_taken_at_once_only_where_it_is_enough(
    starter: RelayStarter, mode: str, status: int
) -> None:
    with serve(starter, webhook_auth=mode, max_in_flight=1) as relay, relay.open() as line:
        whole = line.ask(write_request("evt_1"))
        pieces = line.ask(*cut(write_request("evt_1")))
        assert whole.status == status
        assert relay.taken == (status == 202)
        if status == 401:
            assert whole.undated() == pieces.undated()


# --- what is counted ---


def test_events_are_counted_once_whichever_way_they_go(starter: RelayStarter) -> None:
    with serve(starter) as relay, relay.open() as line:
        line.ask(write_request("evt_1"))
        line.ask(*cut(write_request("evt_2")))
        line.ask(write_request("evt_1"))
        line.ask(*cut(write_request("evt_1")))
        line.ask(write_request("evt_1", OTHER_BODY))
        line.ask(write_request("evt_3", webhook_signature="v1,bm9uZQ=="))
        line.ask(write_request("evt_3", b"{}"))
        counted = relay.count()
    assert {name: count for name, count in counted.items() if count} == {
        "accepted": 2,
        "duplicate": 2,
        "conflict": 1,
        "event-id-conflict": 1,
        "unauthenticated": 1,
        "input-invalid": 1,
    }


def test_event_that_is_not_stored_is_offered_to_the_store_once(starter: RelayStarter) -> None:
    points: list[Failpoint] = []
    with serve(starter) as relay, relay.open() as line:
        line.ask(write_request("evt_1"))
        relay.app.state.services = replace(relay.services, reach=points.append)
        assert line.ask(write_request("evt_1", OTHER_BODY)).status == 409
        with full_disk():
            assert line.ask(write_request("evt_2")).status == 503
        # What cannot be committed takes seconds to be given up; a second time, seconds more.
        assert (relay.taken, points) == (3, [Failpoint.AFTER_VERIFY] * 2)


def test_refusal_is_logged_once(relay: Served, caplog: pytest.LogCaptureFixture) -> None:
    with relay.open() as line:
        assert line.ask(write_request("evt_log", webhook_signature="v1,bm9uZQ==")).status == 401
    rejected = [r for r in caplog.records if r.getMessage().startswith("rejected /webhooks")]
    assert len(rejected) == 1


# --- a sender who is gone ---


@pytest.mark.parametrize("leave", [Line.break_off, Line.close], ids=["reset", "closed"])
@pytest.mark.parametrize("behind", [0, 2], ids=["alone", "with-others-behind"])
def test_event_of_a_sender_who_is_gone_is_stored_and_its_place_is_free(
    starter: RelayStarter, leave: Callable[[Line], None], behind: int
) -> None:
    with serve(starter, max_in_flight=1) as relay:
        with relay.hold_store():
            line = relay.open()
            line.send(b"".join(write_request(f"evt_{n}") for n in range(1 + behind)))
            await_that(lambda: relay.taken == 1)
            leave(line)
            # While others wait behind it nothing is read, so that it shows only afterwards.
            await_that(lambda: behind or not relay.connections)
        await_that(lambda: relay.find_bodies("evt_0"))
        with relay.open() as next_:
            await_that(lambda: next_.ask(write_request("evt_next")).status != 429)
            assert next_.ask(write_request("evt_next")).status == 200
        await_that(lambda: not relay.connections)


def test_conflict_of_a_sender_who_is_gone_leaves_nothing_behind(starter: RelayStarter) -> None:
    with serve(starter, max_in_flight=1) as relay:
        with relay.open() as line:
            line.ask(write_request("evt_1"))
        with relay.hold_store():
            line = relay.open()
            line.send(write_request("evt_1", OTHER_BODY))
            await_that(lambda: relay.taken == 2)
            line.break_off()
            await_that(lambda: not relay.connections)
        with relay.open() as next_:
            await_that(lambda: next_.ask(write_request("evt_2")).status != 429)
        (data,) = relay.find_bodies("evt_1")
        assert json.loads(data)["username"] == "ada"
        await_that(lambda: not relay.tasks)


# --- the end ---


def test_event_that_waits_for_its_commit_while_the_relay_stops_is_answered(
    starter: RelayStarter,
) -> None:
    with serve(starter) as relay, relay.open() as line:
        with relay.hold_store():
            line.send(write_request("evt_1"))
            await_that(lambda: relay.taken == 1)
            relay.stop()
            await_that(lambda: line.protocol.is_stopping)
        answer = line.read()
        assert (answer.status, answer.fields[b"connection"]) == (202, b"close")
        assert line.is_ended()
        assert relay.tasks.times == 0


def test_conflict_that_waits_for_its_commit_while_the_relay_stops_is_answered(
    starter: RelayStarter,
) -> None:
    with serve(starter) as relay, relay.open() as line:
        line.ask(write_request("evt_1"))
        with relay.hold_store():
            line.send(write_request("evt_1", OTHER_BODY))
            await_that(lambda: relay.taken == 2)
            relay.stop()
            await_that(lambda: line.protocol.is_stopping)
        answer = line.read()
        assert (answer.status, answer.fields[b"connection"]) == (409, b"close")
        assert line.is_ended()


def test_event_that_outlasts_the_patience_of_a_stop_is_still_answered(
    starter: RelayStarter, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"timeout_graceful_shutdown": 0}
    with serve(starter, options=options) as relay, relay.open() as line:
        with relay.hold_store():
            line.send(write_request("evt_1"))
            await_that(lambda: relay.taken == 1)
            relay.stop()
            # The store commits what waits before it lets go.
            await_that(lambda: "Waiting for application shutdown." in caplog.messages)
        assert line.read().status == 202


def test_conflict_that_outlasts_the_patience_of_a_stop_is_not_answered_as_taken(
    starter: RelayStarter, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"timeout_graceful_shutdown": 0}
    with serve(starter, options=options) as relay, relay.open() as line:
        line.ask(write_request("evt_1"))
        with relay.hold_store():
            line.send(write_request("evt_1", OTHER_BODY))
            await_that(lambda: relay.taken == 2)
            relay.stop()
            await_that(lambda: "Waiting for application shutdown." in caplog.messages)
        # The store is closed, or closes while it is looked at again.
        assert line.read().status in (409, 503)


def test_events_in_one_piece_are_all_answered_while_the_relay_stops(starter: RelayStarter) -> None:
    ids = ["evt_1", "evt_2", "evt_3"]
    with serve(starter) as relay, relay.open() as line:
        with relay.hold_store():
            line.send(b"".join(map(write_request, ids)))
            await_that(lambda: relay.taken == 1)
            relay.stop()
            await_that(lambda: line.protocol.is_stopping)
        answers = [line.read() for _ in ids]
        assert [answer.document["event_id"] for answer in answers] == ids
        assert [b"connection" in answer.fields for answer in answers] == [False, False, True]
        assert line.is_ended()


def test_events_of_senders_who_are_gone_when_the_relay_stops_are_stored(
    starter: RelayStarter, caplog: pytest.LogCaptureFixture
) -> None:
    ids = ["evt_1", "evt_2", "evt_3"]
    with serve(starter) as relay, relay.hold_store():
        lines = []
        for event_id in ids:
            line = relay.open()
            line.send(write_request(event_id))
            lines.append(line)
        await_that(lambda: relay.taken == len(ids))
        for line in lines:
            line.break_off()
        await_that(lambda: not relay.connections)
        relay.stop()
        await_that(lambda: "Waiting for application shutdown." in caplog.messages)
    assert all(len(relay.find_bodies(event_id)) == 1 for event_id in ids)
