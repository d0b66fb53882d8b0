"""The keys of webhook signatures: `whsec_` secrets, and `whsk_` and `whpk_` ed25519 key pairs."""

import base64
import secrets
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from app.domain.errors import ConfigurationInvalid

SYMMETRIC_PREFIX: Final = "whsec_"
PUBLIC_PREFIX: Final = "whpk_"
PRIVATE_PREFIX: Final = "whsk_"

_SYMMETRIC_KEY_MINIMUM_BYTES: Final = 24  # of the specification
_PRIME: Final = 2**255 - 19
_CURVE_CONSTANT: Final = -121665 * pow(121666, -1, _PRIME) % _PRIME


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An ed25519 key pair: `private` (whsk_…) for the sender, `public` (whpk_…) for the relay."""

    private: str = field(repr=False)
    public: str


def generate_symmetric_secret() -> str:
    """Generate a `whsec_` secret of 32 random bytes."""
    return SYMMETRIC_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def generate_key_pair() -> KeyPair:
    """Generate an ed25519 key pair."""
    key = Ed25519PrivateKey.generate()
    # The 32-byte seed alone: the Go reference library panics on the 64-byte form.
    seed = base64.b64encode(key.private_bytes_raw()).decode()
    public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    return KeyPair(private=PRIVATE_PREFIX + seed, public=PUBLIC_PREFIX + public)


def read_symmetric_key(secret: str, name: str) -> HMAC:
    """Read a `whsec_` secret, which error messages call `name`."""
    key = _decode(secret.removeprefix(SYMMETRIC_PREFIX), name)
    if len(key) < _SYMMETRIC_KEY_MINIMUM_BYTES:
        raise ConfigurationInvalid(
            f"{name} has {len(key)} bytes after whsec_; it needs at least"
            f" {_SYMMETRIC_KEY_MINIMUM_BYTES}. `relay secret` makes one."
        )
    if len(set(key)) == 1:
        raise ConfigurationInvalid(f"{name} is one byte repeated. `relay secret` makes one.")
    return HMAC(key, SHA256())


def read_public_key(secret: str, name: str) -> Ed25519PublicKey:
    """Read a `whpk_` public key, which error messages call `name`."""
    key = _decode(secret.removeprefix(PUBLIC_PREFIX), name)
    if len(key) != 32:
        raise ConfigurationInvalid(
            f"{name} has {len(key)} bytes after whpk_; an ed25519 public key has 32."
        )
    if not is_usable_public_key(key):
        raise ConfigurationInvalid(
            f"{name} is not an ed25519 public key: its 32 bytes are no usable point of the curve."
        )
    return Ed25519PublicKey.from_public_bytes(key)


def read_private_key(secret: str, name: str) -> Ed25519PrivateKey:
    """Read a `whsk_` private key: the seed, or the seed and the public key as Svix writes it."""
    key = _decode(secret.removeprefix(PRIVATE_PREFIX), name)
    if len(key) not in (32, 64):
        raise ConfigurationInvalid(
            f"{name} has {len(key)} bytes after whsk_; an ed25519 private key has 32, or 64 with"
            " its public key."
        )
    private_key = Ed25519PrivateKey.from_private_bytes(key[:32])
    if key[32:] not in (b"", private_key.public_key().public_bytes_raw()):
        raise ConfigurationInvalid(f"{name} is damaged: its public key is not that of its seed.")
    return private_key


def is_usable_public_key(encoded: bytes) -> bool:
    """Tell whether 32 bytes are a canonical point of the curve that is not of small order.

    `cryptography` accepts any 32 bytes, and verifies signatures that anybody can make for points of
    small order, such as 32 zero bytes. Source: RFC 8032, section 5.1.3.
    """
    if len(encoded) != 32:
        return False
    y = int.from_bytes(encoded, "little") & (2**255 - 1)  # The last bit is the sign of x.
    # Of the points of small order, those of order 4 have y = 0, and those of order 8 double to
    # y = 0. Those of order 1 and 2 have x = 0, which the last line rejects.
    if y >= _PRIME or y == 0 or (_CURVE_CONSTANT * y**4 + 2 * y * y - 1) % _PRIME == 0:
        return False
    x_squared = (y * y - 1) * pow(_CURVE_CONSTANT * y * y + 1, -1, _PRIME)
    return pow(x_squared, (_PRIME - 1) // 2, _PRIME) == 1  # Euler's criterion: x exists.


def _decode(text: str, name: str) -> bytes:
    """Decode strict base64; like the reference library, without padding too."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise ConfigurationInvalid(f"{name} is not base64 after its prefix.") from error
