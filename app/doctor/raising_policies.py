"""Check that no policy on a published table raises an error: one that does silences Realtime.

For each change, Realtime evaluates the policies for select with the claims of every subscriber, in
one statement (`realtime.apply_rls` in github.com/supabase/realtime).
"""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from app.doctor import fixes
from app.doctor.catalog import Catalog, PolicyFacts
from app.doctor.database import Caller, CallerUnavailable, Role, StatementFailed, Transaction
from app.doctor.findings import Finding, ok, problem
from app.doctor.policy_trials import TIMEOUTS, evaluate_expression

# Tokens of other issuers have such a sub, and auth.uid() casts it.
_NO_UUID: Final = "not-a-uuid"
_WHY: Final = (
    "One policy that raises stops Postgres Changes for every subscriber of the project:"
    " github.com/supabase/realtime/issues/2093."
)
_REPLACED: Final = "auth.uid() raises for a sub that is no UUID; the fix makes it null."


@dataclass(frozen=True, slots=True)
class RaisingPolicy:
    """A policy whose expression raised an error; the message quotes no row."""

    policy: PolicyFacts
    message: str


def find_raising(transaction: Transaction, catalog: Catalog) -> list[RaisingPolicy]:
    """Evaluate the policies for select of every published table, for an empty row."""
    return [
        RaisingPolicy(policy, message)
        for table in catalog.tables
        if table.is_published and "select" in table.privileges.get(Role.AUTHENTICATED, ())
        for policy in catalog.list_policies(table)
        if policy.applies(Role.AUTHENTICATED, "select")
        for message in [_find_error(transaction, catalog, policy)]
        if message is not None
    ]


def _find_error(transaction: Transaction, catalog: Catalog, policy: PolicyFacts) -> str | None:
    table = next(table for table in catalog.tables if table.full_name == policy.full_table)
    for subject in (str(uuid.uuid4()), _NO_UUID):
        try:
            with transaction.as_caller(Caller(Role.AUTHENTICATED, subject)):
                evaluate_expression(transaction, table, f"({policy.using or 'true'})", [{}])
        except CallerUnavailable:
            return None
        except StatementFailed as error:
            if error.code not in TIMEOUTS:
                return str(error)
    return None


def evaluate_raising(raising: Sequence[RaisingPolicy]) -> Iterator[Finding]:
    """Report the policies that raise."""
    if not raising:
        what = "No policy of a published table raises an error for a token whose sub is no UUID."
        yield ok("raises", what)
    for found in raising:
        policy, old = found.policy, found.policy.using or "true"
        safe = old.replace("auth.uid()", fixes.SAFE_USER_ID)
        how = _REPLACED
        if safe == old:
            safe = "false"
            how = (
                "No fix is known for its expression: this one closes the policy until it is"
                " rewritten without a cast of claims."
            )
        yield problem(
            f"raises:{policy.table}",
            f'Policy "{policy.name}" on {policy.full_table}, which Realtime publishes, raises:'
            f" {found.message}.",
            f"{_WHY} {how}",
            fixes.alter_policies(policy.full_table, {policy.name: {"using": safe}}),
        )
