"""Reads and checks request bodies."""

from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope

from app.api.problems import describe_fields
from app.domain.documents import read_json
from app.domain.errors import (
    BodyTooLarge,
    ContentEncodingUnsupported,
    InputInvalid,
    MediaTypeUnsupported,
)

EVENT_BYTES: Final = 64 * 1024
BATCH_BYTES: Final = 1024 * 1024
REPLAY_BYTES: Final = 1024 * 1024

M = TypeVar("M", bound=BaseModel)


async def read_body(receive: Receive, *, limit_bytes: int) -> bytes:
    """Read the whole body.

    Raises:
        BodyTooLarge: it exceeds the limit.
        ClientDisconnect: the client has disconnected.
    """
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit_bytes:
            raise BodyTooLarge(limit_bytes)
        if not message.get("more_body", False):
            return b"".join((*chunks, chunk)) if chunks else chunk
        chunks.append(chunk)


def require_json(headers: dict[bytes, bytes]) -> None:
    """Check the content type and the content encoding.

    Raises:
        MediaTypeUnsupported: the content type is not JSON.
        ContentEncodingUnsupported: the body is encoded.
    """
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media_type != b"application/json":
        raise MediaTypeUnsupported
    if headers.get(b"content-encoding", b"identity").lower() not in (b"identity", b""):
        raise ContentEncodingUnsupported


async def read_json_body(request: Request, *, limit_bytes: int) -> bytes:
    """Read the body of an operator's request, which must be JSON.

    Raises:
        BodyTooLarge: it exceeds the limit.
        MediaTypeUnsupported: the content type is not JSON.
        ContentEncodingUnsupported: the body is encoded.
    """
    content = await read_body(request.receive, limit_bytes=limit_bytes)
    require_json(read_headers(request.scope))
    return content


def parse_body(model: type[M], content: bytes) -> M:
    """Parse strict JSON into a model.

    Raises:
        InputInvalid: names every invalid field.
    """
    return read_model(model, read_json(content))


def read_model(model: type[M], document: object) -> M:
    """Read a document into a model.

    Raises:
        InputInvalid: names every invalid field.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise InputInvalid(describe_fields(error.errors(include_url=False))) from error


def read_headers(scope: Scope) -> dict[bytes, bytes]:
    """Return the headers by lower-case name.

    The lines of a repeated header are joined by ", " in their order (RFC 9110, section 5.3), as
    proxies do. A repeated `webhook-id` or `authorization` thus matches no signature or token.
    """
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        earlier = headers.get(name)
        headers[name] = value if earlier is None else b"%b, %b" % (earlier, value)
    return headers
