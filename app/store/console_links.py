"""One-time links to the console."""

from typing import Final

from sqlalchemy import Connection, text

from app.domain.instants import Instant

_DELETE_EXPIRED: Final = text("DELETE FROM console_links WHERE expires_at <= :now")
_INSERT: Final = text("""
INSERT INTO console_links (digest, sealed_token, expires_at)
VALUES (:digest, :sealed_token, :expires_at)
""")
_TAKE: Final = text("""
DELETE FROM console_links WHERE digest = :digest RETURNING sealed_token, expires_at
""")


def add_link(
    connection: Connection, digest: bytes, sealed_token: bytes, expires_at: Instant, now: Instant
) -> None:
    """Add a link, and delete those that have expired."""
    connection.execute(_DELETE_EXPIRED, {"now": now})
    connection.execute(
        _INSERT, {"digest": digest, "sealed_token": sealed_token, "expires_at": expires_at}
    )


def take_link(connection: Connection, digest: bytes, now: Instant) -> bytes | None:
    """Delete a link and return its sealed token; None if it was taken or has expired."""
    row = connection.execute(_TAKE, {"digest": digest}).one_or_none()
    if row is None or row.expires_at <= now:
        return None
    return bytes(row.sealed_token)
