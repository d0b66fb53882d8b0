"""A fake relay for tests of the command: a real server on loopback with given answers."""

import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from app.api.problems import MEDIA_TYPE

Document = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """A received request.

    Attributes:
        body: of the request, read as JSON; None where there is none.
        client_port: which tells connections apart.
    """

    method: str
    path: str
    query: dict[str, list[str]]
    headers: Mapping[str, str]
    body: Any
    content: bytes
    client_port: int

    @property
    def bearer(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")


@dataclass(frozen=True)
class Answer:
    """A response to give."""

    status: int = 200
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def document(body: object, status: int = 200) -> Answer:
    """Answer with JSON."""
    return Answer(status, json.dumps(body).encode(), {"content-type": "application/json"})


def problem(status: int, code: str, detail: str = "It is so.", **more: Any) -> Answer:
    """Answer with a problem, as `app.api.problems` writes it."""
    body = {"type": f"/docs/problems#{code}", "status": status, "code": code, "detail": detail}
    return Answer(status, json.dumps(body | more).encode(), {"content-type": MEDIA_TYPE})


@dataclass
class Wire:
    """The received requests, and the responses to give.

    Attributes:
        answers: given in turn; the last one repeatedly.
        asked: every request so far.
    """

    url: str
    answers: list[Answer | Callable[[Asked], Answer]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def take(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer(asked) if callable(answer) else answer


class _Server(ThreadingHTTPServer):
    """Ignores callers that close their connection, as tests do."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def run_wire() -> Iterator[Wire]:
    """Serve on a free port of loopback until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length", 0)))
            url = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = json.loads(content) if content else None
            answer = wire.take(
                Asked(
                    self.command,
                    url.path,
                    parse_qs(url.query),
                    headers,
                    body,
                    content,
                    self.client_address[1],
                )
            )
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = _answer  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = _Server(("127.0.0.1", 0), Handler)
    wire = Wire(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield wire
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def confirm(asked: Asked) -> Answer:
    """Accept an event, or every event of a batch."""
    if asked.path == "/webhooks":
        return document({"event_id": asked.headers["webhook-id"], "status": "accepted"}, 202)
    results = [{"event_id": event["id"], "status": "accepted"} for event in asked.body["events"]]
    return document({"results": results}, 202)


def _of(code: int, **changes: object) -> Callable[[Asked], Answer]:
    def answer(asked: Asked) -> Answer:
        right = {"event_id": asked.headers["webhook-id"], "status": "accepted"}
        return document(right | changes, code)

    return answer


WRONG_SUCCESSES: dict[str, Answer | Callable[[Asked], Answer]] = {
    "of health": document({"status": "ok"}),
    "of another event": _of(202, event_id="evt_of_another"),
    "without an id": _of(202, event_id=None),
    "of a list": _of(202, event_id=["evt_1"]),
    "unknown status": _of(200, status="ok"),
    "status a list": _of(200, status=["accepted"]),
    "status of no relay": _of(201),
    "empty": Answer(202),
    "no content": Answer(204),
    "HTML": Answer(200, b"<html>Welcome", {"content-type": "text/html"}),
    "HTML called JSON": Answer(200, b"<html>Welcome", {"content-type": "application/json"}),
    "nested deeply": Answer(200, b"[" * 100_000, {"content-type": "application/json"}),
    "a batch": document({"results": [{"event_id": "evt_1", "status": "accepted"}]}),
}
"""Successes that are not about the event that was sent."""
