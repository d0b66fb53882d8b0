"""`relay send`: sign an event and post it, as a backend does."""

import json
import shlex
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import httpx
import typer

from app.auth.claims import Scope
from app.cli import options
from app.cli.client.api_models import EventAnswer
from app.cli.client.delivery import confirm_event, deliver, post
from app.cli.client.relay_client import open_client, open_relay
from app.cli.client.signing import make_body, make_event_id, make_signer
from app.cli.commands.send_file import send_file
from app.cli.errors import CommandFailed, NotFinished, Rejected, UsageError
from app.cli.output.console import output, report_wait
from app.cli.output.event_views import explain_event
from app.domain.errors import ConfigurationInvalid

_RETRY_SECONDS = 5.0
_RETRY_FILE_SECONDS = 60.0


def send(
    event_type: Annotated[
        str | None,
        typer.Argument(
            metavar="[TYPE]",
            autocompletion=options.complete_types,
            help="Such as membership.created; - reads a whole body from standard input.",
        ),
    ] = None,
    fields: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FIELD=VALUE]…",
            autocompletion=options.complete_fields,
            help="The fields of `data`.",
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", "-f", metavar="FILE", help="Send the events of an NDJSON file; - for stdin."
        ),
    ] = None,
    rejects: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --file: write rejected lines here, with reasons."),
    ] = None,
    retry_seconds: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="How long to retry while the relay is unavailable or does not confirm the event;"
            f" default: {_RETRY_SECONDS:.0f}, with --file {_RETRY_FILE_SECONDS:.0f}.",
        ),
    ] = None,
    url: options.Url = options.DEFAULT_URL,
    secret: Annotated[
        str | None,
        typer.Option(
            "--secret",
            metavar="SECRET",
            help="whsec_ or whsk_; default: the first whsec_ of WEBHOOK_SECRETS, and a token signed"
            " with JWT_SECRET, as far as they are set.",
        ),
    ] = None,
    event_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="The webhook-id; default: a new one.")
    ] = None,
    timestamp: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="When it happened, RFC 3339; default: now."),
    ] = None,
    wait: Annotated[
        int | None,
        typer.Option(
            min=1, max=30, metavar="SECONDS", help="Wait until Supabase holds the change."
        ),
    ] = None,
    as_curl: Annotated[
        bool, typer.Option("--curl", help="Print the signed request as a curl command instead.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print only the response body, or the summary, as JSON.")
    ] = False,
) -> None:
    """Sign one event and post it, or a whole file of them.

    The event counts as sent only if the response names it; otherwise the same
    event is sent again. With --wait, the exit code is 1 if Supabase rejected the
    change and 4 if it was not applied in time.

    A file holds one event a line: {"id", "type", "timestamp", "data"}. A line
    without an id gets one derived from its content, so a file can be sent again
    after Ctrl-C or a kill. Rejected lines are reported and do not affect others;
    the exit code is 1 then.

    Examples:
      relay send trip.deleted id=456e7890-e89b-12d3-a456-426614174001 --wait 5
      relay send --file events.ndjson --rejects rejects.ndjson
    """
    if file is not None:
        if event_type or as_curl or (event_id, timestamp, wait) != (None, None, None):
            raise UsageError("--file goes without TYPE, --id, --timestamp, --wait and --curl")
        send_file(
            file,
            url=url,
            signer=make_signer(secret),
            rejects=rejects,
            patience_seconds=_RETRY_FILE_SECONDS if retry_seconds is None else retry_seconds,
            as_json=as_json,
        )
        return
    if rejects is not None:
        raise UsageError("--rejects goes with --file")
    if event_type is None:
        raise UsageError("give the TYPE of an event, - to read a body, or --file")
    if event_type == "-":
        body = sys.stdin.buffer.read()
    else:
        body = make_body(event_type, _read_fields(fields or []), timestamp)
    event_id = event_id or make_event_id()
    sign = partial(make_signer(secret).sign, body, event_id=event_id, wait_seconds=wait)
    if as_curl:
        output.print(_write_curl(f"{url}/webhooks", sign(), body), markup=False)
        return
    patience_seconds = _RETRY_SECONDS if retry_seconds is None else retry_seconds
    status = _send(url, sign, event_id, body, patience_seconds=patience_seconds, as_json=as_json)
    if status == "dead":
        raise Rejected("Supabase rejected the change", _explain(url, event_id))
    if wait is not None and status in ("accepted", "duplicate"):
        raise NotFinished(f"the change was not applied within {wait} s", _explain(url, event_id))


def _send(
    url: str,
    sign: Callable[[], dict[str, str]],
    event_id: str,
    body: bytes,
    *,
    patience_seconds: float,
    as_json: bool,
) -> str:
    """Post an event until a response confirms it, print the response, and return the status."""

    def attempt() -> tuple[httpx.Response, str, float]:
        # Signed anew each time: a signature expires after five minutes.
        headers = sign()
        started = time.perf_counter()
        response = post(client, "/webhooks", content=body, headers=headers)
        milliseconds = (time.perf_counter() - started) * 1000
        return response, confirm_event(response, event_id)["status"], milliseconds

    with open_client(url) as client:
        try:
            response, status, milliseconds = deliver(
                attempt, patience_seconds=patience_seconds, report_wait=report_wait
            )
        except CommandFailed as error:
            if not as_json or error.problem is None:
                raise
            typer.echo(json.dumps(error.problem))
            raise typer.Exit(error.exit_code) from error
    if as_json:
        typer.echo(response.text)
    else:
        output.print(f"[green]{response.status_code}[/] {status} ", end="")
        output.print(event_id, style="bold", markup=False, end="")
        output.print(f" [dim]{milliseconds:.0f} ms[/]")
    return status


def _read_fields(fields: list[str]) -> dict[str, str]:
    data: dict[str, str] = {}
    for field in fields:
        name, separator, value = field.partition("=")
        if not separator:
            raise typer.BadParameter(f"{field!r} is not of the form FIELD=VALUE")
        data[name] = value
    return data


def _write_curl(endpoint: str, headers: dict[str, str], body: bytes) -> str:
    parts = [f"curl -sS {shlex.quote(endpoint)}"]
    parts += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in headers.items()]
    parts.append(f"--data-binary {shlex.quote(body.decode())}")
    return " \\\n  ".join(parts)


def _explain(url: str, event_id: str) -> list[str]:
    """Return the reason and the next step, from the relay if it accepts this operator."""
    try:
        with open_relay(url, None, Scope.EVENTS_READ) as relay:
            event = relay.read(relay.get_named("/events", "event_id", event_id), EventAnswer)
    except (CommandFailed, ConfigurationInvalid):
        return [f"Why: relay events {event_id}"]
    return [line for line in (event.error, explain_event(event)) if line]
