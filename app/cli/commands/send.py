"""`relay send`: sign an event and post it, the way a backend does."""

import shlex
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from app.cli import options
from app.cli.client.batches import explain_unsigned
from app.cli.client.delivery import confirm_event, deliver
from app.cli.client.relay_client import (
    list_errors,
    make_failure,
    open_client,
    read_document,
    translated_failures,
)
from app.cli.client.signing import make_body, make_event_id, name_endpoint, sign_body
from app.cli.commands.send_file import send_file
from app.cli.errors import Misused, RelayAway
from app.cli.output.console import errors, output, report_wait, tidy
from app.domain.errors import ConfigurationInvalid
from app.settings import SecretSettings, read_settings

_RETRY_SECONDS = 5.0
_RETRY_FILE_SECONDS = 60.0


def send(
    event_type: Annotated[
        str | None,
        typer.Argument(
            metavar="[TYPE]",
            autocompletion=options.complete_types,
            help="membership.created, …; - reads a whole body.",
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
            "--file",
            "-f",
            help="Send events of this file instead: NDJSON, a line each; - is standard input.",
        ),
    ] = None,
    rejects: Annotated[
        Path | None,
        typer.Option(help="With --file: write the lines that are refused here, with the reasons."),
    ] = None,
    retry_seconds: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="How long to retry while the relay is unreachable or does not confirm what was"
            f" sent; default: {_RETRY_SECONDS:.0f}, with --file {_RETRY_FILE_SECONDS:.0f}.",
        ),
    ] = None,
    url: options.Url = options.DEFAULT_URL,
    secret: Annotated[
        str | None,
        typer.Option(help="whsec_ or whsk_; default: the first whsec_ of WEBHOOK_SECRETS."),
    ] = None,
    event_id: Annotated[
        str | None, typer.Option("--id", help="The webhook-id; default: a new one.")
    ] = None,
    timestamp: Annotated[
        str | None, typer.Option(help="When it happened, RFC 3339; default: now.")
    ] = None,
    wait: Annotated[
        int | None, typer.Option(min=0, max=30, help="Seconds to wait until Supabase holds it.")
    ] = None,
    as_curl: Annotated[
        bool, typer.Option("--curl", help="Print the signed request as a curl command instead.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the answer's body, or the summary, only.")
    ] = False,
) -> None:
    """Sign one event and post it, or a whole file of them.

    Only an answer that names the event counts as a success; anything else is
    retried, with the same id and body.
    A file has a line for each event, {"id", "type", "timestamp", "data"}; one
    without an id gets one made from what it says. After Ctrl-C or a kill the same
    command goes on where it was; a line that is refused is told of and holds up
    no other. Exit code 0: taken; 1: refused, or some lines were; 3: the relay is
    not there, or did not confirm what was sent.

    Examples:
      relay send trip.deleted id=456e7890-e89b-12d3-a456-426614174001 --wait 5
      relay send --file events.ndjson --rejects rejects.ndjson
    """
    if file is not None:
        if event_type or as_curl or (event_id, timestamp, wait) != (None, None, None):
            raise Misused("--file takes no TYPE, --id, --timestamp, --wait or --curl")

        send_file(
            file,
            url=url,
            secret=secret or _find_secret(),
            rejects=rejects,
            patience_seconds=_RETRY_FILE_SECONDS if retry_seconds is None else retry_seconds,
            as_json=as_json,
        )
        return
    if rejects is not None:
        raise Misused("--rejects goes with --file")
    if event_type is None:
        raise Misused("give the TYPE of an event, - to read a body, or --file")

    if event_type == "-":
        body = sys.stdin.buffer.read()
    else:
        body = make_body(event_type, _read_fields(fields or []), timestamp)
    event_id = event_id or make_event_id()
    signing = partial(
        sign_body, secret or _find_secret(), body, event_id=event_id, wait_seconds=wait
    )
    if as_curl:
        output.print(_write_curl(name_endpoint(url), signing(), body), markup=False)
        return
    patience_seconds = _RETRY_SECONDS if retry_seconds is None else retry_seconds
    _post(url, signing, event_id, body, patience_seconds=patience_seconds, as_json=as_json)


def _post(
    url: str,
    sign: Callable[[], dict[str, str]],
    event_id: str,
    body: bytes,
    *,
    patience_seconds: float,
    as_json: bool,
) -> None:

    answers: list[tuple[httpx.Response, float]] = []

    def attempt() -> None:
        answers.clear()
        # Signed anew each time: a signature is good for five minutes only.
        headers = sign()
        started = time.perf_counter()
        with translated_failures(url):
            response = client.post(name_endpoint(url), content=body, headers=headers)
        answers.append((response, (time.perf_counter() - started) * 1000))
        if response.is_success:
            confirm_event(response, event_id)
        elif isinstance(failure := make_failure(response), RelayAway):
            raise failure

    with open_client(url) as client:
        try:
            deliver(attempt, patience_seconds=patience_seconds, report_wait=report_wait)
        except RelayAway:
            # A relay's own refusal is shown as such below.
            if not answers or answers[0][0].is_success or read_document(answers[0][0]) is None:
                raise
    ((response, took_milliseconds),) = answers
    if as_json:
        typer.echo(response.text)
    else:
        _show(response, took_milliseconds)
    if response.status_code in (408, 429) or response.status_code >= 500:
        raise typer.Exit(3)
    if not response.is_success:
        raise typer.Exit(1)


def _read_fields(fields: list[str]) -> dict[str, str]:
    data: dict[str, str] = {}
    for field in fields:
        name, separator, value = field.partition("=")
        if not separator:
            raise typer.BadParameter(f"{field!r} is not of the form FIELD=VALUE")
        data[name] = value
    return data


def _find_secret() -> str:

    for secret in read_settings(SecretSettings).webhook_secrets:
        if secret.get_secret_value().startswith("whsec_"):
            return secret.get_secret_value()
    raise ConfigurationInvalid(
        "there is nothing to sign with: set WEBHOOK_SECRETS to what the relay has, or give --secret"
    )


def _write_curl(endpoint: str, headers: dict[str, str], body: bytes) -> str:
    parts = [f"curl -sS {shlex.quote(endpoint)}"]
    parts += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in headers.items()]
    parts.append(f"--data-binary {shlex.quote(body.decode())}")
    return " \\\n  ".join(parts)


def _show(response: httpx.Response, took_milliseconds: float) -> None:

    document: dict[str, Any] = response.json()
    if response.is_success:
        output.print(f"[green]{response.status_code}[/] {document.get('status')} ", end="")
        output.print(tidy(str(document.get("event_id"))), style="bold", markup=False, end="")
        output.print(f" [dim]{took_milliseconds:.0f} ms[/]")
        return
    errors.print(f"[bold red]{response.status_code}[/] ", end="")
    errors.print(
        tidy(f"{document.get('code', '')}: {document.get('detail', response.text[:200])}"),
        markup=False,
    )
    if response.status_code == 401:
        errors.print(f"  {explain_unsigned(response)}", markup=False)
    for problem in list_errors(document):
        errors.print(f"  {tidy(problem)}", markup=False)
