"""`relay access`: explain why a user can or cannot read a trip, and join its topics."""

import asyncio
import json
import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Annotated, Final

import typer
from rich.text import Text

from app.auth.claims import Scope
from app.cli.client.api_models import EventAnswer, EventPage
from app.cli.client.relay_client import open_relay
from app.cli.errors import CommandFailed
from app.cli.options import DEFAULT_URL, AsJson, Token, Url
from app.cli.output.console import errors, output
from app.cli.supabase_project import (
    TRIP_TABLES,
    DbUrl,
    JwtSecret,
    Keys,
    PublishableKey,
    UserToken,
    open_project,
    read_supabase_settings,
)
from app.doctor.access import Access, Desired, check_access
from app.doctor.project import read_subject
from app.doctor.realtime import Answer
from app.doctor.topic_access import TopicAccess, explain_topics
from app.doctor.trip_reading import Outcome
from app.domain.errors import ConfigurationInvalid
from app.settings import Settings

_EXIT_CODES: Final[Mapping[Outcome, int]] = {
    Outcome.ALLOWED: 0,
    Outcome.DENIED: 1,
    Outcome.UNKNOWN: 2,
    Outcome.UNREACHABLE: 3,
}
_NO_USER_KEY: Final = (
    "SUPABASE_JWT_SECRET (--jwt-secret) is not set, and neither is SUPABASE_USER_TOKEN"
    " (--user-token); one of them is needed to read as the user"
)
_STYLES: Final[Mapping[str, str]] = {Outcome.ALLOWED: "green", Outcome.DENIED: "red"}


def access(
    user: Annotated[uuid.UUID, typer.Option(metavar="ID", help="The user's id.")],
    trip: Annotated[uuid.UUID, typer.Option(metavar="ID", help="The trip's id.")],
    url: Url = DEFAULT_URL,
    token: Token = None,
    publishable_key: PublishableKey = None,
    jwt_secret: JwtSecret = None,
    user_token: UserToken = None,
    table: Annotated[
        list[str] | None,
        typer.Option(
            "--table", metavar="TABLE", help="A table to read by its trip_id; can be repeated."
        ),
    ] = None,
    db_url: DbUrl = None,
    topic: Annotated[
        list[str] | None,
        typer.Option(
            "--topic",
            metavar="TOPIC",
            help="A Realtime topic to join, with --db-url; can be repeated."
            " By default trip:<trip id> and user:<user id>.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Explain why a user can or cannot read a trip, and join its Realtime topics.

    Reads Supabase as the user, with a token signed by the project's JWT secret
    or the user's own, and with the relay's key; then queries the relay for the
    desired state. Without the relay, the explanation lacks that state. With
    --db-url it asks Realtime's own question about private channels: why does a
    join end with CHANNEL_ERROR? It rolls back what that writes.

    Exit code 0: the user can read; 1: cannot; 2: unknown; 3: Supabase is
    unreachable.

    Examples:
      relay access --user $USER_ID --trip $TRIP_ID
      relay access --user $USER_ID --trip $TRIP_ID --topic trip-messages-$TRIP_ID
    """
    settings = _read_settings(has_user_key=jwt_secret is not None or user_token is not None)
    if jwt_secret is None and read_subject(user_token or "") != str(user):
        raise typer.BadParameter("is not a token of --user", param_hint="--user-token")
    if topic and db_url is None:
        raise typer.BadParameter("needs --db-url or SUPABASE_DB_URL", param_hint="--topic")
    # The explanation says what libraries would log.
    logging.getLogger("app").addHandler(logging.NullHandler())
    desired, relay_error = _find_desired_state(url, token, str(trip), str(user))
    keys = Keys(publishable_key, jwt_secret, user_token)
    tables = table or TRIP_TABLES
    result = asyncio.run(_check(settings, keys, str(user), str(trip), tables, desired))
    topics: Sequence[TopicAccess] = ()
    if db_url is not None:
        names = topic or (f"trip:{trip}", f"user:{user}")
        topics = explain_topics(db_url, settings.targets, str(user), names)
    if as_json:
        question = {"user": str(user), "trip": str(trip)}
        document = {
            **question,
            **asdict(result),
            "topics": [asdict(found) for found in topics],
            "relay_error": relay_error,
        }
        output.print_json(json.dumps(document))
    else:
        _show(result, relay_error)
        for found in topics:
            _show_topic(found)
    raise typer.Exit(_EXIT_CODES[result.verdict])


def _read_settings(*, has_user_key: bool) -> Settings:
    """Read the settings, and report all that is missing at once."""
    sentences = [] if has_user_key else [_NO_USER_KEY]
    try:
        settings, _ = read_supabase_settings()
    except ConfigurationInvalid as error:
        raise ConfigurationInvalid(*sentences, *error.sentences) from error
    if sentences:
        raise ConfigurationInvalid(*sentences)
    return settings


def _find_desired_state(
    url: str, token: str | None, trip_id: str, user_id: str
) -> tuple[Desired | None, str | None]:
    """Return the relay's desired state of a membership, or None and why it is unknown."""
    parameters = {"entity": f"membership/{trip_id}/{user_id}", "limit": 1}
    try:
        with open_relay(url, token, Scope.EVENTS_READ) as relay:
            page = relay.read(relay.get("/events", parameters), EventPage)
            events = [relay.read(document, EventAnswer) for document in page.events]
    except (CommandFailed, ConfigurationInvalid) as error:
        return None, str(error)
    if not events:
        return Desired(), None
    names = {field.name for field in fields(Desired)}
    entity = events[0].entity.model_dump(mode="json", include=names)
    return Desired(events[0].event_id, events[0].type, **entity), None


async def _check(
    settings: Settings,
    keys: Keys,
    user_id: str,
    trip_id: str,
    tables: Sequence[str],
    desired: Desired | None,
) -> Access:
    async with open_project(settings, keys) as project:
        user = project.as_user(user_id) or project.as_token_user()
        if user is None:
            raise ConfigurationInvalid(
                "SUPABASE_PUBLISHABLE_KEY is not set; with a secret key, reading as a user needs"
                " the key that apps hold"
            )
        return await check_access(
            project, user, user_id=user_id, trip_id=trip_id, tables=tables, desired=desired
        )


def _show(access: Access, relay_error: str | None) -> None:
    for reading in access.readings:
        _show_line(reading.table, reading.outcome, reading.detail)
    if access.readings:
        membership = access.membership
        row = "missing" if membership is None else f"{membership.role}, {membership.status}"
        _show_line("membership", row)
        existence = {True: "exists", False: "missing", None: "unknown"}
        _show_line("user", existence[access.has_user])
        _show_line("trip", existence[access.has_trip])
        result = {True: "true", False: "false", None: "cannot be called"}
        _show_line("is_trip_member", result[access.is_trip_member])
    desired = access.desired
    if desired is None:
        _show_line("relay", "could not be queried", relay_error or "")
    elif desired.state is None:
        _show_line("relay", "received no event about it")
    else:
        removed = ", no row" if desired.is_removed else ""
        _show_line("relay", f"{desired.state}{removed}", f"{desired.event_type} {desired.event_id}")
    console = output if access.verdict in _STYLES else errors
    console.print(Text(access.sentence, _STYLES.get(access.verdict, "yellow")))


def _show_topic(access: TopicAccess) -> None:
    join = Outcome.ALLOWED if access.join is Answer.ALLOWED else Outcome.DENIED
    style = _STYLES[join] if access.join is not None else "yellow"
    output.print(Text(f"{access.topic}\n  {access.sentence}", style))


def _show_line(name: str, value: str, detail: str = "") -> None:
    # Text, as the names of rows and events are no markup.
    line = Text(f"  {name:<20} ").append(value, _STYLES.get(value, ""))
    output.print(line.append(f"  {detail}", "dim") if detail else line)
