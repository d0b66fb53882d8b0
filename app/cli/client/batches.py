"""Sending batches of events: signed, tried again while the relay is away, judged line by line."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Final

import httpx

from app.cli.client.delivery import confirm_batch, deliver
from app.cli.client.ndjson import EventLine, write_batch
from app.cli.client.relay_client import Document, make_failure, read_document, translated_failures
from app.cli.client.signing import sign_body
from app.cli.errors import CommandFailed, Refused
from app.domain.errors import FieldError

_CONFLICT: Final = FieldError("", "this id was stored before with another body")
_UNEXPLAINED: Final = FieldError("", "is refused without a reason")
_SKEW_WORTH_A_WORD_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one line.

    Attributes:
        line: which one.
        status: `accepted`, `duplicate`, `conflict` or `invalid`.
        errors: what is wrong with it; empty where it was taken.
    """

    line: EventLine
    status: str
    errors: tuple[FieldError, ...] = ()


class BatchSender:
    """Posts batches, one after the other.

    Args:
        client: of the relay.
        secret: that signs.
        patience_seconds: how long a relay may be away before it is given up.
        report_wait: told why and for how many seconds nothing is sent.
        pause: waits so many seconds.
    """

    def __init__(
        self,
        client: httpx.Client,
        secret: str,
        *,
        patience_seconds: float,
        report_wait: Callable[[str, float], None],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._secret = secret
        self._patience_seconds = patience_seconds
        self._report_wait = report_wait
        self._pause = pause

    def send(self, lines: Sequence[EventLine]) -> list[Verdict]:
        """Send what of the lines can be sent, and give what became of each, in order.

        Raises:
            CommandFailed: the relay takes nothing from here, or was away for too long. Some of the
                lines may have been stored: sent again, they are duplicates.
        """
        sendable = [line for line in lines if line.item is not None]
        sent = iter(self._send_items(sendable) if sendable else [])
        return [
            Verdict(line, "invalid", line.errors) if line.item is None else next(sent)
            for line in lines
        ]

    def _send_items(self, lines: Sequence[EventLine]) -> list[Verdict]:
        try:
            results = deliver(
                partial(self._attempt, lines),
                patience_seconds=self._patience_seconds,
                report_wait=self._report_wait,
                pause=self._pause,
            )
        except _BatchRefused as refusal:
            if len(lines) == 1:
                return [Verdict(lines[0], "invalid", refusal.errors)]
            # The batch as a whole is none: one line made it so, as by nesting too deeply.
            middle = len(lines) // 2
            return self._send_items(lines[:middle]) + self._send_items(lines[middle:])
        return [
            _judge(line, result, f"/events/{index}")
            for index, (line, result) in enumerate(zip(lines, results, strict=True))
        ]

    def _attempt(self, lines: Sequence[EventLine]) -> list[Document]:
        body = write_batch([line.item for line in lines if line.item is not None])
        # Signed anew each time: a signature is good for five minutes only.
        headers = sign_body(self._secret, body)
        with translated_failures(str(self._client.base_url)):
            response = self._client.post("/webhooks/batch", content=body, headers=headers)
        if response.is_success:
            return confirm_batch(response, [line.event_id for line in lines])
        failure = make_failure(response)
        if isinstance(failure, Refused):
            raise _explain_refusal(response, read_document(response) or {}, failure)
        raise failure


class _BatchRefused(Exception):
    """The relay does not take it for a batch; the errors are those of the whole."""

    def __init__(self, errors: tuple[FieldError, ...]) -> None:
        super().__init__()
        self.errors = errors


def _explain_refusal(response: httpx.Response, problem: Document, failure: Refused) -> Exception:
    if response.status_code in (413, 422):
        places = _read_errors(problem.get("errors"), "/events/0")
        return _BatchRefused(places or (FieldError("", str(problem.get("detail"))),))
    if response.status_code == 401:
        return explain_unsigned(response)
    return failure


def explain_unsigned(response: httpx.Response) -> CommandFailed:
    """Say what may be wrong with a signature that is not accepted."""
    try:
        said = parsedate_to_datetime(response.headers.get("date", ""))
        skew = (datetime.now(UTC) - said).total_seconds()
    except (TypeError, ValueError):
        skew = 0.0
    if abs(skew) > _SKEW_WORTH_A_WORD_SECONDS:
        return Refused(
            f"the relay does not accept the signature; this machine's clock is {abs(skew):.0f}"
            f" seconds {'ahead of' if skew > 0 else 'behind'} the relay's. Set it right."
        )
    return Refused(
        "the relay does not accept the signature: WEBHOOK_SECRETS here and there have no secret in"
        " common, or its WEBHOOK_AUTH asks for a token. The relay's log says which."
    )


def _judge(line: EventLine, result: Document, pointer: str) -> Verdict:
    match result["status"]:
        case "conflict":
            return Verdict(line, "conflict", (_CONFLICT,))
        case "invalid":
            errors = _read_errors(result.get("errors"), pointer)
            return Verdict(line, "invalid", errors or (_UNEXPLAINED,))
        case status:
            return Verdict(line, status)


def _read_errors(errors: object, pointer: str) -> tuple[FieldError, ...]:
    """Give the errors with pointers into the line instead of into the batch."""
    return tuple(
        FieldError(str(error.get("pointer", "")).removeprefix(pointer), str(error.get("detail")))
        for error in (errors if isinstance(errors, list) else [])
        if isinstance(error, dict)
    )
