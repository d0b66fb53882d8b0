"""The log of a relay that receives hostile requests."""

import json

import httpx
import pytest

from tests.e2e.conftest import RelayMaker, RelayProcess

HOSTILE_PATHS = (
    "/events/%1b]0;owned%07%E2%80%AE%C2%9b31m",
    "/replay/owned%0a2026-01-02T03:04:05.678Z%20forged",
)


@pytest.mark.parametrize("format_name", ["text", "json"])
def test_log_of_hostile_requests_has_printable_lines_of_the_relay_only(
    make_relay: RelayMaker, format_name: str
) -> None:
    relay = make_relay(
        SUPABASE_URL="http://127.0.0.1:9",
        SUPABASE_SECRET_KEY="sb_secret_test",
        LOG_FORMAT=format_name,
        TZ="Asia/Tokyo",
    )
    call_as_a_stranger(relay)
    assert relay.stop() == 0
    log = relay.log
    assert log.count("owned") == len(HOSTILE_PATHS)
    lines = log.split("\n")
    assert lines.pop() == ""
    assert all(line.isprintable() for line in lines)
    assert not any(line.startswith("2026-01-02T03:04:05.678Z") for line in lines)
    assert log.count(f"http://127.0.0.1:{relay.port}") == 1  # where it listens
    if format_name == "json":
        common = frozenset({"time", "level", "logger", "message"})
        documents = [json.loads(line) for line in lines]
        more = {each["message"]: set(each) - common for each in documents if set(each) != common}
        assert more == {
            "started": {"version", "store", "webhook_auth", "supabase", "replica"},
            "rejected /webhooks: Unauthenticated (header-missing)": {
                "status",
                "code",
                "reason",
                "client",
                "duration_ms",
                "request_id",
            },
        }


def call_as_a_stranger(relay: RelayProcess) -> None:
    for path in HOSTILE_PATHS:
        assert httpx.get(f"{relay.url}{path}", trust_env=False).status_code == 401
    headers = [
        (b"content-type", b"application/json"),
        (b"webhook-id", b"evt_\x9b31m"),
        (b"x-request-id", b"req_\x9b31m"),
        (b"traceparent", b"\xe2\x80\xae" + b"x" * 500),
    ]
    answer = httpx.post(f"{relay.url}/webhooks", content=b"{}", headers=headers, trust_env=False)
    assert answer.status_code == 401
