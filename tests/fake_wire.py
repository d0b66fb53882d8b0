"""A server at the end of httpx's wire, which can be told to fail in every way that one does."""

import asyncio
import json
from collections.abc import Callable, Mapping

import httpx

Picker = Callable[[httpx.Request], bool]
"""Says which requests meet a trouble."""

Trouble = Callable[[httpx.Request], httpx.Response | None]
"""Answers or raises in place of the server; None lets a request through."""


def _any_request(_: httpx.Request) -> bool:
    return True


class FakeWire:
    """Keeps every request that came in. Subclasses override `_answer`.

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
        """Everything that callers have sent: lines, headers and bodies."""
        return b"\n".join(
            b"%b %b %b %b"
            % (r.method.encode(), str(r.url).encode(), repr(r.headers.raw).encode(), r.content)
            for r in self.requests
        )

    async def wait_for_requests(self, count: int) -> None:
        """Wait until so many requests have arrived; they may not have been answered yet."""
        await self._wait_until(lambda: len(self.requests) >= count)

    def meet(self, trouble: Trouble) -> None:
        """Have every request meet this from now on."""
        self._trouble = trouble

    def answer_with(
        self,
        status: int,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        of: Picker = _any_request,
    ) -> None:
        """Answer requests (all, or those `of` picks) with this from now on.

        Args:
            status: of the answer.
            body: bytes as they are, None for none, anything else as JSON.
            headers: of the answer.
            of: picks the requests.
        """
        content = body if isinstance(body, bytes) else json.dumps(body).encode()

        def answer(request: httpx.Request) -> httpx.Response | None:
            if not of(request):
                return None
            return httpx.Response(status, content=b"" if body is None else content, headers=headers)

        self._trouble = answer

    def break_connection(
        self,
        error: Callable[[str], httpx.TransportError] = httpx.ConnectError,
        *,
        of: Picker = _any_request,
    ) -> None:
        """Have requests (all, or those `of` picks) end in a network error from now on."""

        def fail(request: httpx.Request) -> httpx.Response | None:
            if not of(request):
                return None
            raise error("the network is gone")

        self._trouble = fail

    def lose_answers(
        self,
        error: Callable[[str], httpx.TransportError] = httpx.ReadError,
        *,
        of: Picker = _any_request,
    ) -> None:
        """Do what requests ask for, but have them end in a network error from now on."""

        def lose(request: httpx.Request) -> httpx.Response | None:
            if not of(request):
                return None
            self._answer(request)
            raise error("the answer is lost")

        self._trouble = lose

    def deliver_twice(self, *, of: Picker = _any_request) -> None:
        """Do what requests ask for twice, and give the second answer, from now on."""

        def repeat(request: httpx.Request) -> httpx.Response | None:
            if of(request):
                self._answer(request)
            return None

        self._trouble = repeat

    def hang(self, *, of: Picker = _any_request, lands: bool = False) -> asyncio.Event:
        """Leave requests without an answer from now on, until the event given is set.

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
        """Let go of what hangs."""
        if self._gate is not None:
            self._gate.set()

    def heal(self) -> None:
        """End every trouble, and what hangs."""
        self._trouble = None
        self.release()

    def transport(self) -> httpx.AsyncBaseTransport:
        """Give the wire to it."""
        return httpx.MockTransport(self.answer)

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer one request; an earlier one given once more is one that was delivered late."""
        async with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()
        if self._gate is not None and not self._gate.is_set() and self._hangs(request):
            landed = self._answer(request) if self._lands else None
            self._hanging.set()
            await self._gate.wait()
            if landed is not None:
                return landed
        answer = None if self._trouble is None else self._trouble(request)
        return self._answer(request) if answer is None else answer

    async def _wait_until(self, is_reached: Callable[[], bool]) -> None:
        async with self._arrived:
            await self._arrived.wait_for(is_reached)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        raise NotImplementedError
