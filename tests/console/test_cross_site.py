"""Requests that another site makes a browser send are refused."""

import pytest

from tests.console.browsing import Visitor

HOST = "relay.test"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "cross-site", "origin": f"https://{HOST}"},
        {"origin": "https://evil.test"},
        {"origin": f"https://{HOST}.evil.test"},
        {"origin": f"https://{HOST}:8443"},
        {"origin": "null"},
        {"origin": "http://["},
        {"sec-fetch-site": "same-origin, same-origin"},
        {"origin": f"https://{HOST}, https://{HOST}"},
        {"origin": ""},
    ],
)
@pytest.mark.parametrize("path", ["/console/logout", "/console/login"])
async def test_form_of_another_site_is_refused(
    operator: Visitor, path: str, headers: dict[str, str]
) -> None:
    page = await operator.open("/console" if path.endswith("logout") else "/console/login")
    form = {**page.read_fields(), "token": "x"}
    response = await operator.post(path, form, {"host": HOST, **headers})
    assert response.status_code == 403, response.text
    assert "page of" in response.text
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "same-origin"},
        {"origin": f"https://{HOST}"},
        {"origin": f"http://{HOST.upper()}"},
    ],
)
async def test_form_of_the_console_is_accepted(operator: Visitor, headers: dict[str, str]) -> None:
    form = (await operator.open("/console")).read_fields()
    response = await operator.post("/console/logout", form, {"host": HOST, **headers})
    assert response.status_code == 303


@pytest.mark.parametrize("token", ["", "0" * 64, "é"])
async def test_form_without_the_token_of_the_session_is_refused(
    operator: Visitor, token: str
) -> None:
    response = await operator.post("/console/logout", {"csrf": token})
    assert response.status_code == 403
    assert "does not belong to this session" in response.text
    assert (await operator.post("/console/logout", {"other": "x"})).status_code == 403


async def test_form_of_another_session_is_refused(operator: Visitor) -> None:
    form = (await operator.open("/console")).read_fields()
    operator.sign_in(sub="somebody@nomadcrew.test")
    assert (await operator.post("/console/logout", form)).status_code == 403


async def test_log_in_without_the_cookie_of_its_form_is_refused(visitor: Visitor) -> None:
    page = await visitor.open("/console/login")
    visitor.cookies = {}
    response = await visitor.post("/console/login", {**page.read_fields(), "token": "x"})
    assert response.status_code == 403
    assert "needs cookies, and HTTPS" in response.text


async def test_form_of_another_type_is_refused(operator: Visitor) -> None:
    form = (await operator.open("/console")).read_fields()
    headers = {"sec-fetch-site": "same-origin", "content-type": "text/plain"}
    assert (await operator.post("/console/logout", form, headers)).status_code == 415
