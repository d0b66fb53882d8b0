"""Sending batches of events: signed, retried while the relay is unavailable, one result a line."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import httpx

from app.cli.client.delivery import confirm_batch, deliver, post
from app.cli.client.ndjson import EventLine, write_batch
from app.cli.client.relay_client import Document, list_errors
from app.cli.client.signing import WebhookSigner
from app.domain.errors import FieldError

_CONFLICT: Final = FieldError("", "this id was stored before with another body")


@dataclass(frozen=True, slots=True)
class LineResult:
    """The outcome of one line: a status of the batch's contract, and why it was rejected."""

    line: EventLine
    status: str
    errors: tuple[FieldError, ...] = ()


@dataclass(frozen=True, slots=True)
class BatchSender:
    """Posts one batch after the other; `deliver` explains the last three attributes."""

    client: httpx.Client
    signer: WebhookSigner
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
        documents: list[Document] = []
        if sendable:
            documents = deliver(
                partial(self._attempt, sendable),
                patience_seconds=self.patience_seconds,
                report_wait=self.report_wait,
                pause=self.pause,
            )
        results = map(_read_result, sendable, documents, range(len(sendable)))
        return [
            LineResult(line, "invalid", line.errors) if line.item is None else next(results)
            for line in lines
        ]

    def _attempt(self, lines: Sequence[EventLine]) -> list[Document]:
        body = write_batch([line.item for line in lines if line.item is not None])
        # Signed anew each time: a signature expires after five minutes.
        headers = self.signer.sign(body)
        response = post(self.client, "/webhooks/batch", content=body, headers=headers)
        return confirm_batch(response, [line.event_id for line in lines])


def _read_result(line: EventLine, result: Document, index: int) -> LineResult:
    """Read a result, with pointers into the line instead of into the batch."""
    if result["status"] == "conflict":
        return LineResult(line, "conflict", (_CONFLICT,))
    errors = (
        FieldError(pointer.removeprefix(f"/events/{index}"), detail)
        for pointer, detail in list_errors(result)
    )
    return LineResult(line, result["status"], tuple(errors))
