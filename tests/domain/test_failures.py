"""Shows which failures are everybody's and which are one entity's own."""

import pytest

from app.domain.failures import Failure, FailureKind

STOPS_EVERYTHING = {
    FailureKind.OUTAGE: True,
    FailureKind.MISCONFIGURED: True,
    FailureKind.SCHEMA_MISMATCH: True,
    FailureKind.PARENT_MISSING: False,
    FailureKind.CONTESTED: False,
    FailureKind.OURS: False,
    FailureKind.REFUSED: False,
}


@pytest.mark.parametrize("kind", FailureKind)
def test_failure_of_each_kind_stops_everything_or_one_entity(kind: FailureKind) -> None:
    assert Failure(kind, "code", "message").stops_everything is STOPS_EVERYTHING[kind]
