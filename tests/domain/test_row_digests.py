"""Digests of rows, which SQL must be able to compute too."""

import hashlib

import pytest

from app.domain.entities import Kind
from app.domain.row_digests import digest_row


@pytest.mark.parametrize(
    ("kind", "row", "text"),
    [
        (
            Kind.USER,
            {"username": "bo", "email": "bo@example.com", "id": "1", "phone": "5"},
            "1\x1fbo@example.com\x1fbo",
        ),
        (Kind.TRIP, {"id": "2", "name": None, "created_by": "1"}, "2\x1f\\N\x1f1"),
        (Kind.TRIP, {"id": "2", "name": "Köln"}, "2\x1fKöln\x1f\\N"),
        (
            Kind.MEMBERSHIP,
            {"trip_id": "2", "user_id": "1", "role": "OWNER", "status": "ACTIVE"},
            "2\x1f1\x1fOWNER\x1fACTIVE",
        ),
    ],
)
def test_digest_is_md5_of_the_contracts_fields(
    kind: Kind, row: dict[str, object], text: str
) -> None:
    assert digest_row(kind, row) == hashlib.md5(text.encode()).hexdigest()  # noqa: S324
