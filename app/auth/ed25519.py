"""Which 32 bytes are an Ed25519 public key that can be trusted (RFC 8032, section 5.1.3).

The `cryptography` library takes any 32 bytes for a public key and finds out only when it verifies;
and it takes points of small order, under which anybody can make signatures without a private key
(32 zero bytes are one). A typing error in a setting must stop the start instead.
"""

from typing import Final

_PRIME: Final = 2**255 - 19
_CURVE_CONSTANT: Final = -121665 * pow(121666, -1, _PRIME) % _PRIME


def is_usable_public_key(encoded: bytes) -> bool:
    """Tell whether `encoded` is a point of the curve, canonically encoded, not of small order."""
    if len(encoded) != 32:
        return False
    y = int.from_bytes(encoded, "little") & (2**255 - 1)  # the last bit is the sign of x
    # Of the points of small order, those of order 4 have y = 0, and those of order 8 double to
    # y = 0. Those of order 1 and 2 have x = 0, which is refused below.
    if y >= _PRIME or y == 0 or (_CURVE_CONSTANT * y**4 + 2 * y * y - 1) % _PRIME == 0:
        return False
    x_squared = (y * y - 1) * pow(_CURVE_CONSTANT * y * y + 1, -1, _PRIME)
    return pow(x_squared, (_PRIME - 1) // 2, _PRIME) == 1  # Euler: x exists, and is not 0
