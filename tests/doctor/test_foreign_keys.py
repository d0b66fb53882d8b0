"""Foreign keys that a delete meets: found in a real catalog, and fixed."""

from collections.abc import Sequence

import pytest

from app.doctor.catalog import read_catalog
from app.doctor.findings import Finding, Status
from app.doctor.foreign_keys import evaluate_foreign_keys
from app.domain.entities import Kind
from app.supabase.identifiers import RESERVED
from app.supabase.mapping import read_target
from app.supabase.targets import MINIMAL_TARGETS, Targets
from tests.contract.database import PUBLISHED, write_published_pack
from tests.doctor.harness import OTHER, ROWS, TRIP, apply_fixes, pick
from tests.doctor.hosted import HostedProject, HostedServer


def evaluate(project: HostedProject, targets: Targets = MINIMAL_TARGETS) -> list[Finding]:
    return evaluate_foreign_keys(read_catalog(project.db_url, ["public"]).foreign_keys, targets)


def name_problems(findings: Sequence[Finding]) -> set[str]:
    return pick(findings, Status.PROBLEM)


def read_definition(project: HostedProject, constraint: str) -> str:
    ((definition,),) = project.run(
        f"select pg_get_constraintdef(oid) from pg_constraint where conname = '{constraint}'"  # noqa: S608
        " and conparentid = 0"
    )
    return str(definition)


def test_our_migrations_have_no_faulty_foreign_key(hosted: HostedServer) -> None:
    (finding,) = evaluate(hosted.make_project())
    assert (finding.check, finding.status) == ("foreign-keys", Status.OK)


def test_policy_pack_fixes_what_is_found_in_a_backends_own_tables(hosted: HostedServer) -> None:
    project = hosted.make_project(PUBLISHED.read_text())
    problems = name_problems(evaluate(project))
    receipts = "supabase_chat_read_receipts.supabase_chat_read_receipts"
    # A deleted trip meets a presence without cascade, and searches all receipts for each message.
    assert {
        "foreign-key:supabase_user_presence.supabase_user_presence_trip_id_fkey",
        f"foreign-key:{receipts}_last_read_message_id_fkey",
        f"foreign-key-index:{receipts}_last_read_message_id_fkey",
    } <= problems

    project.run(write_published_pack())

    assert name_problems(evaluate(project)) == set()


REJECTING = [
    ("no action", "create table notes (trip_id uuid references trips);"
     " create index on notes (trip_id)", {"foreign-key:notes.notes_trip_id_fkey"}),
    ("restrict", "create table notes (user_id uuid primary key references users on delete"
     " restrict)", {"foreign-key:notes.notes_user_id_fkey"}),
    ("composite", "create table notes (what text, trip_id uuid, user_id uuid,"
     " foreign key (trip_id, user_id) references trip_memberships);"
     " create index on notes (user_id, trip_id, what)",
     {"foreign-key:notes.notes_trip_id_user_id_fkey"}),
    ("set null of a NOT NULL column", "create table notes (trip_id uuid not null references"
     " trips on delete set null); create index on notes (trip_id)",
     {"foreign-key:notes.notes_trip_id_fkey"}),
    ("below a cascade", "create table notes (message_id uuid references chat_messages);"
     " create index on notes (message_id)", {"foreign-key:notes.notes_message_id_fkey"}),
    ("of another schema, with odd names", 'create schema "My app"; create table "My app"."order"'
     ' ("user" uuid, "say ""hi""" int, constraint "a ""b"" on delete restrict"'
     ' foreign key ("user") references users); create index on "My app"."order" ("user")',
     {'foreign-key:order.a "b" on delete restrict'}),
    ("partitioned", "create table notes (trip_id uuid references trips, at date) partition by"
     " range (at); create table notes_1 partition of notes default;"
     " create index on notes (trip_id)", {"foreign-key:notes.notes_trip_id_fkey"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("script", "wanted"), [r[1:] for r in REJECTING], ids=[r[0] for r in REJECTING]
)
def test_foreign_key_that_rejects_a_delete_is_found_and_cascades_after_the_fix(
    hosted: HostedServer, script: str, wanted: set[str]
) -> None:
    project = hosted.make_project()
    project.run(script)

    findings = evaluate(project)

    assert name_problems(findings) == wanted
    apply_fixes(project, findings, MINIMAL_TARGETS, Status.PROBLEM)
    assert name_problems(evaluate(project)) == set()
    ((on_delete, is_validated),) = project.run(
        "select confdeltype::text, convalidated from pg_constraint join pg_class"
        " on pg_class.oid = conrelid where relname in ('notes', 'order') and contype = 'f'"
    )
    assert (on_delete, is_validated) == ("c", True)


def test_delete_that_was_rejected_succeeds_after_the_fix(hosted: HostedServer) -> None:
    project = hosted.make_project()
    project.run(ROWS)
    project.run(
        "create table notes (trip_id uuid, user_id uuid,"
        " foreign key (trip_id, user_id) references trip_memberships)"
    )
    project.run("insert into notes select trip_id, user_id from trip_memberships")
    request = (
        '{"epoch": 1, "sequence": %d, "budget_ms": 3000, "operations": [{"operation": "delete",'
        ' "table": "public.trip_memberships", "key": ["trip_id", "user_id"],'
        f' "rows": [{{"trip_id": "{TRIP}", "user_id": "{OTHER}"}}]}}]}}'
    )
    project.run("select relay_claim('{\"protocol\": 1}')")
    apply = "select relay_apply('{}') -> 'failures' -> 0 ->> 'sqlstate'"
    assert project.run(apply.format(request % 1)) == [("23503",)]

    findings = evaluate(project)

    assert any("keeps access" in finding.why for finding in findings)
    apply_fixes(project, findings, MINIMAL_TARGETS, Status.PROBLEM)
    assert project.run(apply.format(request % 2)) == [(None,)]
    assert project.run(f"select from notes where user_id = '{OTHER}'") == []


def test_fix_keeps_the_rest_of_the_constraint(hosted: HostedServer) -> None:
    project = hosted.make_project()
    project.run(
        "create table notes (trip_id uuid, user_id uuid);"
        " alter table notes add constraint strict"
        " foreign key (trip_id, user_id) references trip_memberships match full"
        " on update cascade on delete restrict deferrable initially deferred not valid;"
        " create index on notes (trip_id, user_id)"
    )

    apply_fixes(project, evaluate(project), MINIMAL_TARGETS, Status.PROBLEM)

    assert read_definition(project, "strict").removeprefix("FOREIGN KEY (trip_id, user_id) ") == (
        "REFERENCES trip_memberships(trip_id, user_id) MATCH FULL ON UPDATE CASCADE"
        " ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED NOT VALID"
    )


PERMITTING = [
    ("cascade", "create table notes (trip_id uuid primary key references trips on delete cascade)"),
    ("set null", "create table notes (trip_id uuid references trips on delete set null);"
     " create index on notes (trip_id)"),
    ("set null of one of two", "create table notes (trip_id uuid not null, user_id uuid,"
     " foreign key (trip_id, user_id) references trip_memberships on delete set null (user_id));"
     " create index on notes (trip_id, user_id)"),
    ("not to our tables", "create table polls (id uuid primary key);"
     " create table notes (poll_id uuid references polls)"),
    ("hash index", "create table notes (trip_id uuid references trips on delete cascade);"
     " create index on notes using hash (trip_id)"),
    ("index of the rows that refer to one", "create table notes (trip_id uuid references trips on"
     " delete cascade); create index on notes (trip_id) where trip_id is not null"),
    ("every partition with its own index", "create table notes (trip_id uuid references trips"
     " on delete cascade, at date) partition by range (at);"
     " create table notes_1 partition of notes for values from ('2026-01-01') to ('2027-01-01');"
     " create table notes_2 partition of notes default;"
     " create index on notes_1 (trip_id); create index on notes_2 (trip_id, at)"),
    ("partition with its columns in another order", "create table notes (at date, trip_id uuid"
     " references trips on delete cascade) partition by range (at);"
     " create table notes_1 (trip_id uuid, at date);"
     " alter table notes attach partition notes_1 default; create index on notes (trip_id)"),
    ("index on the column that identifies the row", "create table notes (id uuid, message_id uuid,"
     " trip_id uuid, foreign key (message_id, trip_id) references chat_messages (id, trip_id)"
     " on delete cascade); create index on notes (message_id)"),
]  # fmt: skip


@pytest.mark.parametrize(
    "script", [one[1] for one in PERMITTING], ids=[one[0] for one in PERMITTING]
)
def test_foreign_key_that_permits_a_delete_is_ok(hosted: HostedServer, script: str) -> None:
    project = hosted.make_project()
    project.run(script)

    assert name_problems(evaluate(project)) == set()


NOTES = "create table notes (what text, trip_id uuid, user_id uuid, "
ON_TRIP = "foreign key (trip_id) references trips on delete cascade); "
ON_MEMBERSHIP = "foreign key (trip_id, user_id) references trip_memberships on delete cascade); "
INVALIDATE = (
    "update pg_index set indisvalid = false where indexrelid = 'notes_trip_id_idx'::regclass"
)
SLOW = [
    ("no index", NOTES + ON_TRIP),
    ("not leading", NOTES + ON_TRIP + "create index on notes (what, trip_id)"),
    ("included only", NOTES + ON_TRIP + "create index on notes (what) include (trip_id)"),
    ("partial", NOTES + ON_TRIP + "create index on notes (trip_id) where what is not null"),
    ("expression", NOTES + ON_TRIP + "create index on notes ((trip_id::text))"),
    ("brin", NOTES + ON_TRIP + "create index on notes using brin (trip_id)"),
    ("invalid", NOTES + ON_TRIP + "create index on notes (trip_id); " + INVALIDATE),
    ("half of a composite key", NOTES + ON_MEMBERSHIP + "create index on notes (trip_id, what)"),
    ("composite key with something between", NOTES + ON_MEMBERSHIP
     + "create index on notes (trip_id, what, user_id)"),
    ("partition without", NOTES.replace("what text", "at date")
     + ON_TRIP.replace("; ", " partition by range (at); ")
     + "create table notes_1 partition of notes for values from ('2026-01-01') to ('2027-01-01');"
     " create table notes_2 partition of notes default; create index on notes_1 (trip_id)"),
    ("below a cascade", "create table notes (message_id uuid references chat_messages"
     " on delete cascade)"),
    ("odd names", 'create table "Notes" ("trip id" uuid, "order" int,'
     ' constraint "the trip" foreign key ("trip id") references trips on delete cascade)'),
]  # fmt: skip


@pytest.mark.parametrize("script", [one[1] for one in SLOW], ids=[one[0] for one in SLOW])
def test_foreign_key_without_an_index_is_found_and_indexed_by_the_fix(
    hosted: HostedServer, script: str
) -> None:
    project = hosted.make_project()
    project.run(script)

    findings = evaluate(project)

    assert len(findings) == 1
    assert findings[0].check.lower().startswith("foreign-key-index:notes.")
    apply_fixes(project, findings, MINIMAL_TARGETS, Status.PROBLEM)
    assert name_problems(evaluate(project)) == set()


KEEPING = [
    ("trip refers to its creator", "alter table trips add constraint creator foreign key"
     " (created_by) references users", "drop constraint"),
    ("trip cascades from its creator", "alter table trips add constraint creator foreign key"
     " (created_by) references users on delete cascade", "drop constraint"),
    ("trip refers to a trip", "alter table trips add parent_id uuid, add constraint parent"
     " foreign key (parent_id) references trips", "ON DELETE SET NULL"),
    ("trip cascades from a trip", "alter table trips add parent_id uuid not null default"
     f" '{TRIP}', add constraint parent foreign key (parent_id) references trips"
     " on delete cascade", "drop not null"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("script", "named"), [one[1:] for one in KEEPING], ids=[one[0] for one in KEEPING]
)
def test_fix_never_cascades_to_a_trip(hosted: HostedServer, script: str, named: str) -> None:
    project = hosted.make_project()
    project.run(ROWS)
    project.run(script + "; create index on trips (created_by)")
    if "parent" in script:
        project.run("create index on trips (parent_id)")
        project.run("update trips set parent_id = id")

    findings = evaluate(project)

    (finding,) = findings
    assert finding.check.startswith("foreign-key:trips.")
    assert finding.fix is not None
    assert named in finding.fix.text
    apply_fixes(project, findings, MINIMAL_TARGETS, Status.PROBLEM)
    assert name_problems(evaluate(project)) == set()
    project.run("delete from users")
    assert project.run("select count(*) from trips") == [(1,)]
    project.run("delete from trips")


def test_foreign_key_to_a_mapped_table_is_found(hosted: HostedServer) -> None:
    project = hosted.make_project(
        """create schema app;
        create table app.people (id uuid primary key, email text, username text);
        create table notes (person uuid references app.people);"""
    )
    people = read_target(Kind.USER, '{"table": "app.people"}')
    targets = Targets(
        users=people, trips=MINIMAL_TARGETS.trips, memberships=MINIMAL_TARGETS.memberships
    )

    assert name_problems(evaluate(project)) == set()
    assert name_problems(evaluate(project, targets)) == {
        "foreign-key:notes.notes_person_fkey",
        "foreign-key-index:notes.notes_person_fkey",
    }


def test_foreign_key_that_is_not_enforced_is_ok(hosted: HostedServer) -> None:
    project = hosted.make_project()
    ((version,),) = project.run("select current_setting('server_version_num')::int")
    if version < 180000:
        pytest.skip("PostgreSQL before 18 enforces every foreign key")
    project.run("create table notes (trip_id uuid references trips not enforced)")

    assert name_problems(evaluate(project)) == set()


def test_every_reserved_word_is_quoted(hosted: HostedServer) -> None:
    words = hosted.make_project().run(
        "select word from pg_get_keywords() where catcode in ('R', 'T')"
    )
    assert {word for (word,) in words} <= RESERVED
