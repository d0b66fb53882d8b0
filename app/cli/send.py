"""`relay send`: sign an event and post it, the way a backend does."""

import shlex
import sys
import time
from typing import Annotated, Any

import httpx
import typer

from app.cli.console import errors, output
from app.cli.sending import TIMEOUT_SECONDS, make_body, name_endpoint, sign_body
from app.domain.errors import ConfigurationInvalid
from app.settings import SecretSettings, read_settings


def send(
    event_type: Annotated[
        str, typer.Argument(metavar="TYPE", help="membership.created, …; - reads a whole body.")
    ],
    fields: Annotated[
        list[str] | None, typer.Argument(metavar="FIELD=VALUE…", help="The fields of `data`.")
    ] = None,
    url: Annotated[
        str, typer.Option(envvar="RELAY_URL", help="Where the relay is.")
    ] = "http://127.0.0.1:8080",
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
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer's body only.")] = False,
) -> None:
    """Sign one event and post it. Exit code 0: taken; 1: refused; 3: the relay is not there.

    Example: [bold]relay send membership.created trip_id=456e7890-e89b-12d3-a456-426614174001
    user_id=123e4567-e89b-12d3-a456-426614174000 role=MEMBER status=ACTIVE --wait 5[/]
    """
    if event_type == "-":
        body = sys.stdin.buffer.read()
    else:
        body = make_body(event_type, _read_fields(fields or []), timestamp)
    headers = sign_body(secret or _find_secret(), body, event_id=event_id, wait_seconds=wait)
    if as_curl:
        output.print(_write_curl(name_endpoint(url), headers, body), markup=False)
        return
    try:
        started = time.perf_counter()
        response = httpx.post(
            name_endpoint(url), content=body, headers=headers, timeout=TIMEOUT_SECONDS
        )
        took_milliseconds = (time.perf_counter() - started) * 1000
    except httpx.HTTPError as error:
        errors.print(f"[bold red]relay send:[/] no relay answers at {url}: {error}")
        raise typer.Exit(3) from error
    if as_json:
        typer.echo(response.text)
    else:
        _show(response, took_milliseconds)
    if response.status_code >= 500:
        raise typer.Exit(3)
    if response.is_error:
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
    try:
        document: Any = response.json()
    except ValueError:
        document = {}
    if not isinstance(document, dict):
        document = {}
    if response.is_success:
        output.print(
            f"[green]{response.status_code}[/] {document.get('status')}"
            f" [bold]{document.get('event_id')}[/] [dim]{took_milliseconds:.0f} ms[/]"
        )
        return
    errors.print(
        f"[bold red]{response.status_code}[/] {document.get('code', '')}:"
        f" {document.get('detail', response.text[:200])}"
    )
    for problem in document.get("errors", []):
        errors.print(f"  {problem['pointer'] or '(body)'}: {problem['detail']}", markup=False)
