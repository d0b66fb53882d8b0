"""Lookups and replays by an operator, over HTTP."""

import http
import http.client
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any
from urllib.parse import urlencode

from app.auth.tokens import mint_token
from app.console.session import COOKIE
from benchmarks.processes import JWT_SECRET

Document = dict[str, Any]


class Operator:
    """One connection, kept open."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        claims = {
            "sub": "benchmark",
            "scope": "events:read replay:write",
            "exp": int(time.time()) + 7200,
        }
        token = mint_token(claims, secret=JWT_SECRET)
        self._headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        self._session = {"cookie": f"{COOKIE}={token}"}

    def get(self, path: str, **parameters: str) -> Document:
        """Read something."""
        query = f"?{urlencode(parameters)}" if parameters else ""
        return self._ask("GET", path + query)

    def open(self, path: str) -> bytes:
        """Open a page of the console."""
        self._connection.request("GET", path, headers=self._session)
        answer = self._connection.getresponse()
        page = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise RuntimeError(f"GET {path}: {answer.status}")
        return page

    def replay(self, **criteria: Any) -> Document:
        """Have something replayed, and stay until all of it is marked."""
        replay = self._ask("POST", "/replay", criteria)
        while True:
            document = self.get(f"/replay/{replay['replay_id']}")
            if document["status"] != "running":
                return document
            time.sleep(0.02)

    def reconcile(self, **request: Any) -> Document:
        """Have Supabase checked, and return the report of the check that begins."""
        return self._ask("POST", "/reconcile", request)

    def _ask(self, method: str, path: str, body: Document | None = None) -> Document:
        content = None if body is None else json.dumps(body)
        self._connection.request(method, path, content, self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status}")
        document: Document = json.loads(text)
        return document

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@contextmanager
def keep_busy(port: int, what: str) -> Iterator[None]:
    """Look up, or replay, repeatedly until the block ends."""
    stopping = Event()
    faults: list[Exception] = []

    def work() -> None:
        operator = Operator(port)
        try:
            while not stopping.is_set():
                if what == "replay":
                    operator.replay(all=True)
                else:
                    operator.get("/events", limit="50", status="applied")
        except Exception as error:  # noqa: BLE001 - reported below
            faults.append(error)
        finally:
            operator.close()

    thread = Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
    if faults:
        raise faults[0]
