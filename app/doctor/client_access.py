"""Check what apps can read and write in the permission tables: by trying, and by the catalog."""

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.doctor import fixes
from app.doctor.catalog import Catalog, PolicyFacts, TableFacts
from app.doctor.database import Role
from app.doctor.findings import (
    USE_DB_URL,
    Finding,
    Fix,
    Status,
    command,
    ok,
    problem,
    setting,
    skipped,
)
from app.doctor.fixes import name_target
from app.doctor.probes import LACKS_PRIVILEGE, ProbeClient
from app.doctor.project import Project, read_subject
from app.domain.entities import Kind
from app.domain.failures import RequestFailure
from app.supabase.targets import Target, Targets

_WRITES: Final = ("insert", "update", "delete")
# PostgreSQL checks these after Row Level Security: the caller has passed it.
_PAST_ROW_LEVEL_SECURITY: Final = ("23502", "23503", "23505")
_PUBLIC: Final = "Memberships and e-mail addresses are public: every copy of the app holds the key."
_ONLY_THE_RELAY: Final = "Only the relay needs to write this table."


@dataclass(frozen=True, slots=True)
class _Caller:
    """A user of the app; no row belongs to a stranger."""

    client: ProbeClient
    user_id: str
    is_stranger: bool


async def check_access(
    project: Project, role: Role, catalog: Catalog | None, *, plans_upserts: bool
) -> list[Finding]:
    """Check what a role can read and write: by requests, in the catalog, or both."""
    caller = _find_caller(project, role)
    if caller is None and catalog is None:
        return [_no_caller(role)]
    findings: list[Finding] = []
    for target in (project.targets[kind] for kind in Kind):
        table = None if catalog is None else catalog.find_table(target)
        policies = [] if catalog is None or table is None else catalog.list_policies(table)
        access = _TableAccess(role, target, project.targets, policies)
        tried: list[Finding] = []
        rows = await project.relay.read_rows(target, target.columns.values())
        if caller is not None and isinstance(rows, list):
            tried.append(await access.try_reads(caller, has_rows=bool(rows)))
            tried.append(await access.try_writes(caller, plans_upserts=plans_upserts))
        read = []
        if table is not None:
            read = [access.evaluate_reads(table), access.evaluate_writes(table)]
        findings += map(_choose, tried, read) if tried and read else tried or read
    return findings


def _choose(tried: Finding, read: Finding) -> Finding:
    """Choose the catalog's finding, unless only the request shows a problem."""
    if tried.status is Status.PROBLEM and read.status is not Status.PROBLEM:
        return tried
    return read


def _find_caller(project: Project, role: Role) -> _Caller | None:
    stranger = str(uuid.uuid4())
    client = project.anon if role is Role.ANON else project.as_user(stranger)
    if client is not None:
        return _Caller(client, stranger, is_stranger=True)
    user_id = read_subject(project.user_token or "")
    client = None if role is Role.ANON else project.as_token_user()
    if client is None or user_id is None:
        return None
    return _Caller(client, user_id, is_stranger=False)


def _no_caller(role: Role) -> Finding:
    check, keys = f"access-by-{role}", "--publishable-key sb_publishable_…"
    what = f"What the role {role} can read and write was not checked."
    if role is Role.ANON:
        why = "Without Row Level Security, anyone with the app's key can join any trip."
        return skipped(check, what, why, command(f"relay doctor {keys}"))
    why = "The check needs the app's key, and the project's JWT secret to sign a user's token."
    return skipped(check, what, why, command(f"relay doctor {keys} --jwt-secret …"))


@dataclass(frozen=True, slots=True)
class _TableAccess:
    """What a role can do with a table; `policies` are the table's, empty if unknown."""

    role: Role
    target: Target
    targets: Targets
    policies: Sequence[PolicyFacts]

    @property
    def _name(self) -> str:
        return name_target(self.target)

    @property
    def _reads(self) -> str:
        return f"reads-by-{self.role}:{self.target.table}"

    @property
    def _writes(self) -> str:
        return f"writes-by-{self.role}:{self.target.table}"

    async def try_reads(self, caller: _Caller, *, has_rows: bool) -> Finding:
        """Read rows as the caller, of a table that may have none."""
        rows = await caller.client.read_rows(self.target, self.target.key_columns)
        if isinstance(rows, RequestFailure):
            if rows.code == LACKS_PRIVILEGE:
                return ok(self._reads, f"{self.role} cannot read {self._name}.")
            return self._failed(self._reads, rows)
        if rows and caller.is_stranger:
            return self._reads_others()
        if has_rows and caller.is_stranger:
            return ok(self._reads, f"Policies hide the rows of {self._name} from {self.role}.")
        what = f"Whether the role {self.role} reads rows of others in {self._name} was not checked"
        reason = "the table is empty"
        if not caller.is_stranger:
            reason = "the user of the token may have rows there"
        return skipped(
            self._reads, f"{what}: {reason}.", "The catalog has its policies.", USE_DB_URL
        )

    def _reads_others(self) -> Finding:
        what = f"{self.role.people} can read rows of {self._name}"
        if self.role is Role.ANON:
            fix = fixes.revoke_reads(self.target, self.role)
            return problem(self._reads, f"{what}.", _PUBLIC, fix)
        permitting = self._list_permitting("select")
        if permitting:
            return problem(
                self._reads,
                f"{what}, by policy {_name_policies(permitting)}.",
                f"{_PUBLIC} The fix leaves users their own rows. If the app shows them more, add a"
                " condition on what the two users have in common instead.",
                self._narrow(permitting),
            )
        return problem(
            self._reads,
            f"{what}.",
            f"{_PUBLIC} If Row Level Security is off, the fix leaves users their own rows. If a"
            " policy permits it, relay doctor --db-url names the policy.",
            fixes.close_table(self.target, self.targets),
        )

    async def try_writes(self, caller: _Caller, *, plans_upserts: bool) -> Finding:
        """Probe the writes that only the relay should be able to do."""
        client = caller.client
        results = {
            "update": await client.probe_update(self.target),
            "delete": await client.probe_delete(self.target),
        }
        if plans_upserts:
            results["insert"] = await client.probe_insert(self.target)
        for failure in results.values():
            if failure is not None and failure.code != LACKS_PRIVILEGE:
                return self._failed(self._writes, failure)
        held = [verb for verb, failure in results.items() if failure is None]
        if "insert" in held:
            failure = await client.probe_invalid_insert(self.target, caller.user_id)
            if failure is None or failure.code in _PAST_ROW_LEVEL_SECURITY:
                return self._can_insert()
        if held:
            return skipped(
                self._writes,
                f"Whether policies stop every {' and '.join(held)} by the role {self.role} on"
                f" {self._name} was not checked.",
                f"The role has the privilege. {_ONLY_THE_RELAY}",
                fixes.revoke_writes(self.target),
            )
        if not plans_upserts:
            return skipped(
                self._writes,
                f"Whether the role {self.role} may insert into {self._name} was not checked.",
                "Users who can insert a membership can join any trip.",
                USE_DB_URL,
            )
        return ok(self._writes, f"{self.role} cannot write {self._name}.")

    def evaluate_reads(self, table: TableFacts) -> Finding:
        """Check in the catalog whether the role can read every row."""
        if "select" not in table.privileges.get(self.role, ()):
            return ok(self._reads, f"{self.role} cannot read {self._name}.")
        if not table.has_row_security:
            what = f"Row Level Security is off on {self._name}: {self.role} can read every row."
            return problem(self._reads, what, _PUBLIC, fixes.close_table(self.target, self.targets))
        permitting = self._list_permitting("select")
        opened = [policy for policy in permitting if _read_condition(policy, "select") == "true"]
        if not opened:
            return ok(self._reads, f"Policies limit what {self.role} reads of {self._name}.")
        what = f"Policy {_name_policies(opened)} lets {self.role} read every row of {self._name}."
        return problem(self._reads, what, _PUBLIC, self._narrow(opened))

    def evaluate_writes(self, table: TableFacts) -> Finding:
        """Check in the catalog whether the role can write rows."""
        held = [verb for verb in _WRITES if verb in table.privileges.get(self.role, ())]
        if not held:
            return ok(self._writes, f"{self.role} cannot write {self._name}.")
        if not table.has_row_security:
            return self._can_insert()
        permitting = [
            policy
            for verb in held
            for policy in self._list_permitting(verb)
            # An app may well let users change their own user or trip.
            if self.target.kind is Kind.MEMBERSHIP or _read_condition(policy, verb) == "true"
        ]
        if not permitting:
            return ok(self._writes, f"No policy lets {self.role} write {self._name}.")
        return problem(
            self._writes,
            f"Policy {_name_policies(permitting)} lets {self.role} write {self._name}.",
            "Users who can write memberships can join any trip, or stay after their removal."
            f" {_ONLY_THE_RELAY} Without the privilege the policy has no effect.",
            fixes.revoke_writes(self.target),
        )

    def _can_insert(self) -> Finding:
        return problem(
            self._writes,
            f"{self.role.people} can insert into {self._name}.",
            "Every copy of the app holds the key: anyone can join any trip as its OWNER."
            f" {_ONLY_THE_RELAY}",
            fixes.close_table(self.target, self.targets),
        )

    def _failed(self, check: str, failure: RequestFailure) -> Finding:
        why, fix = "The key may be another project's.", "SUPABASE_PUBLISHABLE_KEY=sb_publishable_…"
        if self.role is Role.AUTHENTICATED:
            fix = "SUPABASE_JWT_SECRET=…"
            why = (
                "The JWT secret may be another project's. If the project signs with asymmetric"
                " keys, unset it, and set SUPABASE_USER_TOKEN to a user's token."
            )
        return skipped(
            check,
            f"{self._name} was not checked as {self.role}: {failure.code}, {failure.message}.",
            why,
            setting(fix),
            needs_optional_key=False,
        )

    def _list_permitting(self, verb: str) -> list[PolicyFacts]:
        """List the policies that let the role do this to some row."""
        applying = [policy for policy in self.policies if policy.applies(self.role, verb)]
        never = [policy for policy in applying if _read_condition(policy, verb) == "false"]
        if any(not policy.is_permissive for policy in never):
            return []
        return [policy for policy in applying if policy.is_permissive and policy not in never]

    def _narrow(self, policies: Sequence[PolicyFacts]) -> Fix:
        own = fixes.own_rows(self.target, self.targets)
        conditions = {
            policy.name: {
                "using": own if policy.using in (None, "true") else f"({policy.using}) and {own}"
            }
            for policy in policies
        }
        return fixes.alter_policies(self._name, conditions)


def _read_condition(policy: PolicyFacts, verb: str) -> str:
    text = policy.with_check or policy.using if verb == "insert" else policy.using
    return re.sub(r"^\((.*)\)$", r"\1", text or "true", flags=re.DOTALL)


def _name_policies(policies: Sequence[PolicyFacts]) -> str:
    return ", ".join(sorted({f'"{policy.name}"' for policy in policies}))
