"""Judging the relay's own side: its settings, and the issuer's keys."""

import re
from collections.abc import Sequence

from app.auth.jwks import KeySet
from app.doctor.findings import Finding, Fix, command, fine, problem, setting
from app.domain.errors import KeySetUnavailable


def judge_settings(sentences: Sequence[str]) -> list[Finding]:
    """Report what is wrong with the settings, in the words of the start."""
    if not sentences:
        return [fine("settings", "The settings are complete: the relay would start with them.")]
    return [
        problem(
            "settings",
            f"{sentence[:1].upper()}{sentence[1:]}.",
            "The relay does not start with this.",
            _choose_fix(sentence),
        )
        for sentence in sentences
    ]


def judge_operators(*, has_tokens: bool) -> Finding:
    """Say whether operators can come in."""
    if has_tokens:
        return fine("operators", "Operators' tokens are accepted: /replay and /events work.")
    return problem(
        "operators",
        "Neither JWT_SECRET nor JWT_JWKS_URL is set.",
        "/replay and /events answer 403: nobody can look up or send again what went wrong.",
        command("relay secret --kind jwt"),
    )


async def examine_key_set(key_set: KeySet) -> Finding:
    """Fetch the issuer's keys once."""
    try:
        await key_set.find_key(None, "RSA")
    except KeySetUnavailable:
        return problem(
            "key-set",
            "No keys come from JWT_JWKS_URL.",
            "Tokens of the issuer cannot be verified: whoever comes with one is sent away (503).",
            setting("JWT_JWKS_URL=https://YOUR-ISSUER/.well-known/jwks.json"),
        )
    return fine("key-set", "JWT_JWKS_URL gives a set of keys.")


def _choose_fix(sentence: str) -> Fix:
    found = re.search(r"[A-Z][A-Z_]{3,}", sentence)
    if "WEBHOOK_SECRETS" in sentence:
        return command("relay secret")
    if found is None or "JWT_SECRET" in sentence:
        return command("relay secret --kind jwt")
    return setting(f"{found[0]}=…")
