"""Sending batches: retried while the relay is unavailable, with a result for each line."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from app.auth.signatures import SignatureVerifier
from app.cli.client.batches import BatchSender, LineResult
from app.cli.client.ndjson import EventLine, read_lines
from app.cli.client.signing import WebhookSigner
from app.cli.errors import CommandFailed, Rejected, RelayUnavailable, Unconfirmed
from app.domain.errors import FieldError
from tests.api.relay_harness import WEBHOOK_SECRET

LINES = list(read_lines(io.BytesIO(b'{"id":"1"}\n{"id":"2"}\nbroken\n{"id":"4"}\n')))

Handler = Callable[[httpx.Request], httpx.Response]


def accept(request: httpx.Request) -> httpx.Response:
    events = json.loads(request.content)["events"]
    results = [{"event_id": event["id"], "status": "accepted"} for event in events]
    return httpx.Response(202, json={"results": results})


def reject(status: int, code: str = "x", **more: Any) -> Handler:
    headers = {name.replace("_", "-"): more.pop(name) for name in ("retry_after",) if name in more}
    body = {"status": status, "code": code, "detail": "It is so.", **more}
    return lambda _: httpx.Response(status, json=body, headers=headers)


def fail(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("Connection refused", request=request)


@dataclass
class Harness:
    """A sender with a fake relay, whose pauses end at once."""

    answers: list[Handler]
    patience_seconds: float = 1e9
    requests: list[httpx.Request] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def send(self, lines: list[EventLine] = LINES) -> list[LineResult]:
        client = httpx.Client(
            base_url="http://relay.test", transport=httpx.MockTransport(self._answer)
        )
        with client:
            return BatchSender(
                client,
                WebhookSigner(WEBHOOK_SECRET),
                patience_seconds=self.patience_seconds,
                report_wait=lambda reason, _: self.reasons.append(reason),
                pause=self.pauses.append,
            ).send(lines)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer(request)


def statuses(results: list[LineResult]) -> list[tuple[int, str]]:
    return [(result.line.number, result.status) for result in results]


def test_batch_is_signed_and_has_a_result_for_each_line_in_order() -> None:
    harness = Harness([accept])
    assert statuses(harness.send()) == [
        (1, "accepted"),
        (2, "accepted"),
        (3, "invalid"),
        (4, "accepted"),
    ]
    (request,) = harness.requests
    assert str(request.url) == "http://relay.test/webhooks/batch"
    assert [event["id"] for event in json.loads(request.content)["events"]] == ["1", "2", "4"]
    headers = request.headers
    failure = SignatureVerifier([WEBHOOK_SECRET], tolerance_seconds=300).verify(
        webhook_id=headers["webhook-id"].encode(),
        webhook_timestamp=headers["webhook-timestamp"].encode(),
        webhook_signature=headers["webhook-signature"].encode(),
        body=request.content,
        now=float(headers["webhook-timestamp"]),
    )
    assert failure is None


def test_batch_without_sendable_lines_is_not_sent() -> None:
    harness = Harness([accept])
    assert statuses(harness.send(LINES[2:3])) == [(3, "invalid")]
    assert harness.requests == []


def test_batch_results_have_pointers_into_the_line() -> None:
    errors = [{"pointer": "/events/1/data/id", "detail": "must be a UUID"}]
    results = [
        {"event_id": "1", "status": "duplicate"},
        {"event_id": "2", "status": "invalid", "errors": errors},
        {"event_id": "4", "status": "conflict"},
    ]
    lines = Harness([lambda _: httpx.Response(200, json={"results": results})]).send()
    assert [line.status for line in lines] == [
        "duplicate",
        "invalid",
        "invalid",
        "conflict",
    ]
    assert lines[1].errors == (FieldError("/data/id", "must be a UUID"),)
    assert "another body" in lines[3].errors[0].detail


@pytest.mark.parametrize(
    "failing",
    [
        fail,
        reject(429, "overloaded"),
        reject(503, "store-unavailable"),
        reject(500, "internal-error"),
        lambda _: httpx.Response(502, text="<html>"),
        lambda _: httpx.Response(200, text="<html>"),
    ],
)
def test_batch_is_retried_while_the_relay_is_unavailable(failing: Handler) -> None:
    harness = Harness([failing] * 5 + [accept])
    assert [result.status for result in harness.send()].count("accepted") == 3
    assert len(harness.requests) == 6
    assert len({request.content for request in harness.requests}) == 1
    assert len(harness.pauses) == len(harness.reasons) == 5
    assert all(0 <= pause <= 60 for pause in harness.pauses)


def test_batch_waits_as_long_as_retry_after_asks() -> None:
    harness = Harness([reject(503, retry_after="7"), reject(429, retry_after="99999"), accept])
    harness.send()
    assert harness.pauses == [pytest.approx(7), 900]


def test_batch_fails_when_the_relay_is_unavailable_for_too_long() -> None:
    harness = Harness([reject(503, retry_after="7")], patience_seconds=6)
    with pytest.raises(RelayUnavailable, match="503"):
        harness.send()
    assert (len(harness.requests), harness.pauses) == (1, [])


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (reject(401, "unauthenticated"), "WEBHOOK_SECRETS"),
        (reject(403, "scope-missing"), "403 scope-missing: It is so."),
        (reject(404, "path-not-found"), "another version"),
    ],
)
def test_batch_that_the_relay_rejects_is_not_retried(answer: Handler, sentence: str) -> None:
    harness = Harness([answer])
    with pytest.raises(CommandFailed, match=sentence):
        harness.send()
    assert len(harness.requests) == 1


@pytest.mark.parametrize(
    ("date", "sentence"),
    [
        ("Thu, 01 Jan 2026 00:00:00 GMT", "ahead of"),
        ("Thu, 01 Jan 2099 00:00:00 GMT", "behind"),
        ("no date", "WEBHOOK_SECRETS"),
    ],
)
def test_batch_with_a_rejected_signature_says_whether_the_clock_is_wrong(
    date: str, sentence: str
) -> None:
    harness = Harness([lambda _: httpx.Response(401, json={"code": "x"}, headers={"date": date})])
    with pytest.raises(Rejected, match=sentence):
        harness.send()


@pytest.mark.parametrize("results", [None, [], [{"status": "accepted"}] * 4])
def test_batch_without_its_own_results_is_unconfirmed(results: object) -> None:
    harness = Harness(
        [lambda _: httpx.Response(200, json={"results": results})], patience_seconds=0
    )
    with pytest.raises(Unconfirmed):
        harness.send()
