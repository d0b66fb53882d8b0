"""`relay exposure`: how long revoked memberships still gave access."""

from typing import Annotated

import typer

from app.auth.claims import Scope
from app.cli import options
from app.cli.client.api_models import ExposureAnswer, RevocationAnswer
from app.cli.client.relay_client import open_relay
from app.cli.output.console import errors, output, print_list
from app.cli.output.exposure_views import list_revocation, show_summary


def exposure(
    since: Annotated[
        str | None,
        typer.Option(
            callback=options.read_time,
            metavar="TIME",
            help="The start of the period: RFC 3339, or 15m, 2h, 3d ago.",
        ),
    ],
    until: Annotated[
        str | None,
        typer.Option(callback=options.read_time, metavar="TIME", help="Its end; default: now."),
    ] = None,
    trip: Annotated[
        str | None, typer.Option(metavar="TRIP_ID", help="Only memberships of this trip.")
    ] = None,
    limit: Annotated[
        int,
        typer.Option("--limit", "-n", min=1, max=200, metavar="N", help="List at most N."),
    ] = 20,
    as_json: options.AsJson = False,
    url: options.Url = options.DEFAULT_URL,
    token: options.Token = None,
) -> None:
    """Measure how long revoked memberships still gave access in Supabase.

    The exposure of a revocation lasts from the change in the backend until
    Supabase holds it. All that overlap the period are counted, and the longest
    are listed: first those that last, then the others. Into a pipe, each listed
    revocation is one line of exposed seconds, seconds in the relay, happened,
    received, in force, trip id and user id, separated by tabs. Needs the scope
    events:read.

    Examples:
      relay exposure --since 2h
      relay exposure --since 2026-01-02T03:00:00Z --until 2026-01-02T04:00:00Z
    """
    criteria = {"since": since, "until": until, "trip_id": trip, "limit": limit}
    given = {name: value for name, value in criteria.items() if value is not None}
    with open_relay(url, token, Scope.EVENTS_READ) as relay:
        document = relay.get("/revocations", given)
        answer = relay.read(document, ExposureAnswer)
    if as_json:
        output.print_json(data=document)
        return
    if output.is_terminal and answer.revocations:
        show_summary(answer.summary)
    print_list(
        document["revocations"],
        lambda each: list_revocation(relay.read(each, RevocationAnswer)),
        as_json=False,
        if_empty="No revocation in this period.",
    )
    rest = answer.summary.revocations - len(answer.revocations)
    if rest and output.is_terminal:
        errors.print(f"{rest:,} more were shorter.", style="dim")
