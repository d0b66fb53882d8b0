"""Responses without a body leave the connection in order."""

import httpx

from tests.server.served import Served


def test_responses_without_a_body_do_not_shift_the_next_one(served: Served) -> None:
    url = f"http://127.0.0.1:{served.port}"
    with httpx.Client(base_url=url, trust_env=False) as client:
        page = client.get("/docs")
        assert int(page.headers["content-length"]) == len(page.content)
        head = client.head("/docs")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == page.headers["content-length"]
        same = client.get("/docs", headers={"if-none-match": page.headers["etag"]})
        assert (same.status_code, same.content) == (304, b"")
        assert client.get("/").json()["docs"] == "/docs"
        assert len(served.connections) == 1
