"""Closes accounts of Supabase Auth through its admin API: bans or deletes them.

Source: https://github.com/supabase/auth, `internal/api/admin.go`.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Any, Final

import httpx

from app.domain.failures import RequestFailure, RequestFailureKind
from app.supabase.errors import (
    REFERENCED_CODES,
    describe_no_response,
    read_document,
    read_request_failure,
)

# A hundred years; the API knows no longer unit than hours, and no ban without an end.
_BAN: Final = {"ban_duration": "876000h"}
# Its own code, or in a version from before 2024 its own sentence. Any other 404 comes from a
# gateway, or from a server without this API.
_ABSENT: Final = ("user_not_found", "User not found")
_ERROR_CODE: Final = re.compile(r"[a-z][a-z0-9_]{1,60}", re.ASCII)


class AccountPolicy(StrEnum):
    """What happens to the Auth account of a removed user."""

    KEEP = "keep"
    BAN = "ban"
    DELETE = "delete"


class ClosedAccount(StrEnum):
    """The end of an account."""

    BANNED = "banned"
    DELETED = "deleted"
    ABSENT = "absent"


class AuthAdmin:
    """Calls the admin API of Auth with the relay's key.

    Args:
        http: its base URL is that of the Auth API.
        policy: BAN or DELETE.
        clock: Unix seconds.
    """

    def __init__(
        self, http: httpx.AsyncClient, policy: AccountPolicy, *, clock: Callable[[], float]
    ) -> None:
        self._http = http
        self._policy = policy
        self._clock = clock

    async def close_account(self, user_id: str) -> ClosedAccount | RequestFailure:
        """Ban or delete an account; doing it twice does no harm."""
        path = f"/admin/users/{user_id}"
        try:
            async with asyncio.timeout(self._http.timeout.read):
                if self._policy is AccountPolicy.BAN:
                    response = await self._http.put(path, json=_BAN)
                else:
                    response = await self._http.delete(path)
        except (httpx.TimeoutException, TimeoutError) as error:
            return describe_no_response(error, "Supabase Auth did not respond in time")
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            return describe_no_response(error, "Supabase Auth cannot be reached")
        document = read_document(response.content)
        if response.is_success:
            return self._read_success(document, user_id)
        if response.status_code == httpx.codes.NOT_FOUND and _is_absent(document):
            return ClosedAccount.ABSENT
        return self._read_failure(response, document)

    def _read_success(
        self, document: dict[str, Any] | None, user_id: str
    ) -> ClosedAccount | RequestFailure:
        """Accept what only Auth responds: a proxy may respond 200 to anything."""
        if self._policy is AccountPolicy.DELETE and document == {}:
            return ClosedAccount.DELETED
        if self._policy is AccountPolicy.BAN and (document or {}).get("id") == user_id:
            return ClosedAccount.BANNED
        return RequestFailure(
            RequestFailureKind.MISCONFIGURED,
            "HTTP 200",
            "the response is not that of Supabase Auth: SUPABASE_URL may not be a Supabase project",
        )

    def _read_failure(
        self, response: httpx.Response, document: dict[str, Any] | None
    ) -> RequestFailure:
        failure = read_request_failure(
            response.status_code,
            response.headers,
            response.content,
            now_seconds=self._clock(),
        )
        message = f"Supabase Auth responded {response.status_code}"
        if failure.code in REFERENCED_CODES:
            return replace(failure, message=f"{message}: another table references the account")
        code = _find_code(document)
        return replace(failure, message=message if code is None else f"{message} ({code})")


def _find_code(document: dict[str, Any] | None) -> str | None:
    """Return the API's error code; its messages may quote an e-mail address."""
    codes = ((document or {}).get(name) for name in ("error_code", "code"))
    return next((c for c in codes if isinstance(c, str) and _ERROR_CODE.fullmatch(c)), None)


def _is_absent(document: dict[str, Any] | None) -> bool:
    return any((document or {}).get(name) in _ABSENT for name in ("error_code", "code", "msg"))
