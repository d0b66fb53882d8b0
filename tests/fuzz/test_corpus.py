"""The seeds of the fuzz targets, each held to what is known of it; the same every time."""

from collections.abc import Callable, Mapping
from typing import Final

import pytest

from app.auth.signatures import SignatureVerifier
from app.auth.tokens import TokenVerifier
from app.domain.event_reader import EventReader
from tests.fuzz import events, http_requests, signatures, tokens

Check = Callable[[bytes], bool]

TARGETS: Final[Mapping[str, tuple[Check, Mapping[str, bytes], Mapping[str, bytes]]]] = {
    "signatures": (signatures.check, signatures.ACCEPTED, signatures.REFUSED),
    "tokens": (tokens.check, tokens.ACCEPTED, tokens.REFUSED),
    "requests": (http_requests.check, http_requests.ACCEPTED, http_requests.REFUSED),
    "events": (events.check, events.ACCEPTED, events.REFUSED),
}


@pytest.mark.parametrize(
    ("check", "data"),
    [
        pytest.param(check, data, id=f"{target}: {name}")
        for target, (check, accepted, _) in TARGETS.items()
        for name, data in accepted.items()
    ],
)
def test_seed_that_is_right_is_accepted(check: Check, data: bytes) -> None:
    assert check(data)


@pytest.mark.parametrize(
    ("check", "data"),
    [
        pytest.param(check, data, id=f"{target}: {name}")
        for target, (check, _, refused) in TARGETS.items()
        for name, data in refused.items()
    ],
)
def test_seed_that_is_wrong_is_refused(check: Check, data: bytes) -> None:
    assert not check(data)


@pytest.mark.parametrize(
    ("check", "data"),
    [
        pytest.param(check, data[:end], id=f"{target}: {name}[:{end}]")
        for target, (check, accepted, _) in TARGETS.items()
        for name, data in list(accepted.items())[:3]
        for end in range(0, min(len(data), 300), 7)
    ],
)
def test_seed_cut_short_is_no_fault(check: Check, data: bytes) -> None:
    check(data)


def test_signature_target_given_a_verifier_too_lenient_notices() -> None:
    known = "whsec_" + "b" * 32
    lenient = SignatureVerifier([known], tolerance_seconds=86_400)
    forged = signatures.sign_with(known, timestamp=signatures.NOW)
    late = signatures.sign_with(known, timestamp=signatures.NOW - 3600)
    for data in (forged, late):
        with pytest.raises(AssertionError):
            signatures.check(data, lenient)


def test_signature_target_given_a_verifier_too_strict_notices() -> None:
    strict = SignatureVerifier(["whsec_" + "b" * 32], tolerance_seconds=0)
    with pytest.raises(AssertionError):
        signatures.check(signatures.ACCEPTED["v1"], strict)


@pytest.mark.parametrize("name", ["exp past", "iss missing", "aud a piece", "nbf ahead"])
def test_token_target_given_a_verifier_too_lenient_notices(name: str) -> None:
    lenient = TokenVerifier(
        algorithms=["HS256"],
        secret=tokens.SECRET,
        key_set=None,
        issuer=None,
        audience=None,
        # Late enough for what is ahead, early enough for what is past.
        clock=lambda: tokens.NOW + (3600 if name == "nbf ahead" else -3600),
    )
    data = tokens.REFUSED[name]
    if name == "nbf ahead":
        data = data.replace(b'"exp":1767323105', b'"exp":1867323105')
    with pytest.raises((AssertionError, KeyError)):
        tokens.check(data, lenient)


def test_event_target_given_a_reader_too_lenient_notices() -> None:
    lenient = EventReader(roles=("MEMBER",), statuses=("ACTIVE", "\x00"))
    data = events.ACCEPTED["membership"].replace(b"ACTIVE", b"\\u0000")
    with pytest.raises(AssertionError):
        events.check(data, lenient)
