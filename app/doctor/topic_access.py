"""Explain why a user can or cannot join a Realtime topic, and send to it: `relay access`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.doctor.catalog import Catalog, PolicyFacts, read_catalog
from app.doctor.database import (
    Caller,
    DatabaseUnreadable,
    Role,
    StatementFailed,
    Transaction,
    open_transaction,
)
from app.doctor.fixes import list_words, name_target
from app.doctor.realtime import (
    MESSAGES,
    SCHEMA,
    Answer,
    Extension,
    Permissions,
    RealtimeUnavailable,
    ask_realtime,
)
from app.supabase.identifiers import quote, quote_text
from app.supabase.targets import Targets

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_USER: Final = "user:"
_CHANNEL_ERROR: Final = "Realtime answers CHANNEL_ERROR, with the reason Unauthorized."
_EXPECTED: Final = "trip:<trip id> or user:<user id>"


@dataclass(frozen=True, slots=True)
class TopicAccess:
    """The access of a user to one topic, on a private channel.

    Attributes:
        join: Realtime's answer; None if the question could not be asked.
        sentence: the explanation.
        allowed: such as "receive broadcast".
        error: the error that the client gets for the join, if any.
    """

    topic: str
    join: Answer | None
    sentence: str
    allowed: Sequence[str] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class _Claim:
    """The right of a user to a topic; `is_valid`: the user should have access."""

    text: str
    is_valid: bool = False


def explain_topics(
    url: str, targets: Targets, user_id: str, topics: Sequence[str]
) -> list[TopicAccess]:
    """Ask Realtime's question for a signed-in user, and explain each answer."""
    try:
        catalog = read_catalog(url, [SCHEMA])
        with open_transaction(url, read_only=False) as transaction:
            return [_explain(transaction, catalog, targets, user_id, topic) for topic in topics]
    except DatabaseUnreadable as error:
        sentence = f"The database could not be read: {error}."
        return [TopicAccess(topic, None, sentence) for topic in topics]


def _explain(
    transaction: Transaction, catalog: Catalog, targets: Targets, user_id: str, topic: str
) -> TopicAccess:
    caller = Caller(Role.AUTHENTICATED, user_id)
    try:
        permissions = ask_realtime(transaction, caller, topic)
    except RealtimeUnavailable as error:
        return TopicAccess(topic, None, f"Realtime could not be asked: {error}.")
    policies = [p for p in catalog.policies if p.full_table == MESSAGES]
    claim = _find_claim(transaction, targets, user_id, topic)
    join = Answer.ALLOWED if permissions.can_join else permissions.receive[Extension.BROADCAST]
    return TopicAccess(
        topic,
        join,
        _write_sentence(permissions, policies, join, claim),
        permissions.list_allowed(),
        None if join is Answer.ALLOWED else "Unauthorized",
    )


def _write_sentence(
    permissions: Permissions, policies: Sequence[PolicyFacts], join: Answer, claim: _Claim
) -> str:
    if join is Answer.RAISED:
        return (
            f"Denied: a policy on {MESSAGES} for select raises: {permissions.error}."
            f" {_CHANNEL_ERROR} Realtime logs RlsPolicyError."
        )
    if join is Answer.DENIED:
        cause = claim.text
        if claim.is_valid:
            cause = f"{cause}, but {_name_policies(policies, 'select')}"
        return f"Denied: {cause}. {_CHANNEL_ERROR}"
    sentence = f"Allowed: {list_words(permissions.list_allowed())}."
    if not claim.is_valid:
        sentence += f" That is although {claim.text}; relay doctor --db-url … names the policy."
    if Answer.RAISED in permissions.send.values():
        sentence += f" A send fails, as a policy for insert raises: {permissions.error}."
    elif Answer.ALLOWED not in permissions.send.values():
        sentence += f" Not to send: {_name_policies(policies, 'insert')}."
    return sentence


def _find_claim(transaction: Transaction, targets: Targets, user_id: str, topic: str) -> _Claim:
    """Say by which right the user could have a topic, or why they have none."""
    if topic.startswith(_USER):
        if topic == f"{_USER}{user_id}":
            return _Claim("the topic is the user's own", is_valid=True)
        return _Claim(f"the topic is not the user's own, {_USER}{user_id}")
    ids = _UUID.findall(topic)
    if not ids:
        return _Claim(f"the topic names no trip and no user; expected {_EXPECTED}")
    trip_id = ids[-1].lower()
    status = _read_status(transaction, targets, trip_id, user_id)
    if status is None:
        return _Claim(f"the user has no membership of the trip {trip_id} in Supabase")
    return _Claim(f"the membership is {status} in Supabase", is_valid=status == "ACTIVE")


def _read_status(
    transaction: Transaction, targets: Targets, trip_id: str, user_id: str
) -> str | None:
    target = targets.memberships
    column = {field: quote(name) for field, name in target.columns.items()}
    try:
        rows = transaction.run(
            f"select {column['status']}::text from {name_target(target)}"  # noqa: S608 - quoted
            f" where {column['trip_id']} = {quote_text(trip_id)}"
            f" and {column['user_id']} = {quote_text(user_id)}"
        )
    except StatementFailed as error:
        return f"unknown, as reading it failed ({error.code})"
    return str(rows[0][0]) if rows else None


def _name_policies(policies: Sequence[PolicyFacts], command: str) -> str:
    applying = [
        f'"{policy.name}"'
        for policy in policies
        if policy.is_permissive and policy.applies(Role.AUTHENTICATED, command)
    ]
    if not applying:
        return f"no policy on {MESSAGES} for {command} applies to authenticated"
    return f"no policy on {MESSAGES} for {command} permits the topic: {list_words(applying)}"
