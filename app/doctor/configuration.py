"""Check the relay's own configuration: its settings, operators' tokens, key set and store."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from app.auth.jwks import KeySet
from app.doctor.findings import Finding, Fix, command, ok, problem, setting
from app.domain.errors import ConfigurationInvalid, KeySetUnavailable
from app.store.notifications import Pooler
from app.store.store_status import SchemaStatus, StoreStatus, inspect_store

_OTHER_STORE: Final = setting("STORE_URL=sqlite:////data/relay.db")


def evaluate_settings(sentences: Sequence[str]) -> list[Finding]:
    """Report the errors of the settings, in the words of the start."""
    if not sentences:
        return [ok("settings", "The settings are complete: the relay can start.")]
    return [
        problem(
            "settings",
            f"{sentence[:1].upper()}{sentence[1:]}.",
            "The relay does not start with this.",
            _choose_fix(sentence),
        )
        for sentence in sentences
    ]


def evaluate_operator_auth(*, has_key: bool) -> Finding:
    """Report whether the relay can verify operators' tokens."""
    if has_key:
        return ok("operators", "The relay can verify operators' tokens: /replay and /events work.")
    return problem(
        "operators",
        "Neither JWT_SECRET nor JWT_JWKS_URL is set.",
        "/replay and /events respond 403: operators can neither look up nor replay events.",
        command("relay secret --kind jwt"),
    )


async def check_key_set(key_set: KeySet) -> Finding:
    """Fetch the issuer's keys once."""
    try:
        await key_set.find_key(None, "RSA")
    except KeySetUnavailable:
        return problem(
            "key-set",
            "JWT_JWKS_URL returns no usable key set.",
            "The relay cannot verify the issuer's tokens and responds 503.",
            setting("JWT_JWKS_URL=https://YOUR-ISSUER/.well-known/jwks.json"),
        )
    return ok("key-set", "JWT_JWKS_URL returns a key set.")


def check_store(store_url: str, pooler: Pooler) -> Iterator[Finding]:
    """Check the store without disturbing a relay that runs on it."""
    try:
        state = inspect_store(store_url)
    except ConfigurationInvalid as error:
        yield problem(
            "store", f"{error}.", "Without its store the relay accepts no events.", _OTHER_STORE
        )
        return
    yield _evaluate_schema(state)
    if state.is_behind_pooler is not None:
        yield ok("store-pooler", _describe_pooler(pooler, has_sessions=not state.is_behind_pooler))


def _evaluate_schema(state: StoreStatus) -> Finding:
    if state.schema is SchemaStatus.NEWER:
        return problem(
            "store",
            f"The store {state.place} is at revision {state.revision}, which this version of the"
            f" relay does not know; its own is {state.head}.",
            "A newer version upgraded the store. Run the newer version, or use another store.",
            _OTHER_STORE,
        )
    if state.revision is None:
        return ok("store", f"The store {state.place} does not exist yet; relay serve creates it.")
    is_ready = state.schema is SchemaStatus.CURRENT
    upgrade = "" if is_ready else f"; relay serve upgrades it to {state.head}"
    return ok("store", f"The store {state.place} is at revision {state.revision}{upgrade}.")


def _describe_pooler(pooler: Pooler, *, has_sessions: bool) -> str:
    if not has_sessions:
        return "The store is behind a transaction pooler: replicas poll it four times a second."
    if pooler is Pooler.TRANSACTION:
        return "The store needs no STORE_POOLER=transaction: with auto, replicas notify each other."
    return "Replicas that share the store notify each other."


def _choose_fix(sentence: str) -> Fix:
    found = re.search(r"[A-Z][A-Z_]{3,}", sentence)
    if "WEBHOOK_SECRETS" in sentence:
        return command("relay secret")
    if found is None or "JWT_SECRET" in sentence:
        return command("relay secret --kind jwt")
    return setting(f"{found[0]}=…")
