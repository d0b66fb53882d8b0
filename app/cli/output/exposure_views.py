"""How the exposure of revocations looks at a terminal and in a pipe."""

from rich.text import Text

from app.cli.client.api_models import ExposureSummary, RevocationAnswer
from app.cli.output.console import Listed, output, write_instant, write_time
from app.domain.wording import count, write_duration


def show_summary(summary: ExposureSummary) -> None:
    """Print how many revocations there were, and the percentiles of their exposure."""
    line = Text(count(summary.revocations, "revocation"))
    if summary.unapplied:
        line.append(", ").append(f"{summary.unapplied:,} still exposed", style="bold red")
    output.print(line)
    percentiles = {
        "p50": summary.p50_seconds,
        "p95": summary.p95_seconds,
        "p99": summary.p99_seconds,
        "maximum": summary.maximum_seconds,
    }
    cells = [
        f"{name} {write_duration(seconds)}"
        for name, seconds in percentiles.items()
        if seconds is not None
    ]
    output.print(f"exposed: {', '.join(cells)}\n")


def list_revocation(revocation: RevocationAnswer) -> Listed:
    """Make the entry of a list: how long and when, and the ids that other commands accept."""
    applied_at = revocation.applied_at
    end = (
        Text("now, still exposed", style="bold red")
        if applied_at is None
        else Text(write_time(applied_at))
    )
    return Listed(
        Text.assemble(
            (f"{write_duration(revocation.exposed_seconds):<6}", "bold"),
            f"  {write_time(revocation.occurred_at)} until ",
            end,
            f"; in the relay {write_duration(revocation.relay_seconds)}",
        ),
        {"trip": revocation.trip_id, "user": revocation.user_id},
        [
            f"{revocation.exposed_seconds:.6f}",
            f"{revocation.relay_seconds:.6f}",
            write_instant(revocation.occurred_at),
            write_instant(revocation.received_at),
            "" if applied_at is None else write_instant(applied_at),
            revocation.trip_id,
            revocation.user_id,
        ],
    )
