"""The lease: which replica dispatches. One row, an expiry, and a token that only rises.

All times are the database's: the replicas' clocks may differ.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from app.domain.errors import LeaseLost
from app.store.write_session import WriteSession

_CLOCK = "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint"

# While it is held, nothing is locked: whoever only looks keeps nobody from renewing or recording.
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

# Shared with those who record at the same moment; nobody takes the lease over before the commit.
_REQUIRE = text(f"""
SELECT token FROM lease WHERE id = 1 AND token = :token AND expires_at > {_CLOCK} FOR SHARE
""")  # noqa: S608

_READ = text(f"SELECT holder, report, expires_at > {_CLOCK} AS is_held FROM lease WHERE id = 1")  # noqa: S608


@dataclass(frozen=True, slots=True)
class LeaseView:
    """Who dispatches.

    Attributes:
        holder: the replica that holds the lease, or held it last.
        is_held: whether it has not expired.
        report: what the holder says of itself, as it was given.
    """

    holder: str
    is_held: bool
    report: str | None


def acquire_lease(session: WriteSession, *, holder: str, seconds: float) -> int | None:
    """Take the lease if nobody holds it, and give its token."""
    values = {"holder": holder, "microseconds": round(seconds * 1_000_000)}
    return session.connection.execute(_ACQUIRE, values).scalar_one_or_none()


def renew_lease(session: WriteSession, *, token: int, seconds: float, report: str) -> bool:
    """Hold the lease for longer; False where another has it."""
    values = {"token": token, "microseconds": round(seconds * 1_000_000), "report": report}
    return session.connection.execute(_RENEW, values).rowcount == 1


def release_lease(session: WriteSession, *, token: int) -> None:
    """Let go of the lease, so that another takes it at once."""
    session.connection.execute(_RELEASE, {"token": token})


def require_lease(session: WriteSession, token: int | None) -> None:
    """Have the transaction end without effect unless the lease is still held under this token.

    Raises:
        LeaseLost: it is not. None stands for a store that has but one relay.
    """
    if token is None:
        return
    if session.connection.execute(_REQUIRE, {"token": token}).one_or_none() is None:
        raise LeaseLost


def read_lease(connection: Connection) -> LeaseView | None:
    """Read who dispatches; None where nobody ever has."""
    row: Any = connection.execute(_READ).one_or_none()
    return None if row is None else LeaseView(row.holder, bool(row.is_held), row.report)
