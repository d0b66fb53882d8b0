"""Check the policies of the tables of a trip, for every command: by trial, then by their text."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from app.doctor import fixes
from app.doctor.catalog import Catalog, PolicyFacts
from app.doctor.findings import Finding, Fix, problem, setting
from app.doctor.fixes import list_words
from app.doctor.policy_text import PolicyReader, Requirement
from app.doctor.policy_trials import Action, Person, Trials
from app.doctor.trip_tables import TripTable
from app.supabase.targets import Inactive, Targets

REMOVE: Final = setting('TARGET_MEMBERSHIPS=\'{"inactive": "remove"}\'')
HOW: Final = (
    "Have the policies check the status. Or have the relay remove such rows: add the setting to"
    " your TARGET_MEMBERSHIPS, then run relay replay --all."
)
_OPEN: Final = "A revocation does not stop them."
_VERBS: Final = {
    Action.SELECT: "read",
    Action.INSERT: "insert",
    Action.UPDATE: "update",
    Action.DELETE: "delete",
    Action.MOVE: "move rows into any trip",
}
_OR: Final = (
    "If clients do not need this, revoke the privilege instead. relay sql --tables writes policies"
    " for all tables of a trip."
)


@dataclass(frozen=True, slots=True)
class _Hole:
    """An action that a policy permits to people who should not have it."""

    policy: PolicyFacts
    person: Person
    action: Action
    function: str | None = None


def evaluate_trip_tables(
    catalog: Catalog, tables: Sequence[TripTable], trials: Trials, targets: Targets
) -> Iterator[Finding]:
    """Report what people without an ACTIVE membership can do."""
    protected = [table.table for table in tables if table.table.has_row_security]
    reader = PolicyReader(targets.memberships, catalog.functions, protected)
    for table in tables:
        yield from _TableCheck(catalog, table, trials, targets, reader).evaluate()


@dataclass(frozen=True, slots=True)
class _TableCheck:
    catalog: Catalog
    trip_table: TripTable
    trials: Trials
    targets: Targets
    reader: PolicyReader

    @property
    def _name(self) -> str:
        return self.trip_table.table.full_name

    def evaluate(self) -> Iterator[Finding]:
        """Check Row Level Security, then every permissive policy."""
        table = self.trip_table.table
        if not table.has_row_security:
            # The checks of client access report trips that are open to all.
            if not self.trip_table.is_trips and any(table.privileges.values()):
                yield self._lacks_row_security()
            return
        for policy in self.catalog.list_policies(table):
            if not policy.is_permissive:
                continue
            holes = list(self._find_holes(policy))
            yield from self._report(policy, holes)

    def _lacks_row_security(self) -> Finding:
        verbs = {verb for held in self.trip_table.table.privileges.values() for verb in held}
        what = (
            f"Row Level Security is off on {self._name}: everyone can {list_words(verbs)} the rows"
        )
        condition = self.trip_table.write_condition(self.targets)
        return problem(
            f"row-security:{self.trip_table.table.name}",
            f"{what} of every trip.",
            _OPEN,
            fixes.enable_row_security(self._name, condition),
        )

    def _find_holes(self, policy: PolicyFacts) -> Iterator[_Hole]:
        for action in Action:
            people = [
                person
                for person in Person
                if self._is_asked(policy, action, person) and self._permits(policy, action, person)
            ]
            if Person.STRANGER in people and Person.INACTIVE in people:
                people.remove(Person.INACTIVE)
            for person in people:
                expression = action.read_expression(policy)
                judgement = self.reader.judge(expression, self.trip_table.table)
                is_status = person is Person.INACTIVE
                yield _Hole(policy, person, action, judgement.function if is_status else None)

    def _is_asked(self, policy: PolicyFacts, action: Action, person: Person) -> bool:
        table, role = self.trip_table.table, person.role
        if action.command not in table.privileges.get(role, ()):
            return False
        if action is Action.MOVE and (
            policy.with_check is None
            or self.trip_table.link_column not in table.updatable.get(role, ())
        ):
            return False
        if person is Person.INACTIVE and self.targets.memberships.inactive is Inactive.REMOVE:
            return False
        if self.trip_table.is_trips and person is not Person.INACTIVE:
            # Apps let users create trips; the checks of client access report open tables.
            is_reported = action.read_expression(policy) == "true" or action is Action.SELECT
            if is_reported or action is Action.INSERT:
                return False
        return policy.applies(role, action.command)

    def _permits(self, policy: PolicyFacts, action: Action, person: Person) -> bool:
        tried = self.trials.permitted.get((self._name, policy.name, action, person))
        requirement = self.reader.judge(
            action.read_expression(policy), self.trip_table.table
        ).requirement
        restrictive = [
            action.read_expression(other)
            for other in self.catalog.list_policies(self.trip_table.table)
            if not other.is_permissive and other.applies(person.role, action.command)
        ]
        if person is Person.INACTIVE:
            # Even if the members who were tried are stopped by something else.
            ignores = requirement is Requirement.ANY_STATUS and not any(
                self.reader.names_status(expression) for expression in restrictive
            )
            return bool(tried) or ignores
        if tried is not None:
            return tried
        is_limited = any(
            self.reader.judge(expression, self.trip_table.table).requirement
            is Requirement.MEMBERSHIP
            for expression in restrictive
        )
        if is_limited or self.trip_table.is_trips:
            return False
        if person is Person.ANYONE:
            return requirement is Requirement.NOTHING
        return requirement in (Requirement.NOTHING, Requirement.NO_MEMBERSHIP)

    def _report(self, policy: PolicyFacts, holes: Sequence[_Hole]) -> Iterator[Finding]:
        named = f'Policy "{policy.name}" on {self._name}'
        strangers = [hole for hole in holes if hole.person is not Person.INACTIVE]
        if strangers:
            yield problem(
                f"membership:{self.trip_table.table.name}",
                f"{named} requires no membership of the trip: {_describe(strangers)}.",
                f"{_OPEN} {_OR}",
                self._add_condition(policy, strangers),
            )
        check = f"status:{self.trip_table.table.name}"
        status = self.targets.memberships.columns["status"]
        inactive = [hole for hole in holes if hole.person is Person.INACTIVE]
        for function in dict.fromkeys(hole.function for hole in inactive):
            group = [hole for hole in inactive if hole.function == function]
            can = _describe(group)
            if function is None:
                what = f"{named} accepts memberships of any {status}: {can}."
                fix = self._add_condition(policy, group)
                yield problem(check, what, f"{_OPEN} {_OR}", fix)
            else:
                accepts = f"which accepts memberships of any {status}"
                what = f"{named} calls {function}, {accepts}: {can}."
                yield problem(check, what, f"{_OPEN} {HOW}", REMOVE)

    def _add_condition(self, policy: PolicyFacts, holes: Iterable[_Hole]) -> Fix:
        condition = self.trip_table.write_condition(self.targets)
        clauses = _narrow(policy, holes, condition)
        if self.trip_table.table.is_published:
            # A fix that raises would silence Realtime.
            clauses = {
                clause: text.replace("auth.uid()", fixes.SAFE_USER_ID)
                for clause, text in clauses.items()
            }
        return fixes.alter_policies(self._name, {policy.name: clauses})


def _narrow(policy: PolicyFacts, holes: Iterable[_Hole], condition: str) -> dict[str, str]:
    """Add a condition to the expressions of a policy that decide about the holes."""
    checks = {Action.INSERT, Action.MOVE, Action.UPDATE}
    actions = {hole.action for hole in holes}
    has_check = policy.with_check is not None
    clauses = {}
    if not has_check or actions & {Action.SELECT, Action.UPDATE, Action.DELETE}:
        clauses["using"] = policy.using
    if has_check and actions & checks:
        clauses["with check"] = policy.with_check
    return {
        # PostgreSQL writes expressions of operators in parentheses.
        clause: condition if old in (None, "true") else f"{old}\n    and {condition}"
        for clause, old in clauses.items()
    }


def _describe(holes: Sequence[_Hole]) -> str:
    """Write a sentence of who can do what."""
    actions = {
        person: [hole.action for hole in holes if hole.person is person] for person in Person
    }
    sentences = []
    for found in dict.fromkeys(map(tuple, filter(None, actions.values()))):
        people = list_words(person for person in Person if tuple(actions[person]) == found)
        sentences.append(f"{people} can {list_words(_VERBS[action] for action in found)}")
    return "; ".join(sentences)
