"""Content that clients keep."""

import pytest
from fastapi import Request

from app.api.cached_content import CachedContent


def ask(**headers: str) -> Request:
    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": given})


def test_content_is_sent_with_its_headers_and_a_tag() -> None:
    content = CachedContent(b"text", "text/plain", {"Link": "</a>"})
    response = content.respond(ask())
    assert (response.status_code, response.body) == (200, b"text")
    assert response.headers["link"] == "</a>"
    assert response.headers["etag"].startswith('"')
    other = CachedContent(b"other", "text/plain").respond(ask())
    assert other.headers["etag"] != response.headers["etag"]


@pytest.mark.parametrize(
    ("condition", "status"),
    [("{}", 304), ("W/{}", 304), ('"a",  {}', 304), ("*", 304), ('"a"', 200), ("", 200)],
)
def test_content_that_the_client_has_is_not_sent_again(condition: str, status: int) -> None:
    content = CachedContent(b"text", "text/plain", {"Link": "</a>"})
    tag = content.respond(ask()).headers["etag"]
    response = content.respond(ask(if_none_match=condition.format(tag)))
    assert response.status_code == status
    assert (response.body == b"text") == (status == 200)
    assert response.headers["link"] == "</a>"
    assert response.headers["etag"] == tag
