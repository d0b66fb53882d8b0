"""One project, looked at as the relay, as anybody with the app, and as its users."""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Self

import httpx

from app.doctor.inspection.app_keys import name_user_headers
from app.doctor.inspection.probes import Inspection
from app.doctor.inspection.reach import Reach, reach_supabase
from app.supabase.client import open_http_client


class Project:
    """The connections to one project, open within `async with`.

    Args:
        url: SUPABASE_URL.
        relay_headers: those of the relay's key.
        app_headers: those of the key that apps have, if it is known.
        sign_token: makes the token of a user by his id, if that can be done.
        timeout_seconds: for one request.
        clock: Unix time.
        transport: the wire, where it is not the network.
    """

    def __init__(
        self,
        url: str,
        *,
        relay_headers: Mapping[str, str],
        app_headers: Mapping[str, str] | None,
        sign_token: Callable[[str], str] | None,
        timeout_seconds: float,
        clock: Callable[[], float],
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = url
        self._relay_headers = relay_headers
        self._app_headers = app_headers
        self._sign_token = sign_token
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._transport = transport
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._relay_http = await self._open(self._relay_headers)
        self.relay = Inspection(self._relay_http, clock=self._clock)
        self.anon: Inspection | None = None
        if self._app_headers is not None:
            self.anon = await self._look(self._app_headers)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def reach(self) -> Reach:
        """Ask whether it is there, once."""
        return await reach_supabase(self._relay_http, clock=self._clock)

    async def as_user(self, user_id: str) -> Inspection | None:
        """Look as a user does when he is signed in; None without the means to sign his token."""
        if self._sign_token is None:
            return None
        return await self.with_token(self._sign_token(user_id))

    async def with_token(self, token: str) -> Inspection | None:
        """Look as the user whose token this is; None where no key can carry it."""
        headers = name_user_headers(self._app_headers, self._relay_headers, token)
        return None if headers is None else await self._look(headers)

    async def _look(self, headers: Mapping[str, str]) -> Inspection:
        return Inspection(await self._open(headers), clock=self._clock)

    async def _open(self, headers: Mapping[str, str]) -> httpx.AsyncClient:
        return await self._stack.enter_async_context(
            open_http_client(
                self._url,
                dict(headers),
                timeout_seconds=self._timeout_seconds,
                transport=self._transport,
            )
        )
