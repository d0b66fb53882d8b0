"""Check who can join the Realtime topics of a trip and of a user, as Realtime decides it."""

from collections.abc import Iterator
from typing import Final

from app.doctor import fixes
from app.doctor.catalog import Catalog, PolicyFacts
from app.doctor.findings import Finding, Fix, command, ok, problem, skipped, sql
from app.doctor.fixes import list_words
from app.doctor.realtime import MESSAGES
from app.doctor.topic_trials import Listener, RaisingTopicPolicy, TopicTrial, TopicTrials
from app.supabase.targets import Inactive, Targets

_CHECK: Final = "topics"
_WHY: Final = (
    "They receive what members send until the project's policies change, and no revocation stops"
    " them. The fix keeps the policy for topics that name neither a trip nor a user."
)
_RAISES: Final = (
    "Realtime then rejects the join, also where another policy would permit it (CHANNEL_ERROR,"
    " Unauthorized). The fix replaces the condition: ACTIVE members, for topics that end in the id"
    " of their trip. It compares texts, which cannot raise."
)


def evaluate_topics(catalog: Catalog, trials: TopicTrials, targets: Targets) -> Iterator[Finding]:
    """Report the topics that are open to people without an ACTIVE membership."""
    messages = next((t for t in catalog.tables if t.full_name == MESSAGES), None)
    if messages is None:
        yield ok(_CHECK, "The project has no Realtime topics: Realtime has never run.")
        return
    if not messages.has_row_security:
        yield problem(
            f"{_CHECK}-row-security",
            f"Row Level Security is off on {MESSAGES}: every user can join every private channel.",
            "No revocation stops them.",
            sql(f"alter table {MESSAGES} enable row level security;"),
        )
        return
    if trials.unavailable is not None:
        yield skipped(
            _CHECK,
            f"Who can join Realtime topics was not checked: {trials.unavailable}.",
            "A policy on realtime.messages may be open to former members.",
            command("relay doctor"),
            needs_optional_key=False,
        )
        return
    findings = [_report_open(trial, targets) for trial in trials.trials if _is_open(trial, targets)]
    findings += [_report_raising(raising, targets) for raising in trials.raising]
    yield from findings or [ok(_CHECK, _describe(trials))]


def _is_open(trial: TopicTrial, targets: Targets) -> bool:
    is_removed = targets.memberships.inactive is Inactive.REMOVE
    if trial.listener is Listener.ACTIVE or (trial.listener is Listener.INACTIVE and is_removed):
        return False
    return bool(trial.permissions.list_allowed())


def _report_open(trial: TopicTrial, targets: Targets) -> Finding:
    names = sorted({f'"{policy.name}"' for policy in trial.policies})
    by = f", by policy {list_words(names)}" if names else ""
    allowed = list_words(trial.permissions.list_allowed())
    return problem(
        f"{_CHECK}:{trial.form}",
        f"{trial.listener[:1].upper()}{trial.listener[1:]} can {allowed} on the topic"
        f" {trial.form}{by}.",
        _WHY,
        _narrow(trial, targets),
    )


def _narrow(trial: TopicTrial, targets: Targets) -> Fix:
    condition = fixes.limit_topic(targets)
    return fixes.alter_policies(
        MESSAGES,
        {
            policy.name: {
                clause: condition if old == "true" else f"{old}\n    and {condition}"
                for clause, old in _list_clauses(policy)
            }
            for policy in trial.policies
        },
    )


def _report_raising(raising: RaisingTopicPolicy, targets: Targets) -> Finding:
    policy = raising.policy
    condition = fixes.is_member_of_topic(targets)
    return problem(
        f"{_CHECK}-raise",
        f'Policy "{policy.name}" on {MESSAGES} raises for {raising.topic}: {raising.message}.',
        _RAISES,
        fixes.alter_policies(
            MESSAGES,
            {policy.name: {clause: condition for clause, _ in _list_clauses(policy)}},
        ),
    )


def _list_clauses(policy: PolicyFacts) -> Iterator[tuple[str, str]]:
    if policy.command != "insert":
        yield "using", policy.using or "true"
    if policy.command == "insert" or policy.with_check is not None:
        yield "with check", policy.with_check or "true"


def _describe(trials: TopicTrials) -> str:
    others = "signed-out users, strangers and INACTIVE members can neither receive nor send"
    for trial in trials.trials:
        if trial.listener is Listener.ACTIVE and trial.permissions.list_allowed():
            allowed = list_words(trial.permissions.list_allowed())
            return f"On the topic {trial.form}, {trial.listener} can {allowed}; {others}."
    return f"On the topics of a trip, {others}."
