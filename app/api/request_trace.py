"""Reads `X-Request-Id` and `traceparent`, which come from strangers.

Source: https://www.w3.org/TR/trace-context/#traceparent-header
"""

import re
from collections.abc import Mapping
from secrets import token_hex
from typing import Final, NamedTuple

from app.domain.traces import Trace

REQUEST_ID_CHARACTERS: Final = 128
_REQUEST_ID: Final = re.compile(rb"[\x21-\x7e]{1,%d}" % REQUEST_ID_CHARACTERS)
# Later versions may append fields after another hyphen. Version ff, and ids of zeros, are invalid.
_TRACEPARENT: Final = re.compile(
    rb"(?!ff)([0-9a-f]{2})-((?!0{32})[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
    rb"(-[\x21-\x7e]{0,200})?"
)
_FIRST_VERSION: Final = b"00"
_ID_BYTES: Final = 16

Headers = tuple[tuple[bytes, bytes], ...]


class RequestTrace(NamedTuple):
    """The ids of a request.

    Attributes:
        request_id: as given, else the trace id, else made.
        trace_id: as given, else None.
        response_headers: the ids as the response repeats them.
        stored: what is stored with the events; None if the sender gave no id.
    """

    request_id: bytes
    trace_id: bytes | None
    response_headers: Headers
    stored: str | None


def read_trace(headers: Mapping[bytes, bytes]) -> RequestTrace:
    """Read the ids of a request. What is malformed or too long counts as not given."""
    given = headers.get(b"x-request-id")
    if given is not None and _REQUEST_ID.fullmatch(given) is None:
        given = None
    traceparent = headers.get(b"traceparent")
    trace_id = None if traceparent is None else _read_trace_id(traceparent)
    if trace_id is not None and traceparent is not None:
        request_id = given or trace_id
        echoed: Headers = ((b"x-request-id", request_id), (b"traceparent", traceparent))
    else:
        request_id = given or token_hex(_ID_BYTES).encode()
        echoed = ((b"x-request-id", request_id),)
    stored = None
    if given is not None or trace_id is not None:
        trace = Trace(request_id.decode(), None if trace_id is None else trace_id.decode())
        stored = trace.to_text()
    return RequestTrace(request_id, trace_id, echoed, stored)


def _read_trace_id(traceparent: bytes) -> bytes | None:
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None or (match[1] == _FIRST_VERSION and match[3] is not None):
        return None
    return match[2]
