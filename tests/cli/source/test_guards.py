"""Each guard against a wrong or incomplete source."""

import pytest

from app.cli.source.comparison import Counts
from app.cli.source.guards import explain_refusal
from app.domain.entities import Kind

PLAN = "0123456789ab"


def make_counts(source: tuple[int, int, int], relay: tuple[int, int, int]) -> Counts:
    """Count users, trips and memberships on both sides."""
    kinds = (Kind.USER, Kind.TRIP, Kind.MEMBERSHIP)
    return Counts(
        source_rows=dict(zip(kinds, source, strict=True)),
        relay_rows=dict(zip(kinds, relay, strict=True)),
    )


SAME = make_counts((1000, 500, 3500), (1000, 500, 3500))


@pytest.mark.parametrize(
    ("counts", "removals", "limit"),
    [
        (SAME, 10, None),
        (SAME, 11, "11"),
        (SAME, 50, "1%"),
        (SAME, 0, "0"),
        (make_counts((90, 90, 90), (100, 100, 100)), 3, None),
        # A lost store: there is nothing to remove.
        (make_counts((1000, 500, 3500), (0, 0, 0)), 0, None),
    ],
)
def test_repair_within_every_limit_is_allowed(
    counts: Counts, removals: int, limit: str | None
) -> None:
    assert (
        explain_refusal(counts, PLAN, removals, max_removals=limit, approved_plan_id=None) is None
    )


@pytest.mark.parametrize(
    ("counts", "removals", "limit", "reason"),
    [
        (SAME, 11, None, "would remove 11 rows, and 10 are allowed"),
        (SAME, 51, "1%", "would remove 51 rows, and 50 are allowed"),
        (SAME, 1, "0", "would remove 1 rows, and 0 are allowed"),
        (make_counts((90, 90, 90), (100, 100, 100)), 4, None, "and 3 are allowed"),
        (make_counts((0, 0, 0), (0, 0, 0)), 0, None, "the source is empty"),
        (make_counts((0, 0, 0), (100, 0, 0)), 100, "100%", "the source is empty"),
        (make_counts((89, 100, 100), (100, 100, 100)), 11, "100%", "has 89 users, and the relay"),
        (make_counts((100, 89, 100), (100, 100, 100)), 11, "100%", "has 89 trips, and the relay"),
        (make_counts((100, 100, 0), (100, 100, 1)), 1, "100%", "has 0 memberships, and the relay"),
    ],
)
def test_repair_beyond_a_limit_is_refused_unless_its_plan_is_approved(
    counts: Counts, removals: int, limit: str | None, reason: str
) -> None:
    refusal = explain_refusal(counts, PLAN, removals, max_removals=limit, approved_plan_id=None)
    assert refusal is not None
    assert reason in refusal
    approved = explain_refusal(counts, PLAN, removals, max_removals=limit, approved_plan_id=PLAN)
    assert approved is None


def test_approval_of_another_plan_is_refused_however_small() -> None:
    refusal = explain_refusal(SAME, PLAN, 0, max_removals=None, approved_plan_id="ba9876543210")
    assert refusal is not None
    assert "ba9876543210 is out of date" in refusal
    assert PLAN in refusal
