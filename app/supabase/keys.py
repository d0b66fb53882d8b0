"""The Supabase key: its kind and its headers."""

import base64
import json
import re
from enum import StrEnum

from app.domain.errors import ConfigurationInvalid

_WANTED = (
    "Set SUPABASE_SECRET_KEY to a secret key (sb_secret_…), or SUPABASE_SERVICE_ROLE_KEY to the"
    " legacy service_role key: Supabase dashboard, Settings, API keys"
)
_HEADER_SAFE = re.compile(r"[\x21-\x7e]+", re.ASCII)


class KeyKind(StrEnum):
    """The kinds of key that bypass Row Level Security."""

    SECRET = "sb_secret"  # noqa: S105 - the name of a kind
    SERVICE_ROLE = "service_role"


def read_key(key: str) -> tuple[KeyKind, dict[str, str]]:
    """Check a key and return its kind and headers.

    A legacy key is a JWT and needs both headers; a new key is opaque, and Supabase would reject it
    as a bearer token.

    Raises:
        ConfigurationInvalid: the key cannot write or is invalid. The message never holds it.
    """
    key = key.strip()
    if _HEADER_SAFE.fullmatch(key) is None:
        raise ConfigurationInvalid(
            "The Supabase key is empty or contains whitespace or other invalid characters"
            f" (a trailing comment in an env file?). {_WANTED}."
        )
    if key.startswith("sb_secret_"):
        return KeyKind.SECRET, {"apikey": key}
    if key.startswith("sb_publishable_"):
        raise ConfigurationInvalid(
            f"The Supabase key is a publishable key, for apps: it cannot write. {_WANTED}."
        )
    role = read_role(key)
    if role == KeyKind.SERVICE_ROLE:
        return KeyKind.SERVICE_ROLE, {"apikey": key, "Authorization": f"Bearer {key}"}
    if role is not None:
        raise ConfigurationInvalid(
            f"The Supabase key is a JWT for the role {role!r}, which cannot write. {_WANTED}."
        )
    raise ConfigurationInvalid(f"The Supabase key is not a key of Supabase. {_WANTED}.")


def read_role(key: str) -> str | None:
    """Return the role of a legacy key, unverified; None for any other text."""
    role = read_claim(key, "role")
    return None if role is None else role[:40]


def read_claim(token: str, name: str) -> str | None:
    """Return a claim of a token, unverified; None if it is not a string, or the text no token."""
    if re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", token, re.ASCII) is None:
        return None
    payload = token.split(".")[1]
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):
        return None
    value = claims.get(name) if isinstance(claims, dict) else None
    return value if isinstance(value, str) else None
