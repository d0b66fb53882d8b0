"""The verifier agrees with published vectors and the reference library."""

import base64
import hmac
import json
import math
import time
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

from app.auth.signatures import SignatureFailure, SignatureVerifier, sign
from app.auth.webhook_keys import generate_key_pair, generate_symmetric_secret
from app.domain.errors import ConfigurationInvalid

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/standard-webhooks.json").read_text())
VECTORS: list[dict[str, Any]] = [GOLDEN["defaults"] | vector for vector in GOLDEN["vectors"]]

NOW = 1_767_225_600
WEBHOOK_ID = "evt_1"
BODY = b'{"type": "user.deleted"}'
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
PRIVATE_KEY = "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk="
PUBLIC_KEY = "whpk_ZlN4eg7dSSqi0moX9hQUk3orrOouK3QVQSlJa248c/g="
SCHEMES = [(SECRET, SECRET), (PRIVATE_KEY, PUBLIC_KEY)]  # what signs, what verifies
WRONG_ASYMMETRIC = b"v1a," + base64.b64encode(bytes(64))


def make_verifier(*secrets: str, tolerance_seconds: float = 300) -> SignatureVerifier:
    return SignatureVerifier(secrets or (SECRET, PUBLIC_KEY), tolerance_seconds=tolerance_seconds)


def verify(
    verifier: SignatureVerifier,
    signature: str | bytes | None,
    *,
    webhook_id: bytes | None = WEBHOOK_ID.encode(),
    timestamp: bytes | None = str(NOW).encode(),
    body: bytes = BODY,
    now: float = NOW,
) -> SignatureFailure | None:
    return verifier.verify(
        webhook_id=webhook_id,
        webhook_timestamp=timestamp,
        webhook_signature=signature.encode() if isinstance(signature, str) else signature,
        body=body,
        now=now,
    )


def sign_here(secret: str = SECRET, *, timestamp: int = NOW, body: bytes = BODY) -> str:
    return sign(secret, webhook_id=WEBHOOK_ID, timestamp=timestamp, body=body)


# Published vectors


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_verifier_given_golden_vector_answers_as_published(vector: dict[str, Any]) -> None:
    verifier = make_verifier(*vector["secrets"], tolerance_seconds=vector["tolerance_seconds"])
    headers = {name: vector[name] for name in ("id", "timestamp", "signature")}
    encoded = {name: None if text is None else text.encode() for name, text in headers.items()}
    answer = verify(
        verifier,
        encoded["signature"],
        webhook_id=encoded["id"],
        timestamp=encoded["timestamp"],
        body=vector["body"].encode(),
        now=vector["now"],
    )
    assert answer == vector["failure"]


@pytest.mark.parametrize(
    "vector",
    [vector for vector in VECTORS if "signing_secret" in vector],
    ids=lambda vector: vector["name"],
)
def test_sign_given_golden_vector_makes_the_published_signature(vector: dict[str, Any]) -> None:
    made = sign(
        vector["signing_secret"],
        webhook_id=vector["id"],
        timestamp=int(vector["timestamp"]),
        body=vector["body"].encode(),
    )
    assert made == vector["signature"]


# The reference library


def test_verifier_accepts_signatures_of_the_reference_library() -> None:
    secret = generate_symmetric_secret()
    signature = Webhook(secret).sign(WEBHOOK_ID, datetime.fromtimestamp(NOW, UTC), BODY.decode())
    assert verify(make_verifier(secret), signature) is None


def test_reference_library_accepts_our_signatures() -> None:
    secret = generate_symmetric_secret()
    timestamp = int(time.time())  # the library reads the wall clock
    headers = {
        "webhook-id": WEBHOOK_ID,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign_here(secret, timestamp=timestamp),
    }
    assert Webhook(secret).verify(BODY, headers) == {"type": "user.deleted"}


@settings(deadline=None)  # a busy machine is no defect
@given(
    secret=st.binary(min_size=24, max_size=64).filter(lambda secret: len(set(secret)) > 1),
    webhook_id=st.text(min_size=1),
    timestamp=st.integers(0, 10**10),
    body=st.text(),
)
def test_sign_given_any_text_agrees_with_the_reference_library(
    secret: bytes, webhook_id: str, timestamp: int, body: str
) -> None:
    encoded = "whsec_" + base64.b64encode(secret).decode()
    made = sign(encoded, webhook_id=webhook_id, timestamp=timestamp, body=body.encode())
    at = datetime.fromtimestamp(timestamp, UTC)
    assert made == Webhook(encoded).sign(webhook_id, at, body)


# Rotation and lists


@pytest.mark.parametrize(("signing", "_verifying"), SCHEMES)
def test_verifier_with_several_secrets_accepts_each(signing: str, _verifying: str) -> None:
    verifier = make_verifier(OTHER_SECRET, generate_key_pair().public, SECRET, PUBLIC_KEY)
    assert verify(verifier, sign_here(signing)) is None


@pytest.mark.parametrize(("signing", "verifying"), SCHEMES)
def test_verifier_after_rotation_rejects_the_old_secret(signing: str, verifying: str) -> None:
    assert verify(make_verifier(verifying), sign_here(signing)) is None
    after = make_verifier(OTHER_SECRET, generate_key_pair().public)
    assert verify(after, sign_here(signing)) is SignatureFailure.NO_MATCH


def test_verifier_given_two_signatures_accepts_with_either_secret() -> None:
    both = f"{sign_here(OTHER_SECRET)} {sign_here(SECRET)}"
    assert verify(make_verifier(SECRET), both) is None
    assert verify(make_verifier(OTHER_SECRET), both) is None


@pytest.mark.parametrize(("signing", "verifying"), SCHEMES)
@pytest.mark.parametrize(
    "separator", [b" ", b",", b"\t", b", ", b" ,", b"\t,\t", b",,", b" , v2 , ", b",v1,", b",v1a "]
)
def test_verifier_given_a_list_joined_by_a_proxy_accepts_each_entry(
    signing: str, verifying: str, separator: bytes
) -> None:
    """RFC 9110, section 5.3: header lines of one name are one list, joined by commas."""
    wrong = [b"v1," + b"A" * 43 + b"=", WRONG_ASYMMETRIC, b"v2,AAAA"]
    good = sign_here(signing).encode()
    for position in range(len(wrong) + 1):
        header = separator.join([*wrong[:position], good, *wrong[position:]])
        assert verify(make_verifier(verifying), header) is None
        assert verify(make_verifier(verifying), header.replace(b",", b" , ")) is None
        assert verify(make_verifier(verifying), separator + header + separator) is None


@pytest.mark.parametrize(("signing", "verifying"), SCHEMES)
@pytest.mark.parametrize(
    "separator", [b"\n", b"\r", b"\x0b", b"\x0c", b";", b"\xa0", b"\x00", b"\x85"]
)
def test_verifier_given_another_separator_rejects(
    signing: str, verifying: str, separator: bytes
) -> None:
    joined = b"v2,AAAA" + separator + sign_here(signing).encode()
    assert verify(make_verifier(verifying), joined) is SignatureFailure.NO_MATCH


@pytest.mark.parametrize("prefix", ["V1,", "v1", "v1\n,", "v1 v2,", "v2,", "v1b,", ",", ""])
def test_verifier_given_another_version_skips_it(prefix: str) -> None:
    signature = prefix + sign_here().removeprefix("v1,")
    assert verify(make_verifier(SECRET), signature) is SignatureFailure.NO_MATCH


# Headers and tolerance


@pytest.mark.parametrize("absent", [None, b""])
@pytest.mark.parametrize("header", ["webhook_id", "timestamp", "signature"])
def test_verifier_without_a_header_rejects(absent: bytes | None, header: str) -> None:
    headers: dict[str, Any] = {"signature": sign_here()} | {header: absent}
    assert verify(make_verifier(), **headers) is SignatureFailure.HEADER_MISSING


@pytest.mark.parametrize(
    ("late_seconds", "failure"),
    [
        (0, None),
        (300, None),
        (-300, None),
        (300.001, SignatureFailure.TIMESTAMP_TOO_OLD),
        (-300.001, SignatureFailure.TIMESTAMP_TOO_NEW),
        (10**12, SignatureFailure.TIMESTAMP_TOO_OLD),
        (-(10**12), SignatureFailure.TIMESTAMP_TOO_NEW),
        (float("nan"), SignatureFailure.TIMESTAMP_TOO_NEW),
    ],
)
def test_verifier_at_the_edge_of_the_tolerance_includes_it(
    late_seconds: float, failure: SignatureFailure | None
) -> None:
    assert verify(make_verifier(), sign_here(), now=NOW + late_seconds) is failure


def test_verifier_without_limit_on_tolerance_takes_old_vectors() -> None:
    verifier = make_verifier(tolerance_seconds=math.inf)
    assert verify(verifier, sign_here(timestamp=0), timestamp=b"0") is None


@pytest.mark.parametrize(
    "timestamp",
    [
        b"+1767225600",
        b"-1767225600",
        b" 1767225600",
        b"1767225600 ",
        b"1767225600\n",
        b"1_767_225_600",
        b"1767225600.0",
        b"1.7672256e9",
        b"0x69559e00",
        b"nan",
        b"inf",
        "١٧٦٧٢٢٥٦٠٠".encode(),  # digits that int() would take
        b"0001767225600",
        b"9" * 5000,
        b"\xff",
    ],
)
def test_verifier_given_a_timestamp_that_is_no_plain_number_rejects(timestamp: bytes) -> None:
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    content = b"%b.%b.%b" % (WEBHOOK_ID.encode(), timestamp, BODY)
    signature = b"v1," + base64.b64encode(hmac.digest(key, content, "sha256"))
    answer = verify(make_verifier(), signature, timestamp=timestamp)
    assert answer is SignatureFailure.TIMESTAMP_MALFORMED


def test_verifier_given_an_overlong_signature_header_rejects() -> None:
    header = sign_here() + " " * 65_536
    assert verify(make_verifier(), header) is SignatureFailure.SIGNATURE_TOO_LONG
    assert verify(make_verifier(), header[:65_536]) is None


def test_verifier_given_bodies_that_are_no_text_accepts_them() -> None:
    for body in (b"", b"\xff\x00\xfe", bytes(1_048_576)):
        for signing, verifying in SCHEMES:
            signature = sign_here(signing, body=body)
            assert verify(make_verifier(verifying), signature, body=body) is None


# The bound on what an unauthenticated caller can cost


@pytest.mark.parametrize(
    ("body", "considered"), [(BODY, 64), (bytes(131_072), 15), (bytes(8_388_608), 4)]
)
def test_verifier_given_many_asymmetric_signatures_stops_at_the_limit(
    body: bytes, considered: int
) -> None:
    verifier = make_verifier(PUBLIC_KEY)
    good = sign_here(PRIVATE_KEY, body=body).encode()
    within = b" ".join([WRONG_ASYMMETRIC] * (considered - 1) + [good])
    beyond = b" ".join([WRONG_ASYMMETRIC] * considered + [good])
    assert verify(verifier, within, body=body) is None
    assert verify(verifier, beyond, body=body) is SignatureFailure.NO_MATCH


def test_verifier_given_many_asymmetric_signatures_still_finds_a_symmetric_one() -> None:
    header = b" ".join([*[WRONG_ASYMMETRIC] * 200, sign_here().encode()])
    assert verify(make_verifier(), header) is None


def test_verifier_given_malformed_asymmetric_entries_does_not_count_them() -> None:
    malformed = [b"v1a,", b"v1a," + b"!" * 88, b"v1a," + b"A" * 88, b"v1a,QUJD"]
    header = b" ".join([*malformed * 100, sign_here(PRIVATE_KEY).encode()])
    assert verify(make_verifier(PUBLIC_KEY), header) is None


# Properties

anything = st.none() | st.binary(max_size=300)
entries = st.lists(
    st.binary(max_size=120)
    | st.sampled_from([b"v1,", b"v1a,", b"v1", b"v1a", b",", b"", WRONG_ASYMMETRIC])
    | st.binary(min_size=32, max_size=32).map(lambda raw: b"v1," + base64.b64encode(raw))
    | st.binary(min_size=60, max_size=66).map(lambda raw: b"v1a," + base64.b64encode(raw)),
    max_size=12,
)


@settings(deadline=None)  # a busy machine is no defect
@given(
    webhook_id=anything,
    timestamp=anything | st.just(str(NOW).encode()),
    signature=anything | entries.map(b" ".join) | entries.map(b", ".join),
    body=st.binary(max_size=300),
)
def test_verifier_given_arbitrary_bytes_rejects_without_raising(
    webhook_id: bytes | None, timestamp: bytes | None, signature: bytes | None, body: bytes
) -> None:
    answer = verify(
        make_verifier(), signature, webhook_id=webhook_id, timestamp=timestamp, body=body
    )
    assert isinstance(answer, SignatureFailure)


@pytest.mark.parametrize(("signing", "verifying"), SCHEMES)
@settings(deadline=None)  # a busy machine is no defect
@given(before=entries, after=entries, body=st.binary(max_size=300))
def test_verifier_given_a_good_signature_among_garbage_accepts(
    signing: str, verifying: str, before: list[bytes], after: list[bytes], body: bytes
) -> None:
    good = sign_here(signing, body=body).encode()
    for separator in (b" ", b", ", b",\t"):
        header = separator.join([*before, good, *after])
        assert verify(make_verifier(verifying), header, body=body) is None


@pytest.mark.parametrize(("signing", "verifying"), SCHEMES)
@pytest.mark.parametrize("part", ["webhook_id", "timestamp", "body"])
@settings(deadline=None)  # a busy machine is no defect
@given(changed=st.binary(max_size=60) | st.integers(0, 10**12 - 1).map(lambda n: b"%d" % n))
def test_verifier_given_a_changed_part_rejects(
    signing: str, verifying: str, part: str, changed: bytes
) -> None:
    original = {"webhook_id": WEBHOOK_ID.encode(), "timestamp": b"%d" % NOW, "body": BODY}
    assume(original[part] != changed)
    changes: dict[str, Any] = {part: changed}
    verifier = make_verifier(verifying, tolerance_seconds=math.inf)
    assert verify(verifier, sign_here(signing), **changes) is not None


@pytest.mark.parametrize(("signing", "verifying"), SCHEMES)
def test_verifier_given_any_one_changed_bit_rejects(signing: str, verifying: str) -> None:
    verifier = make_verifier(verifying, tolerance_seconds=math.inf)
    parts = {
        "webhook_id": WEBHOOK_ID.encode(),
        "timestamp": b"%d" % NOW,
        "body": BODY,
        "signature": sign_here(signing).encode(),
    }
    assert verify(verifier, **parts) is None  # type: ignore[arg-type]  # all are bytes
    for name, original in parts.items():
        for position, bit in product(range(len(original)), range(8)):
            changed = bytearray(original)
            changed[position] ^= 1 << bit
            request: dict[str, Any] = parts | {name: bytes(changed)}
            assert verify(verifier, **request) is not None, (name, position, bit)


@pytest.mark.parametrize(("signing", "verifying"), SCHEMES)
@settings(deadline=None)  # a busy machine is no defect
@given(data=st.data())
def test_verifier_given_a_shortened_signature_rejects(
    signing: str, verifying: str, data: st.DataObject
) -> None:
    signature = sign_here(signing).encode()
    start = data.draw(st.integers(0, len(signature)))
    stop = data.draw(st.integers(start, len(signature)))
    assume((start, stop) != (0, len(signature)))
    assert verify(make_verifier(verifying), signature[start:stop]) is not None


# Secrets


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        ("", "neither whsec_"),
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "neither whsec_"),
        ("WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "neither whsec_"),
        ("hwsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "neither whsec_"),
        ("whsec_", "has 0 bytes"),
        ("whsec_%MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "not base64"),
        ("whsec_MfKQ9r8GKYqrTwjU PD8ILPZIo2LaLaSw", "not base64"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLé", "not base64"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwA", "not base64"),
        ("whsec_" + base64.b64encode(bytes(23)).decode(), "has 23 bytes"),
        ("whsec_" + base64.b64encode(bytes(24)).decode(), "one byte repeated"),
        ("whsec_" + base64.b64encode(b"k" * 64).decode(), "one byte repeated"),
        ("whpk_" + base64.b64encode(bytes(31)).decode(), "has 31 bytes"),
        ("whpk_" + base64.b64encode(bytes(33)).decode(), "has 33 bytes"),
        ("whpk_" + base64.b64encode(bytes(32)).decode(), "no usable point"),
        ("whpk_" + base64.b64encode(b"\2" + bytes(31)).decode(), "no usable point"),
        (PRIVATE_KEY, "private key"),
    ],
)
def test_verifier_given_an_unusable_secret_names_the_setting_and_not_the_secret(
    secret: str, reason: str
) -> None:
    with pytest.raises(ConfigurationInvalid, match=reason) as caught:
        make_verifier(SECRET, secret)
    assert "Entry 2 of WEBHOOK_SECRETS" in str(caught.value)
    payload = secret.removeprefix("whsec_").removeprefix("whpk_").removeprefix("whsk_")
    assert not payload or payload not in str(caught.value)


def test_verifier_given_no_secret_names_the_setting() -> None:
    with pytest.raises(ConfigurationInvalid, match="WEBHOOK_SECRETS is empty"):
        SignatureVerifier([], tolerance_seconds=300)


def test_verifier_given_a_private_key_asks_for_the_public_key() -> None:
    with pytest.raises(ConfigurationInvalid, match="needs its whpk_ public key"):
        make_verifier(PRIVATE_KEY)


def test_verifier_given_secrets_with_space_around_or_no_padding_accepts_them() -> None:
    secret = generate_symmetric_secret()
    assert secret.endswith("=")
    verifier = make_verifier(f" {secret.rstrip('=')}\n")
    assert verify(verifier, sign_here(secret)) is None


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        (PUBLIC_KEY, "can only verify"),
        ("secret", "neither whsec_"),
        ("whsk_" + base64.b64encode(bytes(31)).decode(), "has 31 bytes"),
        ("whsk_" + base64.b64encode(bytes(63)).decode(), "has 63 bytes"),
        ("whsk_" + base64.b64encode(bytes(64)).decode(), "damaged"),
        ("whsec_" + base64.b64encode(bytes(16)).decode(), "has 16 bytes"),
        ("whsec_" + base64.b64encode(bytes(32)).decode(), "one byte repeated"),
    ],
)
def test_sign_with_an_unusable_secret_raises_the_reason(secret: str, reason: str) -> None:
    with pytest.raises(ConfigurationInvalid, match=reason):
        sign_here(secret)


def test_generated_secrets_are_random_and_verify() -> None:
    first, second = generate_symmetric_secret(), generate_symmetric_secret()
    assert first != second
    assert len(base64.b64decode(first.removeprefix("whsec_"))) == 32
    assert verify(make_verifier(first), sign_here(first)) is None


def test_generated_key_pair_signs_and_verifies_without_showing_its_private_key() -> None:
    pair = generate_key_pair()
    assert pair != generate_key_pair()
    assert len(base64.b64decode(pair.private.removeprefix("whsk_"))) == 32
    assert pair.private not in repr(pair)
    assert verify(make_verifier(pair.public), sign_here(pair.private)) is None
