"""Ask Realtime's question as members and others of a trip, and find the policies that answer."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from app.doctor.catalog import Catalog, PolicyFacts, TableFacts
from app.doctor.database import Caller, Role, StatementFailed, Transaction
from app.doctor.policy_trials import TIMEOUTS, Action, evaluate_expression
from app.doctor.realtime import (
    MESSAGES,
    Extension,
    Permissions,
    RealtimeUnavailable,
    ask_realtime,
)
from app.doctor.sample_memberships import SampleMembership, find_memberships
from app.supabase.targets import Targets

# Forms of topics with the trip's id, as apps name them; the last names a user.
_FORMS: Final = ("trip:<trip id>", "trip-messages-<trip id>")
_USER_FORM: Final = "user:<user id>"
_NO_TRIP: Final = ("trip:not-a-trip", "lobby")
_COMMANDS: Final = (Action.SELECT, Action.INSERT)


class Listener(StrEnum):
    """The users who may try to join a topic."""

    ACTIVE = "ACTIVE members"
    INACTIVE = "INACTIVE members"
    STRANGER = "strangers and removed members"
    ANYONE = "signed-out users"


@dataclass(frozen=True, slots=True)
class TopicTrial:
    """What one kind of user may do on one form of topic.

    Attributes:
        policies: those on `realtime.messages` that permit something of it.
    """

    listener: Listener
    form: str
    permissions: Permissions
    policies: Sequence[PolicyFacts]


@dataclass(frozen=True, slots=True)
class RaisingTopicPolicy:
    """A policy on `realtime.messages` that raises for some topic."""

    policy: PolicyFacts
    topic: str
    message: str


@dataclass(frozen=True, slots=True)
class TopicTrials:
    """The results.

    Attributes:
        unavailable: why Realtime's question could not be asked; None if it was.
    """

    trials: Sequence[TopicTrial] = ()
    raising: Sequence[RaisingTopicPolicy] = field(default_factory=list)
    unavailable: str | None = None


def try_topics(transaction: Transaction, catalog: Catalog, targets: Targets) -> TopicTrials:
    """Ask about the topics of a trip, and of another user."""
    messages = next((t for t in catalog.tables if t.full_name == MESSAGES), None)
    if messages is None:
        return TopicTrials()
    trial = _Trial(transaction, catalog, messages)
    active = find_memberships(transaction, targets, is_active=True, limit=1)
    inactive = find_memberships(transaction, targets, is_active=False, limit=1)
    try:
        trials = [*trial.ask_all(active, inactive)]
    except RealtimeUnavailable as error:
        return TopicTrials(unavailable=str(error))
    return TopicTrials(trials, [*trial.find_raising()])


@dataclass(frozen=True, slots=True)
class _Trial:
    transaction: Transaction
    catalog: Catalog
    messages: TableFacts

    def ask_all(
        self, active: Sequence[SampleMembership], inactive: Sequence[SampleMembership]
    ) -> Iterator[TopicTrial]:
        """Ask as each kind of user of whom there is one."""
        unknown = SampleMembership(str(uuid.uuid4()), str(uuid.uuid4()))
        trip_id = next(iter((*active, *inactive, unknown))).trip_id
        stranger = str(uuid.uuid4())
        callers = [
            *((Listener.ACTIVE, m.trip_id, m.user_id) for m in active),
            *((Listener.INACTIVE, m.trip_id, m.user_id) for m in inactive),
            (Listener.STRANGER, trip_id, stranger),
            (Listener.ANYONE, trip_id, None),
        ]
        for listener, trip, subject in callers:
            for form in _FORMS:
                yield self._ask(listener, subject, form, form.replace("<trip id>", trip))
        other = next(iter((*active, *inactive, unknown))).user_id
        for listener, subject in ((Listener.STRANGER, stranger), (Listener.ANYONE, None)):
            topic = _USER_FORM.replace("<user id>", other)
            yield self._ask(listener, subject, _USER_FORM, topic)

    def _ask(self, listener: Listener, subject: str | None, form: str, topic: str) -> TopicTrial:
        role = Role.ANON if listener is Listener.ANYONE else Role.AUTHENTICATED
        caller = Caller(role, subject)
        permissions = ask_realtime(self.transaction, caller, topic)
        permitting = [
            policy
            for action in _COMMANDS
            for policy in self._list_policies(role, action)
            if self._evaluate(policy, action, caller, topic) is True
        ]
        return TopicTrial(listener, form, permissions, permitting)

    def find_raising(self) -> Iterator[RaisingTopicPolicy]:
        """Evaluate every policy for topics that name no trip."""
        caller = Caller(Role.AUTHENTICATED, str(uuid.uuid4()))
        for action in _COMMANDS:
            for policy in self._list_policies(Role.AUTHENTICATED, action, is_permissive=None):
                for topic in _NO_TRIP:
                    result = self._evaluate(policy, action, caller, topic)
                    if isinstance(result, str):
                        yield RaisingTopicPolicy(policy, topic, result)
                        break

    def _list_policies(
        self, role: Role, action: Action, *, is_permissive: bool | None = True
    ) -> list[PolicyFacts]:
        return [
            policy
            for policy in self.catalog.list_policies(self.messages)
            if policy.applies(role, action.command)
            and is_permissive in (None, policy.is_permissive)
        ]

    def _evaluate(
        self, policy: PolicyFacts, action: Action, caller: Caller, topic: str
    ) -> bool | str | None:
        """Tell whether a policy permits; or the message of its error; None if it took too long."""
        rows = [{"topic": topic, "extension": extension} for extension in Extension]
        expression = f"({action.read_expression(policy)})"
        with self.transaction.as_caller(caller, topic=topic):
            try:
                return evaluate_expression(self.transaction, self.messages, expression, rows)
            except StatementFailed as error:
                return None if error.code in TIMEOUTS else str(error)
