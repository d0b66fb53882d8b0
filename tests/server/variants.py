"""Requests in bytes, valid and not, for tests that cut and join them."""

from collections.abc import Mapping
from typing import Final

from app.api.request_body import EVENT_BYTES
from tests.server.raw_http import BODY, write_chunked, write_request

ID: Final = "evt_variant"
SMUGGLED: Final = b"GET /health/live HTTP/1.1\r\nHost: relay.test\r\n\r\n"
UPGRADES: Final = ("h2c", "websocket", "foo", "HTTP/2.0", "")


def make_variants() -> Mapping[str, bytes]:
    """Give all variants by name."""
    variants = {f"plain-{name}": request for name, request in _PLAIN.items()}
    variants |= {f"{method} {path}": _write_bare(method, path) for method, path in _BARE}
    for upgrade in UPGRADES:
        fields = ("Connection: Upgrade", f"Upgrade: {upgrade}")
        variants[f"upgrade-{upgrade}"] = write_request(ID, BODY, *fields)
        variants[f"upgrade-chunked-{upgrade}"] = write_chunked(ID, BODY, *fields)
        variants[f"upgrade-stranger-{upgrade}"] = _write_stranger(*fields)
        variants[f"upgrade-get-{upgrade}"] = _write_bare("GET", "/health/live", *fields)
    variants |= {f"framing-{name}": request for name, request in _FRAMING.items()}
    variants |= {f"chunks-{name}": _write_chunks(body) for name, body in _CHUNKS.items()}
    variants |= {f"malformed-{n}": request for n, request in enumerate(_MALFORMED)}
    return variants


def _write_bare(method: str, path: str, *fields: str) -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: relay.test", *fields, "", "")).encode()


def _write_stranger(*fields: str) -> bytes:
    """Write an unsigned request whose body is a request."""
    head = ("POST /webhooks HTTP/1.1", "Host: relay.test", f"Content-Length: {len(SMUGGLED)}")
    return "\r\n".join((*head, *fields, "", "")).encode() + SMUGGLED


def _write_framed(*fields: str, body: bytes = b"abc", version: str = "1.1") -> bytes:
    head = (f"POST /webhooks HTTP/{version}", "Host: relay.test", *fields)
    return "\r\n".join((*head, "", "")).encode() + body


def _write_chunks(body: bytes) -> bytes:
    return _write_framed("Transfer-Encoding: chunked", body=body)


_PLAIN: Final = {
    "signed": write_request(ID),
    "unsigned": write_request(ID, webhook_signature=""),
    "empty": write_request(ID, b""),
    "not-json": write_request(ID, b'{"type": '),
    "batch": write_request(ID, b'{"events": []}', target="/webhooks/batch"),
    "replay": write_request(ID, b"{}", target="/replay"),
    "text": write_request(ID, content_type="text/plain"),
    "gzip": write_request(ID, BODY, "Content-Encoding: gzip"),
    "waits": write_request(ID, BODY, "Prefer: wait=0"),
    "query": write_request(ID, target="/webhooks?a=b"),
    "encoded": write_request(ID, target="/%77ebhooks"),
    "elsewhere": write_request(ID, target="/webhook"),
    "close": write_request(ID, connection="close"),
    "close-twice": write_request(ID, BODY, "Connection: close", connection="keep-alive"),
    "http-1.0": write_request(ID, http="1.0"),
    "put": write_request(ID, method="PUT"),
    "chunked": write_chunked(ID),
    "id-twice": write_request(ID, BODY, "Webhook-Id: evt_other"),
    "empty-line-before": b"\r\n" + write_request(ID),
    "two-empty-lines-before": b"\r\n\r\n" + write_request(ID),
    "body-of-lines": write_request(ID, b"\r\n\r\n" * 5),
    "body-of-a-request": write_request(ID, SMUGGLED),
    "absolute-target": write_request(ID, target="http://relay.test/webhooks"),
    "folded-signature": write_request(ID, BODY, "Webhook-Signature: v1,bm9uZQ=="),
    "long-path": write_request(ID, target="/" + "a" * 300),
    "odd-header": write_request(ID, BODY, "X-Odd: \x80\xff"),
    "empty-header": write_request(ID, BODY, "X-Empty:"),
}
_BARE: Final = (
    ("GET", "/health/live"),
    ("HEAD", "/health/live"),
    ("GET", "/webhooks"),
    ("OPTIONS", "/webhooks"),
    ("OPTIONS", "*"),
    ("DELETE", "/events"),
    ("GET", "/events"),
    ("GET", "/events/%1b%5d0;x"),
    ("GET", "/nowhere?x=%0a"),
    ("PATCH", "/replay"),
    ("POST", "/webhooks"),
    ("CONNECT", "relay.test:80"),
    ("TRACE", "/"),
)
_FRAMING: Final = {
    "length-twice": _write_framed("Content-Length: 3", "Content-Length: 3"),
    "lengths-that-differ": _write_framed("Content-Length: 3", "Content-Length: 4"),
    "length-list": _write_framed("Content-Length: 3, 3"),
    "length-signed": _write_framed("Content-Length: +3"),
    "length-hex": _write_framed("Content-Length: 0x3"),
    "length-empty": _write_framed("Content-Length: "),
    "length-negative": _write_framed("Content-Length: -1"),
    "length-huge": _write_framed("Content-Length: " + "9" * 40),
    "length-over-64-bits": _write_framed("Content-Length: 18446744073709551616"),
    "length-too-large": _write_framed(f"Content-Length: {EVENT_BYTES + 1}"),
    "length-zeros": _write_framed("Content-Length: 0003"),
    "length-space-before-colon": _write_framed("Content-Length : 3"),
    "both": _write_framed("Content-Length: 3", "Transfer-Encoding: chunked"),
    "both-other-order": _write_framed("Transfer-Encoding: chunked", "Content-Length: 3"),
    "identity": _write_framed("Transfer-Encoding: identity"),
    "gzip-chunked": _write_framed("Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "chunked-gzip": _write_framed("Transfer-Encoding: chunked, gzip", body=b"0\r\n\r\n"),
    "chunked-twice": _write_framed(
        "Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"
    ),
    "chunked-odd": _write_framed("Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
    "chunked-tab": _write_framed("Transfer-Encoding:\tchunked", body=b"0\r\n\r\n"),
    "chunked-capitals": _write_framed("Transfer-Encoding: Chunked", body=b"0\r\n\r\n"),
    "chunked-http-1.0": _write_framed(
        "Transfer-Encoding: chunked", body=b"0\r\n\r\n", version="1.0"
    ),
    "underscore": _write_framed("Content_Length: 3"),
}
_CHUNKS: Final = {
    "one": b"3\r\nabc\r\n0\r\n\r\n",
    "extension": b'3;name="a value"\r\nabc\r\n0;x\r\n\r\n',
    "trailers": b"3\r\nabc\r\n0\r\nWebhook-Id: evt_x\r\nPrefer: wait=9\r\n\r\n",
    "zeros": b"0003\r\nabc\r\n000\r\n\r\n",
    "lf-alone": b"3\nabc\n0\n\n",
    "no-size": b"\r\nabc\r\n0\r\n\r\n",
    "signed-size": b"+3\r\nabc\r\n0\r\n\r\n",
    "negative-size": b"-1\r\nabc\r\n0\r\n\r\n",
    "prefixed-size": b"0x3\r\nabc\r\n0\r\n\r\n",
    "space-before-size": b" 3\r\nabc\r\n0\r\n\r\n",
    "space-behind-size": b"3 \r\nabc\r\n0\r\n\r\n",
    "longer": b"3\r\nabcd\r\n0\r\n\r\n",
    "shorter": b"3\r\nab\r\n0\r\n\r\n",
    "huge-size": b"FFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n",
    "too-large": b"10001\r\n" + b"a" * 20,
    "smuggling": b"0\r\n\r\n" + SMUGGLED,
}
_MALFORMED: Final = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"GET /\r\n\r\n",
    b"GET / HTTP/0.9\r\n\r\n",
    b"GET / HTTP/2.0\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET  / HTTP/1.1\r\n\r\n",
    b"get / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\nHost: x\n\n",
    b"GET / HTTP/1.1\r\nHost: x\n\r\n",
    b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: b\0c\r\n\r\n",
    b"GET / HTTP/1.1\r\n: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET / HTTP/1.1\r\nA b: c\r\n\r\n",
    b"GET /\0 HTTP/1.1\r\n\r\n",
    b"GET http:// HTTP/1.1\r\n\r\n",
    b"GET /%zz%ff HTTP/1.1\r\n\r\n",
    b"POST /webhooks HTTP/1.1\r\nA: b\n\r\nContent-Length: 3\r\n\r\nabc",
)
