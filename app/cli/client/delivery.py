"""Delivering events: a success counts only if it names what was sent; anything else is retried."""

import random
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import httpx

from app.cli.client.relay_client import CHECK_THE_WAY, Document, read_document
from app.cli.errors import NoRelay, RelayAway, Unconfirmed
from app.domain.event_reader import is_event_id
from app.domain.retry import RETRY_AFTER_LIMIT_SECONDS, backoff_seconds

EVENT_STATUSES: Final = ("accepted", "duplicate", "applied", "superseded", "dead")
BATCH_STATUSES: Final = ("accepted", "duplicate", "conflict", "invalid")

_SUCCESSES: Final = (200, 202)
_SHOWN_CHARACTERS: Final = 200

Answer = TypeVar("Answer")


def deliver(
    attempt: Callable[[], Answer],
    *,
    patience_seconds: float,
    report_wait: Callable[[str, float], None],
    pause: Callable[[float], None] = time.sleep,
) -> Answer:
    """Attempt until it succeeds, with backoff and full jitter, and as late as `Retry-After` asks.

    Args:
        attempt: sends once; RelayAway means that it may be sent again.
        patience_seconds: how long it may fail before it is given up.
        report_wait: told why and for how many seconds nothing is sent.
        pause: waits so many seconds.

    Raises:
        CommandFailed: the last failure, or one that sending again does not change.
    """
    failures = 0
    failing_since = time.monotonic()
    while True:
        try:
            return attempt()
        except NoRelay:
            raise
        except RelayAway as away:
            failures += 1
            asked = min(away.retry_after_seconds or 0.0, RETRY_AFTER_LIMIT_SECONDS)
            wait = max(asked, backoff_seconds(failures, random.random()))  # noqa: S311
            if time.monotonic() + wait - failing_since > patience_seconds:
                raise
            report_wait(str(away), wait)
            pause(wait)


def confirm_event(response: httpx.Response, event_id: str) -> Document:
    """Give the answer to one event, if it is that.

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
            f" the event. {CHECK_THE_WAY}. Whether it is stored: relay events {event_id}"
        )
    return document


def confirm_batch(response: httpx.Response, event_ids: Sequence[str | None]) -> list[Document]:
    """Give the results of a batch, if there is one for each event, in the order sent.

    Args:
        response: a success.
        event_ids: of the events sent; None where one has no id that is a text.

    Raises:
        Unconfirmed: it is not the answer to this batch; the events may be stored or not.
    """
    document = read_document(response)
    results = None if document is None else document.get("results")
    reason: str | None = None
    if response.status_code not in _SUCCESSES or not isinstance(results, list):
        reason = "where the relay would give a result for each event"
    elif len(results) != len(event_ids):
        reason = f"which is {len(results)} results for {len(event_ids)} events"
    else:
        for index, (result, event_id) in enumerate(zip(results, event_ids, strict=True)):
            if not _is_result(result, event_id):
                sent = f"event {event_id}" if event_id else "an event without an id"
                reason = f"whose result {index + 1} is not that of {sent}"
                break
    if reason is not None or results is None:
        raise Unconfirmed(
            f"the batch is not confirmed: {_quote(response)}, {reason}. {CHECK_THE_WAY}"
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
    said = response.text.strip()
    if len(said) > _SHOWN_CHARACTERS:
        said = f"{said[:_SHOWN_CHARACTERS]}…"
    status = f"{response.status_code} {response.reason_phrase}".strip()
    return f"{response.url} answered {status} with {said or 'an empty body'}"
