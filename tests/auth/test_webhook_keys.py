"""Which 32 bytes are a usable ed25519 public key."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from app.auth.webhook_keys import is_usable_public_key

PRIME = 2**255 - 19

# The eight points of small order and their non-canonical forms, as libsodium refuses them
# (crypto_core/ed25519/ref10/ed25519_ref10.c), without the sign bit.
SMALL_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


@settings(deadline=None)  # a busy machine is no defect
@given(st.binary(min_size=32, max_size=32))
def test_public_key_of_any_private_key_is_usable(seed: bytes) -> None:
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    assert is_usable_public_key(public)


@pytest.mark.parametrize("encoded", SMALL_ORDER)
@pytest.mark.parametrize("sign", [0, 0x80])
def test_public_key_of_small_order_is_rejected(encoded: str, sign: int) -> None:
    raw = bytearray.fromhex(encoded)
    raw[31] |= sign
    assert not is_usable_public_key(bytes(raw))


def test_public_key_off_the_curve_is_rejected() -> None:
    # y = 2 has no x
    assert not is_usable_public_key((2).to_bytes(32, "little"))


def test_public_key_not_canonical_is_rejected() -> None:
    # y = 3 is on the curve; y + p says the same in 255 bits
    assert is_usable_public_key((3).to_bytes(32, "little"))
    assert not is_usable_public_key((3 + PRIME).to_bytes(32, "little"))


@settings(deadline=None)  # a busy machine is no defect
@given(st.binary(max_size=80))
def test_public_key_of_any_bytes_is_answered(encoded: bytes) -> None:
    assert is_usable_public_key(encoded) in (True, False)
