"""Delivering events: a response confirms an event only if it names it; all else is retried."""

import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar

import httpx

from app.cli.client.relay_client import (
    CHECK_PROXIES,
    Document,
    make_failure,
    read_document,
    translated_failures,
)
from app.cli.errors import NotThisRelay, Rejected, RelayUnavailable, Unconfirmed
from app.domain.event_reader import is_event_id
from app.domain.retry import RETRY_AFTER_LIMIT_SECONDS, backoff_seconds

EVENT_STATUSES: Final = ("accepted", "duplicate", "applied", "superseded", "dead")
BATCH_STATUSES: Final = ("accepted", "duplicate", "conflict", "invalid")

_SUCCESSES: Final = (200, 202)
_SHOWN_CHARACTERS: Final = 200
_SKEW_SECONDS: Final = 60

Result = TypeVar("Result")


def deliver(
    attempt: Callable[[], Result],
    *,
    patience_seconds: float,
    report_wait: Callable[[str, float], None],
    pause: Callable[[float], None] = time.sleep,
) -> Result:
    """Attempt until it succeeds, with backoff, full jitter and regard to `Retry-After`.

    `report_wait` receives the reason and the seconds of each pause.

    Raises:
        CommandFailed: the last failure, or one that sending again does not change.
    """
    failures = 0
    failing_since = time.monotonic()
    while True:
        try:
            return attempt()
        except NotThisRelay:
            raise
        except RelayUnavailable as error:
            failures += 1
            asked = min(error.retry_after_seconds or 0.0, RETRY_AFTER_LIMIT_SECONDS)
            wait = max(asked, backoff_seconds(failures, random.random()))  # noqa: S311
            if time.monotonic() + wait - failing_since > patience_seconds:
                raise
            report_wait(str(error), wait)
            pause(wait)


def post(
    client: httpx.Client, path: str, *, content: bytes, headers: dict[str, str]
) -> httpx.Response:
    """Post events and return the response if it is a success.

    Raises:
        CommandFailed: what the response means.
    """
    with translated_failures(str(client.base_url)):
        response = client.post(path, content=content, headers=headers)
    if response.is_success:
        return response
    failure = make_failure(response)
    if response.status_code == httpx.codes.UNAUTHORIZED and failure.problem is not None:
        raise Rejected(f"401: {_explain_unauthenticated(response)}", problem=failure.problem)
    raise failure


def _explain_unauthenticated(response: httpx.Response) -> str:
    try:
        relay_time = parsedate_to_datetime(response.headers.get("date", ""))
        skew_seconds = (datetime.now(UTC) - relay_time).total_seconds()
    except (TypeError, ValueError):
        skew_seconds = 0.0
    if abs(skew_seconds) > _SKEW_SECONDS:
        return (
            f"the relay does not accept the signature: this machine's clock is"
            f" {abs(skew_seconds):.0f} seconds {'ahead of' if skew_seconds > 0 else 'behind'} the"
            " relay's. Correct it."
        )
    return (
        "the relay does not accept the signature: its WEBHOOK_SECRETS and this one have no secret"
        " in common, or its WEBHOOK_AUTH requires a token. Its log says which."
    )


def confirm_event(response: httpx.Response, event_id: str) -> Document:
    """Return the response's document if it is about this event.

    Raises:
        Unconfirmed: it is not; the event may be stored or not.
    """
    document = read_document(response)
    if (
        response.status_code not in _SUCCESSES
        or document is None
        or document.get("event_id") != event_id
        or document.get("status") not in EVENT_STATUSES
    ):
        raise Unconfirmed(
            f"event {event_id} is not confirmed: {_quote(response)}, where the relay would name"
            f" the event. {CHECK_PROXIES}. Whether it is stored: relay events {event_id}"
        )
    return document


def confirm_batch(response: httpx.Response, event_ids: Sequence[str | None]) -> list[Document]:
    """Return the results of a batch if each is about the event at its place.

    Raises:
        Unconfirmed: they are not; the events may be stored or not.
    """
    results = (read_document(response) or {}).get("results")
    if (
        response.status_code not in _SUCCESSES
        or not isinstance(results, list)
        or len(results) != len(event_ids)
        or not all(map(_is_result, results, event_ids))
    ):
        raise Unconfirmed(
            f"the batch is not confirmed: {_quote(response)}, where the relay would give the result"
            f" of each event, in order. {CHECK_PROXIES}"
        )
    return list[Document](results)


def _is_result(result: object, event_id: str | None) -> bool:
    if not isinstance(result, dict) or result.get("status") not in BATCH_STATUSES:
        return False
    if event_id is None or not is_event_id(event_id):
        # The relay repeats no id that it cannot accept.
        return result.get("event_id") is None and result["status"] == "invalid"
    return bool(result.get("event_id") == event_id)


def _quote(response: httpx.Response) -> str:
    text = response.text.strip()
    if len(text) > _SHOWN_CHARACTERS:
        text = f"{text[:_SHOWN_CHARACTERS]}…"
    status = f"{response.status_code} {response.reason_phrase}".strip()
    return f"{response.url} responded {status} with {text or 'an empty body'}"
