"""The same contract in SQL: trips with members, for what PostgREST does not reach."""

from uuid import UUID, uuid4

from tests.contract.database import Database


def create_trip(database: Database, *members: UUID) -> UUID:
    """Create a trip with ACTIVE members; missing users are created."""
    trip_id = uuid4()
    database.run("insert into public.trips values ($1, 'Rome', $2)", trip_id, uuid4())
    for user_id in members:
        database.run(
            "insert into public.users values ($1, 'a@example.com', 'Ada') on conflict do nothing",
            user_id,
        )
        database.run(
            "insert into public.trip_memberships values ($1, $2, 'MEMBER', 'ACTIVE')",
            trip_id,
            user_id,
        )
    return trip_id


def create_caller(database: Database, caller: str) -> tuple[UUID, UUID]:
    """Return the trip and the caller, a present or former member."""
    user_id = uuid4()
    trip_id = create_trip(database, user_id)
    match caller:
        case "active":
            pass
        case "stranger" | "removed":
            database.run("delete from public.trip_memberships where user_id = $1", user_id)
        case "other trip's":
            trip_id = create_trip(database, uuid4())
        case "inactive":
            database.run(
                "update public.trip_memberships set status = 'INACTIVE' where user_id = $1", user_id
            )
        case "user deleted":
            database.run("delete from public.users where id = $1", user_id)
        case "trip deleted":
            database.run("delete from public.trips where id = $1", trip_id)
        case _:
            raise AssertionError(caller)
    return trip_id, user_id
