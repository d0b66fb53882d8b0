"""The admin API of Supabase Auth at the wire, as far as the relay uses it.

Source: https://github.com/supabase/auth, `internal/api/admin.go`.
"""

import json
from collections.abc import Iterable

import httpx

from tests.fake_wire import FakeWire

_ADMIN = "/auth/v1/admin/users/"


class FakeAuth(FakeWire):
    """Bans and deletes accounts.

    Attributes:
        accounts: the duration of the ban by id; None without a ban.
    """

    def __init__(self, accounts: Iterable[str] = (), *, api_key: str | None = None) -> None:
        super().__init__()
        self.accounts: dict[str, str | None] = dict.fromkeys(accounts)
        self._api_key = api_key

    def _respond(self, request: httpx.Request) -> httpx.Response:
        if self._api_key is not None and request.headers.get("apikey") != self._api_key:
            return httpx.Response(401, json={"message": "Invalid API key", "hint": "Check it."})
        user_id = request.url.path.removeprefix(_ADMIN)
        if user_id not in self.accounts:
            return refuse(404, "user_not_found", "User not found")
        if request.method == "DELETE":
            del self.accounts[user_id]
            return httpx.Response(200, json={})
        self.accounts[user_id] = json.loads(request.content)["ban_duration"]
        # The real one responds with the whole account.
        return httpx.Response(200, json={"id": user_id, "email": "ana@example.com"})


def refuse(status: int, code: str, message: str) -> httpx.Response:
    """Respond with an error as Auth writes it."""
    return httpx.Response(status, json={"code": status, "error_code": code, "msg": message})
