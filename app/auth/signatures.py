"""Verifies and makes signatures by Standard Webhooks 1.0.0.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
The signed content is `{webhook-id}.{webhook-timestamp}.{raw body}`. `v1` is HMAC-SHA256, `v1a` is
ed25519.

Like the reference libraries, this accepts ids that contain a dot. The signed content then has more
than one reading, but in every other reading the body is not JSON: it begins within the id, or
within a string of the true body and so has an odd number of quotation marks.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from itertools import islice, pairwise
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hmac import HMAC

from app.auth.webhook_keys import (
    PRIVATE_PREFIX,
    PUBLIC_PREFIX,
    SYMMETRIC_PREFIX,
    read_private_key,
    read_public_key,
    read_symmetric_key,
)
from app.domain.errors import ConfigurationInvalid

_TIMESTAMP: Final = re.compile(rb"[0-9]{1,12}")  # int() also accepts "+1", "1_0" and " 1".

# Reading and comparing 64 KiB of the cheapest entries takes 5 ms.
_SIGNATURE_HEADER_LIMIT_BYTES: Final = 65_536

# Anybody can send v1a entries. Each costs 0.12 ms for every public key, and 1.3 ms per MiB of body.
# So a request may have 64 entries, but no more than hash 2 MiB in all, and always 4: 8 ms per key.
_ASYMMETRIC_LIMIT: Final = 64
_ASYMMETRIC_ALWAYS: Final = 4
_ASYMMETRIC_HASHED_BYTES: Final = 2 * 1024 * 1024

# 32 and 64 bytes in base64.
_SIGNATURE_LENGTHS: Final = {b"v1": 44, b"v1a": 88}

# Spaces, commas and tabs separate entries. The other bytes that `bytes.split` splits at become
# bytes that no signature contains.
_SEPARATORS: Final = bytes.maketrans(b",\t\n\v\f\r", b"  \0\0\0\0")


class SignatureFailure(StrEnum):
    """Why a signature is invalid, for the log only: it would help a forger."""

    HEADER_MISSING = "header-missing"
    TIMESTAMP_MALFORMED = "timestamp-malformed"
    TIMESTAMP_TOO_OLD = "timestamp-too-old"
    TIMESTAMP_TOO_NEW = "timestamp-too-new"
    SIGNATURE_TOO_LONG = "signature-too-long"
    NO_MATCH = "no-match"


class SignatureVerifier:
    """Verifies signatures by several keys. One match is enough.

    Args:
        secrets: `whsec_` secrets and `whpk_` public keys, at least one.
        tolerance_seconds: the largest accepted difference between `webhook-timestamp` and now.

    Raises:
        ConfigurationInvalid: a secret is unusable. The sentence never shows it.
    """

    def __init__(self, secrets: Sequence[str], *, tolerance_seconds: float) -> None:
        if not secrets:
            raise ConfigurationInvalid("WEBHOOK_SECRETS is empty. `relay secret` makes one.")
        self._tolerance_seconds = tolerance_seconds
        self._symmetric_keys: list[HMAC] = []
        self._public_keys: list[Ed25519PublicKey] = []
        for position, secret in enumerate((secret.strip() for secret in secrets), start=1):
            name = f"Entry {position} of WEBHOOK_SECRETS"
            if secret.startswith(SYMMETRIC_PREFIX):
                self._symmetric_keys.append(read_symmetric_key(secret, name))
            elif secret.startswith(PUBLIC_PREFIX):
                self._public_keys.append(read_public_key(secret, name))
            elif secret.startswith(PRIVATE_PREFIX):
                raise ConfigurationInvalid(
                    f"{name} is a private key (whsk_), which only the sender may know. The relay"
                    " needs its whpk_ public key."
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
        """Return why the signature is invalid, or None if it is valid.

        Never raises. Skips entries that are malformed or of unknown versions.
        Reads all `v1` entries and the first 64 `v1a` entries, fewer for bodies over 32 KiB.

        Args:
            webhook_id: the raw header; None if absent.
            webhook_timestamp: likewise.
            webhook_signature: likewise; entries are separated by spaces, commas or tabs, as
                proxies join repeated headers by commas.
            body: the raw body.
            now: Unix seconds.
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
        entries = _read_entries(webhook_signature)
        if self._matches_symmetric(entries, content) or self._matches_asymmetric(entries, content):
            return None
        return SignatureFailure.NO_MATCH

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
        signatures = _read_asymmetric_signatures(entries)
        return any(
            _is_signed_by(key, signature, content)
            for signature in islice(signatures, min(_ASYMMETRIC_LIMIT, affordable))
            for key in self._public_keys
        )


def sign(secret: str, *, webhook_id: str, timestamp: int, body: bytes) -> str:
    """Make one entry of a `webhook-signature` header.

    Raises:
        ConfigurationInvalid: `secret` cannot sign.
    """
    secret = secret.strip()
    name = "The signing secret"
    content = b"%b.%d.%b" % (webhook_id.encode(), timestamp, body)
    if secret.startswith(SYMMETRIC_PREFIX):
        return _sign_symmetric(read_symmetric_key(secret, name), content).decode()
    if secret.startswith(PRIVATE_PREFIX):
        signature = read_private_key(secret, name).sign(content)
        return "v1a," + base64.b64encode(signature).decode()
    if secret.startswith(PUBLIC_PREFIX):
        raise ConfigurationInvalid(
            f"{name} is a public key (whpk_), which can only verify. Signing needs its whsk_"
            " private key."
        )
    raise ConfigurationInvalid(
        f"{name} begins with neither whsec_ (a secret) nor whsk_ (a private key)."
    )


def _sign_symmetric(key: HMAC, content: bytes) -> bytes:
    # Unlike `hmac.digest`, a copy does not derive the key again, which takes half of the time.
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
    """Return the entries of known versions and the right length, as `version,signature`.

    Pairs every token with the next one, so that no malformed entry hides a valid one.
    """
    return [
        b"%b,%b" % (version, signature)
        for version, signature in pairwise(header.translate(_SEPARATORS).split())
        if _SIGNATURE_LENGTHS.get(version) == len(signature)
    ]


def _read_asymmetric_signatures(entries: Iterable[bytes]) -> Iterator[bytes]:
    """Decode the well-formed `v1a` entries."""
    for entry in entries:
        version, _, encoded = entry.partition(b",")
        if version != b"v1a":
            continue
        try:
            signature = binascii.a2b_base64(encoded)
        except binascii.Error:
            continue
        # Canonical base64 only: the unused bits of the last character allow four spellings.
        if len(signature) == 64 and base64.b64encode(signature) == encoded:
            yield signature
