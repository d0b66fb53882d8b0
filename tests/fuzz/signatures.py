"""The target of the signature verifier: total, and it accepts what was signed and nothing else.

An input is webhook-id, webhook-timestamp, webhook-signature and body, in parts; a header that it
has no part for is not sent. In the signature, `{v1}` and `{v1a}` stand for the right entries over
the other parts: else a search would never get past a wrong one.
"""

import base64
import hashlib
import hmac
import re
from itertools import pairwise
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.auth.signatures import SignatureVerifier, sign
from tests.fuzz.harness import join, split

NOW: Final = 1_767_323_045
_TOLERANCE_SECONDS: Final = 300
_HEADER_LIMIT_BYTES: Final = 65_536
_ASYMMETRIC_ALWAYS: Final = 4

_KEY: Final = b"thirty-two bytes of these tests!"
_OTHER_KEY: Final = b"the key before it was rotated..."
_PRIVATE_KEY: Final = Ed25519PrivateKey.from_private_bytes(_KEY)


def _name(prefix: str, key: bytes) -> str:
    return prefix + base64.b64encode(key).decode()


VERIFIER: Final = SignatureVerifier(
    [
        _name("whsec_", _OTHER_KEY),
        _name("whsec_", _KEY),
        _name("whpk_", _PRIVATE_KEY.public_key().public_bytes_raw()),
    ],
    tolerance_seconds=_TOLERANCE_SECONDS,
)


def check(data: bytes, verifier: SignatureVerifier = VERIFIER) -> bool:
    """Compare the verifier with an implementation of two lines."""
    webhook_id, timestamp, signature, body = split(data, 4)
    content = b"%b.%b.%b" % (webhook_id or b"", timestamp or b"", body or b"")
    symmetric = [b"v1," + _sign(key, content) for key in (_KEY, _OTHER_KEY)]
    # ed25519 has one signature for each key and content. It is the slowest step here.
    asymmetric = b"v1a," + base64.b64encode(_PRIVATE_KEY.sign(content))
    if signature is not None:
        signature = signature.replace(b"{v1}", symmetric[0]).replace(b"{v1a}", asymmetric)

    failure = verifier.verify(
        webhook_id=webhook_id,
        webhook_timestamp=timestamp,
        webhook_signature=signature,
        body=body or b"",
        now=NOW,
    )

    tokens = re.split(rb"[ ,\t]+", signature or b"")
    entries = [b"%b,%b" % pair for pair in pairwise(tokens)]
    is_complete = bool(webhook_id and timestamp and signature)
    is_timely = (
        timestamp is not None
        and timestamp.isdigit()
        and len(timestamp) <= 12
        and abs(int(timestamp) - NOW) <= _TOLERANCE_SECONDS
    )
    is_signed = asymmetric in entries or any(entry in entries for entry in symmetric)
    if failure is None:
        assert is_complete
        assert is_timely
        assert is_signed
    else:
        # Of many v1a entries only the first are looked at; refusing then is right.
        costs_little = tokens.count(b"v1a") <= _ASYMMETRIC_ALWAYS
        is_short = signature is None or len(signature) <= _HEADER_LIMIT_BYTES
        assert not (is_complete and is_timely and is_signed and is_short and costs_little), failure
    return failure is None


def sign_with(secret: str, *, timestamp: int) -> bytes:
    """Make an input that is signed with another secret than the verifier's."""
    signature = sign(secret, webhook_id="evt_1", timestamp=timestamp, body=b"{}")
    return join(b"evt_1", str(timestamp).encode(), signature.encode(), b"{}")


def _sign(key: bytes, content: bytes) -> bytes:
    return base64.b64encode(hmac.new(key, content, hashlib.sha256).digest())


def _request(
    signature: bytes,
    *,
    webhook_id: bytes = b"evt_1",
    timestamp: bytes = b"1767323045",
    body: bytes = b'{"type":"user.deleted"}',
) -> bytes:
    return join(webhook_id, timestamp, signature, body)


# Over the request that `_request` makes.
_TRUE: Final = b"v1," + _sign(_KEY, b'evt_1.1767323045.{"type":"user.deleted"}')
_ODD_BYTES: Final = bytes(set(range(256)) - set(b"\r\n"))

ACCEPTED: Final = {
    "v1": _request(b"{v1}"),
    "v1 spelled out": _request(_TRUE),
    "v1a": _request(b"{v1a}"),
    "both": _request(b"{v1a} {v1}"),
    "key of before": _request(
        b"v1," + _sign(_OTHER_KEY, b'evt_1.1767323045.{"type":"user.deleted"}')
    ),
    "after unknown versions": _request(b"v2,AAAA v0, , v1 {v1}"),
    "after malformed entries": _request(b"v1,=== v1a,= v1a,\xff\xfe {v1} \x00"),
    "between spaces": _request(b"  {v1}  "),
    "comma for space": _request(b"v1,AAAA,{v1}"),
    "comma and space": _request(b"v1,AAAA, v2,AAAA, {v1}, v1,AAAA"),
    "tab for space": _request(b"x\t{v1}"),
    "v1a after commas": _request(b"v1,AAAA,,v1a,\t{v1a}"),
    "fourth v1a": _request(b"v1a,%b v1a,%b v1a,%b {v1a}" % ((b"A" * 86 + b"==",) * 3)),
    "as old as may be": _request(b"{v1}", timestamp=b"1767322745"),
    "as new as may be": _request(b"{v1}", timestamp=b"1767323345"),
    "leading zeros": _request(b"{v1}", timestamp=b"001767323045"),
    "empty body": _request(b"{v1}", body=b""),
    "body of odd bytes": _request(b"{v1}", body=_ODD_BYTES),
    "body with line ends": _request(b"{v1a}", body=b"\r\n\r\n{}\r\n"),
    "id of odd bytes": _request(b"{v1}", webhook_id=_ODD_BYTES),
    "id with dots": _request(b"{v1}", webhook_id=b"a.1767323045.{}"),
    "overlong id": _request(b"{v1}", webhook_id=b"i" * 5000),
}

REFUSED: Final = {
    "nothing": b"",
    "id alone": b"evt_1",
    "no signature": b"evt_1\r\n1767323045",
    "empty id": _request(b"{v1}", webhook_id=b""),
    "empty timestamp": _request(b"{v1}", timestamp=b""),
    "empty signature": _request(b""),
    "too old": _request(b"{v1}", timestamp=b"1767322744"),
    "too new": _request(b"{v1}", timestamp=b"1767323346"),
    "timestamp with plus": _request(b"{v1}", timestamp=b"+1767323045"),
    "timestamp with underscore": _request(b"{v1}", timestamp=b"1_767_323_045"),
    "timestamp with space": _request(b"{v1}", timestamp=b" 1767323045"),
    "timestamp with line end": _request(b"{v1}", timestamp=b"1767323045\n"),
    "timestamp in Arabic digits": _request(b"{v1}", timestamp="١٧٦٧٣٢٣٠٤٥".encode()),
    "timestamp in superscript": _request(b"{v1}", timestamp=b"\xb9\xb2\xb3"),
    "timestamp a float": _request(b"{v1}", timestamp=b"1767323045.0"),
    "timestamp with exponent": _request(b"{v1}", timestamp=b"1767323e3"),
    "timestamp huge": _request(b"{v1}", timestamp=b"9" * 5000),
    "timestamp NaN": _request(b"{v1}", timestamp=b"NaN"),
    "of another body": _request(_TRUE, body=b'{"type":"user.created"}'),
    "of another body by a byte": _request(_TRUE, body=b'{"type":"user.deleted"} '),
    "of another id": _request(_TRUE, webhook_id=b"evt_2"),
    "of another time": _request(_TRUE, timestamp=b"1767323046"),
    # `{id}.{timestamp}.{body}` reads the same with the dots elsewhere.
    "dots moved": join(b"evt_1.1767323045", b"1767323045", _TRUE, b'{"type":"user.deleted"}'),
    "version alone": _request(b"v1"),
    "version and comma": _request(b"v1,"),
    "no version": _request(_TRUE.removeprefix(b"v1,")),
    "version in capitals": _request(b"V1," + _TRUE.removeprefix(b"v1,")),
    "v1 called v1a": _request(b"v1a," + _TRUE.removeprefix(b"v1,")),
    "v1 called v2": _request(b"v2," + _TRUE.removeprefix(b"v1,")),
    "line end for space": _request(b"x\x0b{v1}"),
    "no padding": _request(_TRUE.rstrip(b"=")),
    "more padding": _request(_TRUE + b"="),
    "base64url": _request(_TRUE.replace(b"+", b"-").replace(b"/", b"_") + b"_"),
    "base64 with a line end": _request(_TRUE[:20] + b"\n" + _TRUE[20:]),
    "NUL after": _request(b"{v1}\x00"),
    "hexadecimal": _request(b"v1," + b"ab" * 32),
    "v1a of zeros": _request(b"v1a," + b"A" * 86 + b"=="),
    "v1a of unused bits": _request(b"v1a," + b"A" * 85 + b"B=="),
    "v1a of wrong length": _request(b"v1a,AAAA"),
    "odd bytes": _request(_ODD_BYTES),
    "many entries": _request(b" ".join([b"v1,AAAA"] * 1000)),
    "many v1a entries": _request(b" ".join([b"v1a," + b"A" * 86 + b"=="] * 8)),
    "header too long": _request(b"{v1} " + b"x" * _HEADER_LIMIT_BYTES),
}
