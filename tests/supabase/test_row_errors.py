"""Failed rows are classified as in the contract's table."""

import json

import pytest

from app.domain.entities import Kind
from app.domain.failures import RowFailure, RowFailureKind
from app.supabase.errors import read_row_failure
from app.supabase.planning import Operation, Verb, plan_request
from app.supabase.targets import MINIMAL_TARGETS, Targets
from tests.supabase.entities import make_entity
from tests.supabase.fitted_targets import FITTED

MISSING_REFERENCE = RowFailureKind.MISSING_REFERENCE
STILL_REFERENCED = RowFailureKind.STILL_REFERENCED
UNIQUE_CONFLICT = RowFailureKind.UNIQUE_CONFLICT
BUSY = RowFailureKind.BUSY
INCOMPLETE = RowFailureKind.INCOMPLETE
STRUCTURAL = RowFailureKind.STRUCTURAL
REJECTED = RowFailureKind.REJECTED


def plan(kind: Kind, verb: Verb, targets: Targets = MINIMAL_TARGETS) -> Operation:
    """Plan one row. A trip lacks an extra field of FITTED, so it can only be updated."""
    entity = make_entity(kind, 1, is_removed=verb is Verb.DELETE, endDate=None, note=None)
    (operation,) = plan_request([entity], targets)
    assert operation.verb is verb
    return operation


UPSERT = plan(Kind.USER, Verb.UPSERT)
DELETE = plan(Kind.USER, Verb.DELETE)
UPDATE = plan(Kind.TRIP, Verb.UPDATE, FITTED)


@pytest.mark.parametrize(
    ("sqlstate", "on_upsert", "on_update", "on_delete"),
    [
        ("23503", MISSING_REFERENCE, MISSING_REFERENCE, STILL_REFERENCED),
        # ON DELETE RESTRICT, since PostgreSQL 18.
        ("23001", REJECTED, REJECTED, STILL_REFERENCED),
        ("23505", UNIQUE_CONFLICT, UNIQUE_CONFLICT, UNIQUE_CONFLICT),
        ("P0002", REJECTED, INCOMPLETE, REJECTED),
    ],
)
def test_failure_of_a_row_depends_on_its_verb(
    sqlstate: str,
    on_upsert: RowFailureKind,
    on_update: RowFailureKind,
    on_delete: RowFailureKind,
) -> None:
    found = [read_row_failure({"sqlstate": sqlstate}, each) for each in (UPSERT, UPDATE, DELETE)]
    assert [failure.kind for failure in found] == [on_upsert, on_update, on_delete]
    assert {failure.code for failure in found} == {sqlstate}


@pytest.mark.parametrize(
    ("sqlstate", "kind"),
    [
        *((code, BUSY) for code in ("55P03", "40001", "40P01")),
        # Connections, resources, an operator, the disk.
        *((code, BUSY) for code in ("08006", "53100", "53200", "53300", "57014", "57P01", "58030")),
        *((code, STRUCTURAL) for code in ("42P01", "42703", "42P10", "42501", "3F000")),
        # A table or a key that cannot be written like this.
        *((code, STRUCTURAL) for code in ("55000", "0A000")),
        *((code, REJECTED) for code in ("23502", "23514", "23P01", "22001", "22P02", "22P05")),
        *((code, REJECTED) for code in ("54000", "XX000", "38000", "P0001", "PT402", "42883")),
        *((code, REJECTED) for code in ("55006", "0A001", "ZZ999", "00000")),
    ],
)
@pytest.mark.parametrize("operation", [UPSERT, UPDATE, DELETE], ids=lambda each: each.verb)
def test_failure_of_a_row_is_classified_by_its_sqlstate(
    sqlstate: str, kind: RowFailureKind, operation: Operation
) -> None:
    assert read_row_failure({"sqlstate": sqlstate}, operation).kind is kind


@pytest.mark.parametrize(
    ("kind", "column", "field"),
    [
        (Kind.MEMBERSHIP, "member_id", "user_id"),
        (Kind.MEMBERSHIP, "trip_id", "trip_id"),
        (Kind.USER, "supabase_id", "id"),
        (Kind.MEMBERSHIP, "user_id", None),
        (Kind.MEMBERSHIP, None, None),
    ],
)
def test_missing_reference_names_the_field_of_its_column(
    kind: Kind, column: str | None, field: str | None
) -> None:
    document = {"sqlstate": "23503"} | ({} if column is None else {"column": column})
    failure = read_row_failure(document, plan(kind, Verb.UPSERT, FITTED))
    assert (failure.kind, failure.field) == (MISSING_REFERENCE, field)


@pytest.mark.parametrize("operation", [UPSERT, DELETE], ids=lambda each: each.verb)
@pytest.mark.parametrize("sqlstate", ["23505", "23502", "42703", "55P03"])
def test_other_failures_name_no_field(sqlstate: str, operation: Operation) -> None:
    assert read_row_failure({"sqlstate": sqlstate, "column": "id"}, operation).field is None


def test_update_of_a_row_that_does_not_exist_names_the_columns_that_the_event_lacks() -> None:
    assert read_row_failure({"sqlstate": "P0002"}, UPDATE) == RowFailure(
        INCOMPLETE,
        "P0002",
        "trips has no such row to update, and the event lacks start_date for a new one",
    )


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            {
                "sqlstate": "23503",
                "message": 'update or delete on table "users" violates foreign key constraint'
                ' "chat_user_id_fkey" on table "chat"',
                "table": "chat",
            },
            'update or delete on table "users" violates foreign key constraint'
            ' "chat_user_id_fkey" on table "chat"',
        ),
        ({"sqlstate": "23514"}, "PostgreSQL rejected the row of users"),
        (
            {"sqlstate": "23514", "column": "email", "constraint": "email_check"},
            "PostgreSQL rejected the row of users column email constraint email_check",
        ),
        ({"sqlstate": "P0001", "message": None}, "PostgreSQL rejected the row of users"),
    ],
)
def test_message_is_the_functions_or_made_from_names(
    document: dict[str, object], message: str
) -> None:
    assert read_row_failure(document, DELETE).message == message


@pytest.mark.parametrize(
    "document",
    [
        "{}",
        '{"sqlstate": null}',
        '{"sqlstate": 23503}',
        '{"sqlstate": "2350"}',
        '{"sqlstate": "23503\\n"}',
        '{"sqlstate": "23503", "column": ["id"]}',
        # Text that no store can hold.
        '{"sqlstate": "23514", "message": "\\u0000"}',
        '{"sqlstate": "23514", "message": "\\ud800"}',
        '{"sqlstate": "23514", "constraint": "\\ud800"}',
    ],
)
def test_failure_of_another_form_is_rejected(document: str) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        read_row_failure(json.loads(document), UPSERT)
