"""Evaluate the policies of trip tables as users who should have no access to a trip.

PostgreSQL evaluates each policy's own expression, as the role and with the claims of the user, for
rows that are made up in the query. This executes no insert, update or delete: triggers run before
PostgreSQL checks a policy and may have effects outside the transaction (an HTTP request, another
database), and a write locks rows that the relay and the app need. The transaction is read-only. The
functions that a policy calls run, as they do for every query of a client.

A user chooses the values of a row that they insert, so a policy permits a command if it accepts any
of several rows: copies of existing rows, and an empty one, in the trip and with the user's id, with
flags on and off, and with times that are absent, past and future. Policies for select do not count
for an update or delete: PostgreSQL applies them only to statements that read a column.
"""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from app.doctor.catalog import Catalog, PolicyFacts, TableFacts
from app.doctor.database import Caller, CallerUnavailable, Role, StatementFailed, Transaction
from app.doctor.fixes import name_target
from app.doctor.sample_memberships import find_memberships
from app.doctor.trip_tables import TripTable
from app.supabase.identifiers import quote, quote_text
from app.supabase.targets import Targets

_FUTURE: Final = "2999-01-01T00:00:00Z"
_INACTIVE_SAMPLES: Final = 5
# Neither says that the policy's expression fails: it took too long, or waited for a lock.
TIMEOUTS: Final = ("57014", "55P03")


class Action(StrEnum):
    """What a policy permits; a move is an update that puts the row into a trip."""

    SELECT = "select"
    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    MOVE = "move"

    @property
    def command(self) -> str:
        """PostgreSQL's command."""
        return "update" if self is Action.MOVE else self.value

    def read_expression(self, policy: PolicyFacts) -> str:
        """Return the expression that decides, as PostgreSQL chooses it."""
        match self:
            case Action.INSERT | Action.MOVE:
                return policy.with_check or policy.using or "true"
            case Action.SELECT | Action.UPDATE | Action.DELETE:
                return policy.using or "true"


class Person(StrEnum):
    """The users who should have no access to a trip."""

    ANYONE = "signed-out users"
    STRANGER = "strangers and removed members"
    INACTIVE = "INACTIVE members"

    @property
    def role(self) -> Role:
        """The role of the user's token."""
        return Role.ANON if self is Person.ANYONE else Role.AUTHENTICATED


@dataclass(frozen=True, slots=True)
class Trials:
    """The results; what could not be evaluated is in neither.

    Attributes:
        permitted: by table, policy, action and person.
    """

    permitted: Mapping[tuple[str, str, Action, Person], bool] = field(default_factory=dict)


def try_policies(
    transaction: Transaction, catalog: Catalog, tables: Sequence[TripTable], targets: Targets
) -> Trials:
    """Evaluate every policy of the trip tables as each kind of person."""
    inactive = find_memberships(transaction, targets, is_active=False, limit=_INACTIVE_SAMPLES)
    permitted: dict[tuple[str, str, Action, Person], bool] = {}
    for trip_table in tables:
        trial = _TableTrial(transaction, catalog, trip_table, targets)
        stranger = str(uuid.uuid4())
        rows = trial.make_rows(None, stranger)
        for person in (Person.ANYONE, Person.STRANGER):
            subject = stranger if person is Person.STRANGER else None
            trial.run(Caller(person.role, subject), person, rows, permitted)
        for membership in inactive:
            rows = trial.make_rows(membership.trip_id, membership.user_id)
            caller = Caller(Role.AUTHENTICATED, membership.user_id)
            if rows and trial.run(caller, Person.INACTIVE, rows, permitted):
                break
    return Trials(permitted)


def evaluate_expression(
    transaction: Transaction, table: TableFacts, expression: str, rows: Sequence[Mapping[str, Any]]
) -> bool:
    """Tell whether the caller meets a policy's expression for any of the rows.

    Raises:
        StatementFailed: the expression fails.
    """
    # A set of the table's own row type, under its name: as the expression refers to it.
    source = (
        f"unnest(array(select jsonb_populate_record(null::{table.full_name}, made.value)"  # noqa: S608 - quoted
        f" from jsonb_array_elements({quote_text(json.dumps(rows))}::jsonb) as made))"
        f" as {quote(table.name)}"
    )
    result = transaction.run(
        f"select bool_or(coalesce({expression}, false)) from {source}"  # noqa: S608 - quoted
    )
    return bool(result[0][0])


@dataclass(frozen=True, slots=True)
class _TableTrial:
    transaction: Transaction
    catalog: Catalog
    trip_table: TripTable
    targets: Targets

    def make_rows(self, trip_id: str | None, user_id: str) -> list[dict[str, Any]]:
        """Make rows of a user in a trip, or in any trip; none if a row needs a parent's row."""
        table = self.trip_table
        values: dict[str, Any] = dict.fromkeys(table.user_columns, user_id)
        try:
            if isinstance(table.link, str):
                if trip_id is None and not table.is_trips:
                    trip_id = self._find_trip()
                values[table.link] = trip_id or str(uuid.uuid4())
            else:
                column = quote(table.link.parent_column)
                parents = table.link.parent.write_query(column, trip_id)
                found = self.transaction.run(f"{parents} limit 1")
                if not found:
                    return []
                values[table.link.column] = str(found[0][0])
            rows = table.write_query("*", trip_id)
            existing = self.transaction.run(
                f"select to_jsonb(held)::text from ({rows} limit 2) as held"  # noqa: S608 - quoted
            )
        except StatementFailed:
            return []
        bases: list[dict[str, Any]] = [{}, *(json.loads(text) for (text,) in existing)]
        if table.is_trips and trip_id is None:
            return bases[1:] or [values]
        return [varied | values for base in bases for varied in self._vary(base)]

    def run(
        self,
        caller: Caller,
        person: Person,
        rows: Sequence[Mapping[str, Any]],
        permitted: dict[tuple[str, str, Action, Person], bool],
    ) -> bool:
        """Record what each policy permits; false if the caller cannot be tried."""
        if not rows:
            return False
        table = self.trip_table.table
        try:
            with self.transaction.as_caller(caller):
                for policy, action in self._list_questions(caller.role):
                    condition = self._combine(policy, action, caller.role)
                    try:
                        answer = evaluate_expression(self.transaction, table, condition, rows)
                    except StatementFailed as error:
                        # A policy that fails permits nothing.
                        if error.code in TIMEOUTS:
                            continue
                        answer = False
                    permitted[table.full_name, policy.name, action, person] = answer
        except CallerUnavailable:
            return False
        return True

    def _find_trip(self) -> str | None:
        trips = self.targets.trips
        column = quote(trips.columns["id"])
        rows = self.transaction.run(
            f"select {column}::text from {name_target(trips)} limit 1"  # noqa: S608 - quoted
        )
        return str(rows[0][0]) if rows else None

    def _list_questions(self, role: Role) -> Iterator[tuple[PolicyFacts, Action]]:
        for policy in self.catalog.list_policies(self.trip_table.table):
            for action in Action:
                if policy.is_permissive and policy.applies(role, action.command):
                    yield policy, action

    def _combine(self, policy: PolicyFacts, action: Action, role: Role) -> str:
        """Combine a policy with the restrictive ones, which all must permit."""
        policies = [
            policy,
            *(
                other
                for other in self.catalog.list_policies(self.trip_table.table)
                if not other.is_permissive and other.applies(role, action.command)
            ),
        ]
        return " and ".join(f"({action.read_expression(p)})" for p in policies)

    def _vary(self, base: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        categories = self.trip_table.table.categories
        flags = [name for name, category in categories.items() if category == "B"]
        times = [name for name, category in categories.items() if category == "D"]
        yield dict(base)
        for flag in (True, False):
            for moment in (None, _FUTURE):
                yield {**base, **dict.fromkeys(flags, flag), **dict.fromkeys(times, moment)}
