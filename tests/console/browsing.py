"""A visitor of the console without JavaScript: follows links, posts forms, keeps cookies."""

from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from app.console.session import COOKIE
from tests.api.relay_harness import RunningRelay
from tests.html_page import Page

ORIGIN: Final = "https://relay.test"
SAME_ORIGIN: Final = {"sec-fetch-site": "same-origin"}


@dataclass
class Visitor:
    """A browser without JavaScript."""

    relay: RunningRelay
    cookies: dict[str, str] = field(default_factory=dict)

    def sign_in(self, scope: str = "events:read", **claims: Any) -> None:
        """Have the cookie of a session."""
        self.cookies[COOKIE] = self.relay.bear(scope, **claims)["authorization"].split()[1]

    async def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        return await self._request("GET", path, headers)

    async def open(self, path: str) -> Page:
        """Get a page that must be there."""
        response = await self.get(path)
        assert response.status_code == 200, (response.status_code, response.text)
        return Page(response.text)

    async def post(
        self, path: str, form: dict[str, str], headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """Post a form; without other headers, as the console's own page does."""
        return await self._request("POST", path, SAME_ORIGIN if headers is None else headers, form)

    async def _request(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None,
        form: dict[str, str] | None = None,
    ) -> httpx.Response:
        pairs = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        fields = {"accept": "text/html", **({"cookie": pairs} if pairs else {}), **(headers or {})}
        response = await self.relay.http.request(method, path, headers=fields, data=form)
        for name, morsel in _read_cookies(response).items():
            self.cookies.pop(name, None)
            if morsel:
                self.cookies[name] = morsel
        return response


def _read_cookies(response: httpx.Response) -> dict[str, str]:
    pairs = (each.partition(";")[0] for each in response.headers.get_list("set-cookie"))
    return {name: value.strip('"') for name, _, value in (pair.partition("=") for pair in pairs)}
