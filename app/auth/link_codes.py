"""Codes of one-time links: the store holds a token that only the code can open."""

import base64
import hashlib
import hmac
import secrets
from typing import NamedTuple

from cryptography.fernet import Fernet


class SealedToken(NamedTuple):
    """A token as the store holds it.

    Attributes:
        digest: names the code without telling it.
        content: the token, encrypted.
    """

    digest: bytes
    content: bytes


def make_code() -> str:
    """Make a code that cannot be guessed, for a URL."""
    return secrets.token_urlsafe(32)


def seal_token(code: str, token: str) -> SealedToken:
    """Encrypt a token with a key that is derived from the code."""
    return SealedToken(digest_code(code), _make_cipher(code).encrypt(token.encode()))


def open_token(code: str, content: bytes) -> str:
    """Decrypt the token that was sealed with this code."""
    return _make_cipher(code).decrypt(content).decode()


def digest_code(code: str) -> bytes:
    """Return the digest that a sealed token is found by."""
    return hashlib.sha256(code.encode()).digest()


def _make_cipher(code: str) -> Fernet:
    key = hmac.digest(code.encode(), b"relay console link", "sha256")
    return Fernet(base64.urlsafe_b64encode(key))
