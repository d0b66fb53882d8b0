"""Sending batches of events: signed, retried while the relay is unavailable, one result a line."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import httpx

from app.cli.client.delivery import confirm_batch, deliver, post
from app.cli.client.ndjson import EventLine, write_batch
from app.cli.client.relay_client import Document
from app.cli.client.signing import sign_body
from app.cli.errors import Rejected
from app.domain.errors import FieldError

_CONFLICT: Final = FieldError("", "this id was stored before with another body")
_INVALID_BATCH_CODES: Final = ("body-too-large", "input-invalid")
_UNEXPLAINED: Final = FieldError("", "is rejected without a reason")


@dataclass(frozen=True, slots=True)
class LineResult:
    """The outcome of one line.

    Attributes:
        line: which one.
        status: `accepted`, `duplicate`, `conflict` or `invalid`.
        errors: why it was rejected.
    """

    line: EventLine
    status: str
    errors: tuple[FieldError, ...] = ()


@dataclass(frozen=True, slots=True)
class BatchSender:
    """Posts one batch after the other; `deliver` explains the last three attributes."""

    client: httpx.Client
    secret: str
    patience_seconds: float
    report_wait: Callable[[str, float], None]
    pause: Callable[[float], None] = time.sleep

    def send(self, lines: Sequence[EventLine]) -> list[LineResult]:
        """Send the lines that can be sent, and return the result of each line, in order.

        Raises:
            CommandFailed: the relay rejects every batch, or was unavailable for too long. Some
                lines may be stored: sent again, they are duplicates.
        """
        sendable = [line for line in lines if line.item is not None]
        results = iter(self._send_items(sendable) if sendable else [])
        return [
            LineResult(line, "invalid", line.errors) if line.item is None else next(results)
            for line in lines
        ]

    def _send_items(self, lines: Sequence[EventLine]) -> list[LineResult]:
        try:
            results = deliver(
                partial(self._attempt, lines),
                patience_seconds=self.patience_seconds,
                report_wait=self.report_wait,
                pause=self.pause,
            )
        except Rejected as error:
            problem = error.problem or {}
            if problem.get("code") not in _INVALID_BATCH_CODES:
                raise
            if len(lines) == 1:
                errors = _read_errors(problem.get("errors"), "/events/0")
                return [LineResult(lines[0], "invalid", errors or (FieldError("", str(error)),))]
            # One line, nested too deeply for example, made the whole batch invalid.
            middle = len(lines) // 2
            return self._send_items(lines[:middle]) + self._send_items(lines[middle:])
        return [
            _read_result(line, result, f"/events/{index}")
            for index, (line, result) in enumerate(zip(lines, results, strict=True))
        ]

    def _attempt(self, lines: Sequence[EventLine]) -> list[Document]:
        body = write_batch([line.item for line in lines if line.item is not None])
        # Signed anew each time: a signature expires after five minutes.
        headers = sign_body(self.secret, body)
        response = post(self.client, "/webhooks/batch", content=body, headers=headers)
        return confirm_batch(response, [line.event_id for line in lines])


def _read_result(line: EventLine, result: Document, pointer: str) -> LineResult:
    match result["status"]:
        case "conflict":
            return LineResult(line, "conflict", (_CONFLICT,))
        case "invalid":
            errors = _read_errors(result.get("errors"), pointer)
            return LineResult(line, "invalid", errors or (_UNEXPLAINED,))
        case status:
            return LineResult(line, status)


def _read_errors(errors: object, pointer: str) -> tuple[FieldError, ...]:
    """Read errors, with pointers into the line instead of into the batch."""
    return tuple(
        FieldError(str(error.get("pointer", "")).removeprefix(pointer), str(error.get("detail")))
        for error in (errors if isinstance(errors, list) else [])
        if isinstance(error, dict)
    )
