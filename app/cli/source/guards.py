"""What keeps a repair from removing what a wrong or incomplete source lacks."""

from app.cli.source.comparison import Counts
from app.cli.source.differences import KINDS
from app.domain.drift import count_allowed_removals


def explain_refusal(
    counts: Counts,
    plan_id: str,
    removals: int,
    *,
    max_removals: str | None,
    approved_plan_id: str | None,
) -> str | None:
    """Return why the repair must not happen, as a sentence; None if it may.

    Args:
        counts: of the comparison.
        plan_id: of the differences.
        removals: rows that the repair would remove.
        max_removals: a number or a percentage; None for the default.
        approved_plan_id: the plan that may be repaired, however many rows it removes.
    """
    if approved_plan_id is not None:
        if approved_plan_id == plan_id:
            return None
        return (
            f"the plan {approved_plan_id} is out of date: the differences have changed, and the"
            f" plan is {plan_id} now"
        )
    if not any(counts.source_rows.values()):
        return "the source is empty"
    for kind in KINDS:
        there, here = counts.source_rows[kind], counts.relay_rows[kind]
        if there * 10 < here * 9:
            return (
                f"the source has {there:,} {kind}s, and the relay {here:,}: more than 10 % fewer."
                " It may be another database, or incomplete"
            )
    allowed = count_allowed_removals(max_removals, sum(counts.relay_rows.values()))
    if removals > allowed:
        return f"the repair would remove {removals:,} rows, and {allowed:,} are allowed"
    return None
