"""The key that opens Supabase: which kind it is, and the headers that it goes out in."""

import base64
import json
import re
from enum import StrEnum

from app.domain.errors import ConfigurationInvalid

_WANTED = (
    "SUPABASE_SECRET_KEY takes a secret key (sb_secret_…), or SUPABASE_SERVICE_ROLE_KEY the legacy"
    " service_role key: Supabase dashboard, Settings, API keys"
)
_HEADER_SAFE = re.compile(r"[\x21-\x7e]+", re.ASCII)


class KeyKind(StrEnum):
    """Kinds of key that may write past Row Level Security."""

    SECRET = "sb_secret"  # noqa: S105 - the name of a kind
    SERVICE_ROLE = "service_role"


def read_key(key: str) -> tuple[KeyKind, dict[str, str]]:
    """Check a key and give the headers that carry it.

    A legacy key is a JWT and goes out twice; a new one is opaque, and as a bearer token it would
    be refused as a malformed JWT.

    Raises:
        ConfigurationInvalid: it is a key that cannot write, or none at all. Never shows it.
    """
    key = key.strip()
    if _HEADER_SAFE.fullmatch(key) is None:
        raise ConfigurationInvalid(
            f"The Supabase key is empty or holds a character that no header can carry. {_WANTED}."
        )
    if key.startswith("sb_secret_"):
        return KeyKind.SECRET, {"apikey": key}
    if key.startswith("sb_publishable_"):
        raise ConfigurationInvalid(
            f"The Supabase key is a publishable key, made for apps: it cannot write. {_WANTED}."
        )
    role = read_role(key)
    if role == KeyKind.SERVICE_ROLE:
        return KeyKind.SERVICE_ROLE, {"apikey": key, "Authorization": f"Bearer {key}"}
    if role is not None:
        raise ConfigurationInvalid(
            f"The Supabase key is a JWT for the role {role!r}, which cannot write. {_WANTED}."
        )
    raise ConfigurationInvalid(f"The Supabase key is none that Supabase gives out. {_WANTED}.")


def read_role(key: str) -> str | None:
    """Read which role a legacy key is for; None if it is no such key. Not verified."""
    if re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", key, re.ASCII) is None:
        return None
    parts = key.split(".")
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        claims = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    role = claims.get("role") if isinstance(claims, dict) else None
    return role[:40] if isinstance(role, str) else None
