"""The target of the request parser: one reading of any bytes, however they are cut.

An input is the length of the first piece (one byte, in steps of 3), and the bytes of a connection.
What the parser reads as whole requests, h11 reads as the same requests or refuses.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import h11

from tests.server.reading import Reading, read_requests
from tests.server.variants import make_variants

_BODY_LIMIT_BYTES: Final = 1000


def check(data: bytes) -> bool:
    """Hold the parser to its own reading of other pieces, and to h11's."""
    end, stream = 3 * data[0] if data else 0, data[1:]
    requests, reason = _read([stream])
    assert _read([stream[:end], stream[end:]]) == (requests, reason)
    assert _read(stream[n : n + 1] for n in range(len(stream))) == (requests, reason)
    for ours, theirs in zip(requests, _read_by_h11(stream), strict=False):
        assert (ours.method.encode(), ours.target, ours.body) == theirs
    return bool(requests) and reason is None


def _read(pieces: Iterable[bytes]) -> Reading:
    return read_requests(pieces, body_limit_bytes=_BODY_LIMIT_BYTES)


def _read_by_h11(stream: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Give method, target and body of each request, as long as h11 reads any."""
    # It accepts one empty line before a request; the RFC lets a server accept more.
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1_000_000)
    connection.receive_data(stream.lstrip(b"\r\n"))
    connection.receive_data(b"")
    try:
        while isinstance(request := connection.next_event(), h11.Request):
            body = b""
            while isinstance(event := connection.next_event(), h11.Data):
                body += bytes(event.data)
            if not isinstance(event, h11.EndOfMessage):
                return
            yield request.method, request.target, body
            connection.send(h11.Response(status_code=204, headers=[]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE:
                return
            connection.start_next_cycle()
    except h11.ProtocolError:
        return


def _pieces(stream: bytes) -> bytes:
    return bytes([len(stream) // 6]) + stream


_VARIANTS: Final = {
    name: (request, _read([request])[1]) for name, request in make_variants().items()
}
ACCEPTED: Final = {
    name: _pieces(request) for name, (request, reason) in _VARIANTS.items() if not reason
} | {
    "two": _pieces(_VARIANTS["GET /health/live"][0] + _VARIANTS["chunks-trailers"][0]),
}
REFUSED: Final = {
    name: _pieces(request) for name, (request, reason) in _VARIANTS.items() if reason
} | {"nothing": b"", "empty lines": b"\x00\r\n\r\n\r\n"}
