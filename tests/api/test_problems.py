"""Every error has one row of the table, and an unexpected error reveals nothing."""

import re
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException

from app.api.problems import PROBLEMS, make_problem
from app.api.routes import create_api
from app.domain import errors
from app.domain.errors import ConfigurationInvalid, FieldError, LeaseLost, RelayError
from tests.api.relay_harness import assert_problem

# These end a start or a batch; no request waits for a response.
NEVER_ANSWERED = {ConfigurationInvalid, LeaseLost}
SECRET = "the password is swordfish"


def find_leaves(kind: type[RelayError]) -> Iterator[type[RelayError]]:
    children = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    if not children:
        yield kind
    for child in children:
        yield from find_leaves(child)


LEAVES = set(find_leaves(RelayError))


def test_problems_have_a_row_for_every_error_that_can_be_answered() -> None:
    assert set(PROBLEMS) == LEAVES - NEVER_ANSWERED


def test_problems_have_codes_of_their_own() -> None:
    codes = [code for _, code in PROBLEMS.values()]
    assert len(set(codes)) == len(codes)
    for code in codes:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code)


@pytest.mark.parametrize("kind", PROBLEMS)
def test_problem_of_each_error_has_a_status_of_its_class(kind: type[RelayError]) -> None:
    status, _ = PROBLEMS[kind]
    if issubclass(kind, errors.TemporarilyUnavailable):
        assert status in (429, 503)
    else:
        assert issubclass(kind, errors.RequestRejected)
        assert 400 <= status < 500


EXAMPLES: list[tuple[RelayError, int, str]] = [
    (errors.RequestMalformed("no version"), 400, "request-malformed"),
    (errors.HeadTooLarge(32_768, 100), 431, "head-too-large"),
    (errors.HeadTooSlow(10), 408, "head-too-slow"),
    (errors.ContentEncodingUnsupported(), 415, "content-encoding-unsupported"),
    (errors.BodyTooLarge(65_536), 413, "body-too-large"),
    (errors.BodyTooSlow(10), 408, "body-too-slow"),
    (errors.MediaTypeUnsupported(), 415, "media-type-unsupported"),
    (errors.Unauthenticated(SECRET), 401, "unauthenticated"),
    (errors.ScopeMissing("replay:write"), 403, "scope-missing"),
    (errors.OperatorAccessNotConfigured(), 403, "operator-access-not-configured"),
    (errors.InputInvalid([FieldError("/data/id", "is required")]), 422, "input-invalid"),
    (errors.EventIdConflict(), 409, "event-id-conflict"),
    (errors.EventNotFound(), 404, "event-not-found"),
    (errors.ReplayNotFound(), 404, "replay-not-found"),
    (errors.ReconciliationNotFound(), 404, "reconciliation-not-found"),
    (errors.Overloaded(), 429, "overloaded"),
    (errors.StoreUnavailable(), 503, "store-unavailable"),
    (errors.KeySetUnavailable(), 503, "key-set-unavailable"),
]


def test_examples_are_of_every_problem() -> None:
    assert {type(error) for error, _, _ in EXAMPLES} == set(PROBLEMS)


@pytest.mark.parametrize(("error", "status", "code"), EXAMPLES, ids=lambda value: str(value)[:20])
def test_problem_of_each_error_is_as_published(error: RelayError, status: int, code: str) -> None:
    written = make_problem(error)
    response = httpx.Response(
        written.status_code, headers=written.raw_headers, content=bytes(written.body)
    )
    problem = assert_problem(response, status, code)
    assert problem["detail"] == str(error)
    assert SECRET not in response.text
    assert ("errors" in problem) == isinstance(error, errors.InputInvalid)
    assert ("retry-after" in response.headers) == (status in (429, 503))
    assert ("www-authenticate" in response.headers) == (status == 401)


@pytest.fixture
async def faulty() -> AsyncIterator[httpx.AsyncClient]:
    """The HTTP surface with paths at which things go wrong."""
    app: FastAPI = create_api()
    faults: dict[str, Exception] = {
        "/fault": RuntimeError(SECRET),
        "/configuration": ConfigurationInvalid(SECRET),
        "/surrogate": UnicodeEncodeError("utf-8", SECRET, 0, 1, SECRET),
        "/teapot": HTTPException(418, detail=SECRET),
    }

    async def fail(name: str) -> None:
        raise faults[f"/{name}"]

    app.add_api_route("/faults/{name}", fail)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://relay.test") as client:
        yield client


@pytest.mark.parametrize("name", ["fault", "configuration", "surrogate"])
async def test_unexpected_error_is_a_problem_without_details(
    faulty: httpx.AsyncClient, name: str
) -> None:
    response = await faulty.get(f"/faults/{name}")
    assert_problem(response, 500, "internal-error")
    assert "swordfish" not in response.text
    assert "swordfish" not in str(response.headers)


async def test_exception_of_the_framework_is_a_problem_without_details(
    faulty: httpx.AsyncClient,
) -> None:
    response = await faulty.get("/faults/teapot")
    assert_problem(response, 418, "http-error")
    assert "swordfish" not in response.text
