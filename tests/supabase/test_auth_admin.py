"""Closing accounts: the requests, and what each response means."""

import json
import uuid
from typing import Any

import httpx
import pytest

from app.domain.failures import RequestFailure, RequestFailureKind
from app.supabase.auth_admin import AccountPolicy, AuthAdmin, ClosedAccount
from app.supabase.client import open_http_client
from tests.fake_auth import FakeAuth

USER = str(uuid.UUID(int=7))
MISCONFIGURED, UNAVAILABLE = RequestFailureKind.MISCONFIGURED, RequestFailureKind.UNAVAILABLE
BAN, DELETE = AccountPolicy.BAN, AccountPolicy.DELETE


async def close(
    auth: FakeAuth, policy: AccountPolicy = BAN, *, timeout_seconds: float = 5
) -> ClosedAccount | RequestFailure:
    async with open_http_client(
        "https://project.supabase.test",
        {"apikey": "sb_secret_x"},
        timeout_seconds=timeout_seconds,
        transport=auth.transport(),
        service="auth",
    ) as http:
        return await AuthAdmin(http, policy, clock=lambda: 0.0).close_account(USER)


@pytest.fixture
def auth() -> FakeAuth:
    return FakeAuth([USER], api_key="sb_secret_x")


async def test_account_is_banned_for_a_hundred_years_by_the_admin_api(auth: FakeAuth) -> None:
    assert await close(auth) is ClosedAccount.BANNED
    assert auth.accounts == {USER: "876000h"}
    (request,) = auth.requests
    assert (request.method, str(request.url)) == (
        "PUT",
        f"https://project.supabase.test/auth/v1/admin/users/{USER}",
    )


async def test_account_is_deleted_and_deleting_it_again_is_no_failure(auth: FakeAuth) -> None:
    assert await close(auth, DELETE) is ClosedAccount.DELETED
    assert await close(auth, DELETE) is ClosedAccount.ABSENT
    assert await close(auth, BAN) is ClosedAccount.ABSENT
    assert auth.accounts == {}


@pytest.mark.parametrize(
    "body",
    [
        {"code": 404, "error_code": "user_not_found", "msg": "User not found"},
        {"code": "user_not_found", "message": "User not found"},
        {"code": 404, "msg": "User not found"},
    ],
)
async def test_account_that_auth_does_not_know_is_closed(auth: FakeAuth, body: object) -> None:
    auth.respond_with(404, body)
    assert await close(auth) is ClosedAccount.ABSENT


@pytest.mark.parametrize(
    ("status", "body", "kind", "code", "message"),
    [
        (401, {"message": "Invalid API key"}, MISCONFIGURED, "HTTP 401", "responded 401"),
        (403, {"error_code": "not_admin"}, MISCONFIGURED, "HTTP 403", "403 (not_admin)"),
        (404, {"message": "no Route matched"}, MISCONFIGURED, "HTTP 404", "responded 404"),
        (404, b"404 page not found\n", UNAVAILABLE, "HTTP 404", "responded 404"),
        (429, {"code": "over_request_rate_limit"}, UNAVAILABLE, "HTTP 429", "(over_request"),
        (500, {"code": 500, "error_code": "unexpected_failure"}, UNAVAILABLE, "HTTP 500", "(unexp"),
        (500, {"code": "23503", "message": "m"}, UNAVAILABLE, "23503", "another table references"),
        (502, b"<html>", UNAVAILABLE, "HTTP 502", "responded 502"),
        (307, None, MISCONFIGURED, "HTTP 307", "responded 307"),
        (200, b"<html>Welcome", MISCONFIGURED, "HTTP 200", "not that of Supabase Auth"),
        (200, {}, MISCONFIGURED, "HTTP 200", "not that of Supabase Auth"),
        (200, {"id": str(uuid.UUID(int=8))}, MISCONFIGURED, "HTTP 200", "not that of"),
    ],
)
async def test_response_that_closes_nothing_is_a_failure(
    auth: FakeAuth, status: int, body: Any, kind: RequestFailureKind, code: str, message: str
) -> None:
    auth.respond_with(status, body)
    failure = await close(auth)
    assert isinstance(failure, RequestFailure)
    assert (failure.kind, failure.code) == (kind, code)
    assert message in failure.message


async def test_failure_quotes_nothing_but_a_code(auth: FakeAuth) -> None:
    said = {"error_code": "ana@example.com", "msg": "ana@example.com is banned"}
    auth.respond_with(500, said)
    failure = await close(auth)
    assert "ana" not in json.dumps(str(failure))


async def test_retry_after_is_read(auth: FakeAuth) -> None:
    auth.respond_with(429, {}, headers={"retry-after": "30"})
    failure = await close(auth)
    assert isinstance(failure, RequestFailure)
    assert failure.retry_after_seconds == 30.0


async def test_network_error_and_timeout_are_failures(auth: FakeAuth) -> None:
    auth.break_connection()
    failure = await close(auth)
    assert isinstance(failure, RequestFailure)
    assert (failure.kind, failure.code) == (UNAVAILABLE, "ConnectError")
    gate = auth.hang()
    failure = await close(auth, timeout_seconds=0.05)
    gate.set()
    assert isinstance(failure, RequestFailure)
    assert (failure.kind, failure.code) == (UNAVAILABLE, "TimeoutError")


async def test_redirect_is_not_followed(auth: FakeAuth) -> None:
    auth.add_trouble(lambda _: httpx.Response(307, headers={"location": "https://elsewhere.test/"}))
    await close(auth)
    assert len(auth.requests) == 1
