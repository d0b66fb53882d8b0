"""Verifies and makes the signatures of Standard Webhooks 1.0.0.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
What is signed is `{webhook-id}.{webhook-timestamp}.{raw body}`; `v1` is HMAC-SHA256 with a `whsec_`
secret, `v1a` is ed25519 with a `whsk_` private key, verified with its `whpk_` public key.

An id with a dot in it is accepted, as the reference libraries do. The dot makes what is signed
readable in more than one way, but in every other reading the body is no JSON document: it begins
with a piece of the id, or inside a string of the real body, and so with an odd number of quotation
marks in it.
"""

import base64
import binascii
import hmac
import re
import secrets as randomness
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice, pairwise
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from app.auth.ed25519 import is_usable_public_key
from app.domain.errors import ConfigurationInvalid

_SYMMETRIC_PREFIX: Final = "whsec_"
_PUBLIC_PREFIX: Final = "whpk_"
_PRIVATE_PREFIX: Final = "whsk_"
_SYMMETRIC_KEY_MINIMUM_BYTES: Final = 24  # the specification's minimum

_TIMESTAMP: Final = re.compile(rb"[0-9]{1,12}")  # int() would take "+1", "1_0", " 1"

# Reading and comparing 64 KiB of the cheapest entries takes 5 ms; servers cap headers at that.
_SIGNATURE_HEADER_LIMIT_BYTES: Final = 65_536

# Anybody may send v1a entries, and each costs a verification for every public key: 0.12 ms, and
# 1.3 ms more for each MiB of body, as ed25519 hashes it anew. So one request gets 64 of them, but
# no more than hash 2 MiB in all, and always 4: 8 ms for each key, measured. A sender in rotation
# sends two.
_ASYMMETRIC_LIMIT: Final = 64
_ASYMMETRIC_ALWAYS: Final = 4
_ASYMMETRIC_HASHED_BYTES: Final = 2 * 1024 * 1024

# Versions, and how long their signatures are: 32 and 64 bytes in base64.
_SIGNATURE_LENGTHS: Final = {b"v1": 44, b"v1a": 88}

# Spaces, commas and tabs separate; what else `bytes.split` would split at becomes a byte that no
# signature holds.
_SEPARATORS: Final = bytes.maketrans(b",\t\n\v\f\r", b"  \0\0\0\0")


class SignatureFailure(StrEnum):
    """Why a request is not authentic. For the log only: it would help a forger."""

    HEADER_MISSING = "header-missing"
    TIMESTAMP_MALFORMED = "timestamp-malformed"
    TIMESTAMP_TOO_OLD = "timestamp-too-old"
    TIMESTAMP_TOO_NEW = "timestamp-too-new"
    SIGNATURE_TOO_LONG = "signature-too-long"
    NO_MATCH = "no-match"


class SignatureVerifier:
    """Tells whether a request was signed with one of several secrets.

    Args:
        secrets: `whsec_` secrets and `whpk_` public keys in any mixture, at least one. Several
            are for rotation: any of them is enough.
        tolerance_seconds: the largest accepted difference between `webhook-timestamp` and now.

    Raises:
        ConfigurationInvalid: one of the secrets cannot be used. The sentence never repeats it.
    """

    def __init__(self, secrets: Sequence[str], *, tolerance_seconds: float) -> None:
        if not secrets:
            raise ConfigurationInvalid(
                "WEBHOOK_SECRETS is empty. Give at least one whsec_ secret or whpk_ public key."
            )
        self._tolerance_seconds = tolerance_seconds
        self._symmetric_keys: list[HMAC] = []
        self._public_keys: list[Ed25519PublicKey] = []
        for position, secret in enumerate((secret.strip() for secret in secrets), start=1):
            name = f"Entry {position} of WEBHOOK_SECRETS"
            if secret.startswith(_SYMMETRIC_PREFIX):
                self._symmetric_keys.append(_read_symmetric_key(secret, name))
            elif secret.startswith(_PUBLIC_PREFIX):
                self._public_keys.append(_read_public_key(secret, name))
            elif secret.startswith(_PRIVATE_PREFIX):
                raise ConfigurationInvalid(
                    f"{name} is a signing private key (whsk_), which only the sender may know. "
                    "The relay needs the whpk_ public key that belongs to it."
                )
            else:
                raise ConfigurationInvalid(
                    f"{name} begins with neither whsec_ (a secret) nor whpk_ (a public key)."
                )

    def verify(
        self,
        *,
        webhook_id: bytes | None,
        webhook_timestamp: bytes | None,
        webhook_signature: bytes | None,
        body: bytes,
        now: float,
    ) -> SignatureFailure | None:
        """Tell why the request is not authentic; `None` means that it is.

        Never raises, whatever bytes come in. Entries of unknown versions and malformed entries
        are skipped. Of well-formed `v1a` entries only the first 64 are looked at, fewer where the
        body is over 32 KiB; `v1` entries are all looked at. Entries may be separated by spaces,
        commas and tabs: header lines of one name are one list, and proxies join them by commas.

        Args:
            webhook_id: the header's bytes as received; `None` where it was not sent.
            webhook_timestamp: likewise.
            webhook_signature: likewise.
            body: the raw body.
            now: seconds since the epoch.
        """
        if not webhook_id or not webhook_timestamp or not webhook_signature:
            return SignatureFailure.HEADER_MISSING
        if _TIMESTAMP.fullmatch(webhook_timestamp) is None:
            return SignatureFailure.TIMESTAMP_MALFORMED
        age_seconds = now - int(webhook_timestamp)
        if not -self._tolerance_seconds <= age_seconds <= self._tolerance_seconds:
            if age_seconds > 0:
                return SignatureFailure.TIMESTAMP_TOO_OLD
            return SignatureFailure.TIMESTAMP_TOO_NEW
        if len(webhook_signature) > _SIGNATURE_HEADER_LIMIT_BYTES:
            return SignatureFailure.SIGNATURE_TOO_LONG

        content = b"%b.%b.%b" % (webhook_id, webhook_timestamp, body)
        return None if self._is_signed(webhook_signature, content) else SignatureFailure.NO_MATCH

    def _is_signed(self, header: bytes, content: bytes) -> bool:
        entries = _read_entries(header)
        return self._matches_symmetric(entries, content) or self._matches_asymmetric(
            entries, content
        )

    def _matches_symmetric(self, entries: Sequence[bytes], content: bytes) -> bool:
        for key in self._symmetric_keys:
            expected = _sign_symmetric(key, content)
            for entry in entries:
                if hmac.compare_digest(entry, expected):
                    return True
        return False

    def _matches_asymmetric(self, entries: Sequence[bytes], content: bytes) -> bool:
        if not self._public_keys:
            return False
        affordable = max(_ASYMMETRIC_ALWAYS, _ASYMMETRIC_HASHED_BYTES // len(content))
        return any(
            _is_signed_by(key, signature, content)
            for signature in islice(
                _read_asymmetric_entries(entries), min(_ASYMMETRIC_LIMIT, affordable)
            )
            for key in self._public_keys
        )


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An ed25519 key pair: `private` (whsk_…) for the sender, `public` (whpk_…) for the relay."""

    private: str = field(repr=False)
    public: str


def sign(secret: str, *, webhook_id: str, timestamp: int, body: bytes) -> str:
    """Make one entry of a `webhook-signature` header.

    Args:
        secret: a `whsec_` secret makes a `v1` entry, a `whsk_` private key a `v1a` entry. A
            private key may be the 32-byte seed (as the Go reference library writes it) or the
            seed and the public key, 64 bytes (as Svix does).
        webhook_id: the event's identity, the same over retries.
        timestamp: seconds since the epoch.
        body: exactly what is sent.

    Raises:
        ConfigurationInvalid: nothing can be signed with `secret`.
    """
    secret = secret.strip()
    name = "The signing secret"
    content = b"%b.%d.%b" % (webhook_id.encode(), timestamp, body)
    if secret.startswith(_SYMMETRIC_PREFIX):
        return _sign_symmetric(_read_symmetric_key(secret, name), content).decode()
    if secret.startswith(_PRIVATE_PREFIX):
        signature = _read_private_key(secret, name).sign(content)
        return "v1a," + base64.b64encode(signature).decode()
    if secret.startswith(_PUBLIC_PREFIX):
        raise ConfigurationInvalid(
            f"{name} is a public key (whpk_), which can only verify. "
            "Signing needs the whsk_ private key that belongs to it."
        )
    raise ConfigurationInvalid(
        f"{name} begins with neither whsec_ (a secret) nor whsk_ (a private key)."
    )


def generate_symmetric_secret() -> str:
    """Make a `whsec_` secret of 32 random bytes."""
    return _SYMMETRIC_PREFIX + base64.b64encode(randomness.token_bytes(32)).decode()


def generate_key_pair() -> KeyPair:
    """Make an ed25519 key pair."""
    key = Ed25519PrivateKey.generate()
    # The 32-byte seed alone: the Go reference library panics on the 64-byte form.
    seed = base64.b64encode(key.private_bytes_raw()).decode()
    public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    return KeyPair(private=_PRIVATE_PREFIX + seed, public=_PUBLIC_PREFIX + public)


def _sign_symmetric(key: HMAC, content: bytes) -> bytes:
    # The key is taken in already: `hmac.digest` does that each time, which takes as long as the
    # rest.
    signing = key.copy()
    signing.update(content)
    return b"v1," + binascii.b2a_base64(signing.finalize(), newline=False)


def _is_signed_by(key: Ed25519PublicKey, signature: bytes, content: bytes) -> bool:
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def _read_entries(header: bytes) -> list[bytes]:
    """Give the entries of known versions and the right length, as `version,signature`.

    Any token after a version may be its signature, so that no malformed entry hides a valid one.
    """
    return [
        b"%b,%b" % (version, signature)
        for version, signature in pairwise(header.translate(_SEPARATORS).split())
        if _SIGNATURE_LENGTHS.get(version) == len(signature)
    ]


def _read_asymmetric_entries(entries: Iterable[bytes]) -> Iterator[bytes]:
    """Give the 64 bytes of each well-formed `v1a` entry, in order."""
    for entry in entries:
        if not entry.startswith(b"v1a,"):
            continue
        encoded = entry.removeprefix(b"v1a,")
        try:
            signature = binascii.a2b_base64(encoded)
        except binascii.Error:
            continue
        # Canonical only: else the unused bits of the last character say the same in four ways.
        if len(signature) == 64 and base64.b64encode(signature) == encoded:
            yield signature


def _read_symmetric_key(secret: str, name: str) -> HMAC:
    key = _decode_base64(secret.removeprefix(_SYMMETRIC_PREFIX), name)
    if len(key) < _SYMMETRIC_KEY_MINIMUM_BYTES:
        raise ConfigurationInvalid(
            f"{name} holds {len(key)} bytes after whsec_; "
            f"a secret has at least {_SYMMETRIC_KEY_MINIMUM_BYTES}."
        )
    if len(set(key)) == 1:
        raise ConfigurationInvalid(
            f"{name} is one byte repeated, which anybody could guess; `relay secret` makes one."
        )
    return HMAC(key, SHA256())


def _read_public_key(secret: str, name: str) -> Ed25519PublicKey:
    key = _decode_base64(secret.removeprefix(_PUBLIC_PREFIX), name)
    if len(key) != 32:
        raise ConfigurationInvalid(
            f"{name} holds {len(key)} bytes after whpk_; an ed25519 public key has 32."
        )
    if not is_usable_public_key(key):
        raise ConfigurationInvalid(
            f"{name} is not an ed25519 public key: its 32 bytes are no usable point of the curve."
        )
    return Ed25519PublicKey.from_public_bytes(key)


def _read_private_key(secret: str, name: str) -> Ed25519PrivateKey:
    key = _decode_base64(secret.removeprefix(_PRIVATE_PREFIX), name)
    if len(key) not in (32, 64):
        raise ConfigurationInvalid(
            f"{name} holds {len(key)} bytes after whsk_; an ed25519 private key has 32, "
            "or 64 with its public key."
        )
    private_key = Ed25519PrivateKey.from_private_bytes(key[:32])
    if key[32:] not in (b"", private_key.public_key().public_bytes_raw()):
        raise ConfigurationInvalid(
            f"{name} is damaged: the public key in its second half is not that of its first."
        )
    return private_key


def _decode_base64(text: str, name: str) -> bytes:
    """Decode strictly, except that the padding may be missing, as the reference library has it."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise ConfigurationInvalid(f"{name} is not base64 after its prefix.") from error
