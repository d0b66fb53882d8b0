"""Reads bytes as a connection does, for tests of the request parser."""

from collections.abc import Iterable

from app.api.request_body import EVENT_BYTES
from app.domain.errors import RequestRejected
from app.server.limits import Limits
from app.server.request_parser import Request, RequestParser, Stage

Reading = tuple[list[Request], str | None]
"""The requests that were read, and why no more were: an error, "incomplete", or None."""


def read_requests(
    pieces: Iterable[bytes],
    *,
    limits: Limits | None = None,
    body_limit_bytes: int = EVENT_BYTES,
) -> Reading:
    """Read all requests in pieces that arrive one after another."""
    parser = RequestParser(limits or Limits(), lambda _: body_limit_bytes)
    requests: list[Request] = []
    try:
        for piece in pieces:
            parser.feed(piece)
            while (request := parser.read()) is not None:
                requests.append(request)
    except RequestRejected as error:
        # By its type alone: llhttp words an error by what it has seen.
        return requests, type(error).__name__
    return requests, None if parser.stage is Stage.START else "incomplete"
