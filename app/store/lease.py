"""The lease: which replica dispatches. One row, an expiry, and a token that only rises.

All times are the database's, because the replicas' clocks may differ.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from app.domain.errors import LeaseLost
from app.store.notifications import LEASE, notify

_CLOCK = "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint"

# While another replica holds the lease, this locks nothing, so polling delays no renewal.
_ACQUIRE = text(f"""
INSERT INTO lease (id, holder, token, expires_at)
SELECT 1, :holder, 1, {_CLOCK} + :microseconds
WHERE NOT EXISTS (SELECT FROM lease WHERE id = 1 AND expires_at > {_CLOCK})
ON CONFLICT (id) DO UPDATE SET
    holder = excluded.holder,
    token = lease.token + 1,
    expires_at = excluded.expires_at,
    report = NULL
WHERE lease.expires_at <= {_CLOCK}
RETURNING token
""")  # noqa: S608 - the clock is the constant above

_RENEW = text(f"""
UPDATE lease SET expires_at = {_CLOCK} + :microseconds, report = :report
WHERE id = 1 AND token = :token
""")  # noqa: S608

_RELEASE = text("UPDATE lease SET expires_at = 0 WHERE id = 1 AND token = :token")

# The lock keeps other replicas from acquiring the lease before the commit.
_REQUIRE = text(f"""
SELECT token FROM lease WHERE id = 1 AND token = :token AND expires_at > {_CLOCK} FOR SHARE
""")  # noqa: S608

_READ = text(f"SELECT holder, report, expires_at > {_CLOCK} AS is_held FROM lease WHERE id = 1")  # noqa: S608


@dataclass(frozen=True, slots=True)
class LeaseView:
    """The stored lease, and the status that its holder reported; it may have expired."""

    holder: str
    is_held: bool
    report: str | None


def acquire_lease(connection: Connection, holder: str, seconds: float) -> int | None:
    """Acquire the lease if it is free and return its token."""
    values = {"holder": holder, "microseconds": round(seconds * 1_000_000)}
    return connection.execute(_ACQUIRE, values).scalar_one_or_none()


def renew_lease(connection: Connection, token: int, seconds: float, report: str) -> bool:
    """Extend the lease; return False if another replica holds it."""
    values = {"token": token, "microseconds": round(seconds * 1_000_000), "report": report}
    return connection.execute(_RENEW, values).rowcount == 1


def release_lease(connection: Connection, token: int) -> None:
    """Release the lease, so that another replica acquires it at once."""
    connection.execute(_RELEASE, {"token": token})
    notify(connection, LEASE)


def require_lease(connection: Connection, token: int) -> None:
    """Hold the lease until the transaction ends.

    Raises:
        LeaseLost: it is not held under this token.
    """
    if connection.execute(_REQUIRE, {"token": token}).one_or_none() is None:
        raise LeaseLost


def read_lease(connection: Connection) -> LeaseView | None:
    """Read the lease; None if it was never acquired."""
    row: Any = connection.execute(_READ).one_or_none()
    return None if row is None else LeaseView(row.holder, bool(row.is_held), row.report)
