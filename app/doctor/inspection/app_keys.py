"""The keys that apps have: how anybody, and how a user, comes to Supabase."""

import base64
import json
import uuid
from collections.abc import Mapping

from app.domain.errors import ConfigurationInvalid
from app.supabase.keys import read_role

_WANTED = (
    "SUPABASE_PUBLISHABLE_KEY takes the publishable key (sb_publishable_…) or the legacy anon key:"
    " Supabase dashboard, Settings, API keys"
)


def read_app_key(key: str) -> Mapping[str, str]:
    """Check a key that is made for apps, and give the headers of somebody not signed in.

    Raises:
        ConfigurationInvalid: it is another kind of key. Never shows it.
    """
    key = key.strip()
    if key.isascii() and key.isprintable() and " " not in key:
        if key.startswith("sb_publishable_"):
            return {"apikey": key}
        role = read_role(key)
        if role == "anon":
            return {"apikey": key, "Authorization": f"Bearer {key}"}
        if key.startswith("sb_secret_") or role == "service_role":
            raise ConfigurationInvalid(
                "The key given as the app's is one that passes Row Level Security. If an app has"
                f" it, replace it at once: who has it can write everything. {_WANTED}."
            )
    raise ConfigurationInvalid(f"The key given as the app's is none. {_WANTED}.")


def name_user_headers(
    app_headers: Mapping[str, str] | None, relay_headers: Mapping[str, str], token: str
) -> Mapping[str, str] | None:
    """Give the headers of a signed-in user; None where no key can carry them.

    A new secret key cannot: what it does beside a user's token is the gateway's own affair. The
    legacy key can, as the token alone says who asks.
    """
    headers = app_headers or (relay_headers if "Authorization" in relay_headers else None)
    return None if headers is None else {**headers, "Authorization": f"Bearer {token}"}


def read_subject(token: str) -> str | None:
    """Read whose a user's token is; None if it is no token of a user. Not verified."""
    parts = token.split(".")
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        subject = json.loads(payload).get("sub")
        return str(uuid.UUID(subject))
    except (ValueError, IndexError, AttributeError, TypeError, RecursionError):
        return None
