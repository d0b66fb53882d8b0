"""A fake server for httpx that fails in every way that a real one does."""

import asyncio
import json
from collections.abc import Callable, Mapping

import httpx

Picker = Callable[[httpx.Request], bool]
"""Picks the requests that a trouble affects."""

Trouble = Callable[[httpx.Request], httpx.Response | None]
"""Responds or raises in place of the server; None lets a request through."""


def _any_request(_: httpx.Request) -> bool:
    return True


class FakeWire:
    """Keeps every request. Subclasses override `_respond`.

    Attributes:
        requests: in the order they arrived, those that were refused or hang included.
    """

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self._trouble: Trouble | None = None
        self._gate: asyncio.Event | None = None
        self._hangs: Picker = _any_request
        self._lands = False
        self._hanging = asyncio.Event()
        self._arrived = asyncio.Condition()

    @property
    def received_bytes(self) -> bytes:
        """All sent bytes: request lines, headers and bodies."""
        return b"\n".join(
            b"%b %b %b %b"
            % (r.method.encode(), str(r.url).encode(), repr(r.headers.raw).encode(), r.content)
            for r in self.requests
        )

    async def wait_for_requests(self, count: int) -> None:
        """Wait until this many requests have arrived; they may still be in flight."""
        await self._wait_until(lambda: len(self.requests) >= count)

    def add_trouble(self, trouble: Trouble) -> None:
        """Apply this trouble to every request from now on."""
        self._trouble = trouble

    def respond_with(
        self,
        status: int,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        of: Picker = _any_request,
    ) -> None:
        """Respond to requests (all, or those that `of` picks) like this from now on.

        Args:
            status: of the response.
            body: bytes as they are, None for none, anything else as JSON.
            headers: of the response.
            of: picks the requests.
        """
        content = body if isinstance(body, bytes) else json.dumps(body).encode()

        def respond(request: httpx.Request) -> httpx.Response | None:
            if not of(request):
                return None
            return httpx.Response(status, content=b"" if body is None else content, headers=headers)

        self._trouble = respond

    def break_connection(
        self,
        error: Callable[[str], httpx.TransportError] = httpx.ConnectError,
        *,
        of: Picker = _any_request,
    ) -> None:
        """Fail requests (all, or those that `of` picks) with a network error from now on."""

        def fail(request: httpx.Request) -> httpx.Response | None:
            if not of(request):
                return None
            raise error("the network is gone")

        self._trouble = fail

    def lose_responses(
        self,
        error: Callable[[str], httpx.TransportError] = httpx.ReadError,
        *,
        of: Picker = _any_request,
    ) -> None:
        """Apply requests from now on, but lose their responses in a network error."""

        def lose(request: httpx.Request) -> httpx.Response | None:
            if not of(request):
                return None
            self._respond(request)
            raise error("the response is lost")

        self._trouble = lose

    def deliver_twice(self, *, of: Picker = _any_request) -> None:
        """Apply requests twice from now on, and return the second response."""

        def repeat(request: httpx.Request) -> httpx.Response | None:
            if of(request):
                self._respond(request)
            return None

        self._trouble = repeat

    def hang(self, *, of: Picker = _any_request, lands: bool = False) -> asyncio.Event:
        """Let requests hang from now on, until the returned event is set.

        Args:
            of: picks the requests.
            lands: whether what they ask for is done before they hang.
        """
        self._gate, self._hangs, self._lands = asyncio.Event(), of, lands
        self._hanging.clear()
        return self._gate

    async def wait_for_hanging(self) -> None:
        """Wait until a request hangs."""
        await self._hanging.wait()

    def release(self) -> None:
        """Release hanging requests."""
        if self._gate is not None:
            self._gate.set()

    def heal(self) -> None:
        """End every trouble and every hanging request."""
        self._trouble = None
        self.release()

    def transport(self) -> httpx.AsyncBaseTransport:
        """Return the transport to this server."""
        return httpx.MockTransport(self.respond)

    async def respond(self, request: httpx.Request) -> httpx.Response:
        """Respond to one request; repeat an earlier one to deliver it late."""
        async with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()
        if self._gate is not None and not self._gate.is_set() and self._hangs(request):
            landed = self._respond(request) if self._lands else None
            self._hanging.set()
            await self._gate.wait()
            if landed is not None:
                return landed
        response = None if self._trouble is None else self._trouble(request)
        return self._respond(request) if response is None else response

    async def _wait_until(self, is_reached: Callable[[], bool]) -> None:
        async with self._arrived:
            await self._arrived.wait_for(is_reached)

    def _respond(self, request: httpx.Request) -> httpx.Response:
        raise NotImplementedError
