"""`relay access`: explain why a user can or cannot read a trip."""

import asyncio
import json
import logging
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Final

import typer
from rich.text import Text

from app.cli.client.relay_lookup import ask_relay
from app.cli.commands.doctor import TRIP_TABLES, JwtSecret, PublishableKey, UserToken
from app.cli.options import DEFAULT_URL, AsJson, Token, Url
from app.cli.output.console import errors, output
from app.cli.supabase_project import open_project, read_supabase_settings
from app.doctor.access import Access, Verdict, examine_access
from app.doctor.access_reasons import Desired
from app.doctor.inspection.app_keys import read_subject
from app.domain.errors import ConfigurationInvalid
from app.settings import Settings

_EXIT_CODES: Final = {
    Verdict.ALLOWED: 0,
    Verdict.DENIED: 1,
    Verdict.UNCHECKED: 2,
    Verdict.UNREACHABLE: 3,
}
# Of verdicts and of outcomes alike.
_STYLES: Final[Mapping[str, str]] = {"allowed": "green", "denied": "red"}


@dataclass(frozen=True, slots=True)
class Question:
    """Whether a user may read a trip, and with which keys to find out."""

    user_id: str
    trip_id: str
    tables: tuple[str, ...]
    publishable_key: str | None
    jwt_secret: str | None
    user_token: str | None

    @property
    def is_of_the_user(self) -> bool:
        """Whether the token that would be used is the user's; one that is signed here is."""
        if self.jwt_secret is not None or self.user_token is None:
            return True
        return read_subject(self.user_token) == self.user_id


def access(
    user: Annotated[uuid.UUID, typer.Option(help="Who.")],
    trip: Annotated[uuid.UUID, typer.Option(help="Which trip.")],
    url: Url = DEFAULT_URL,
    token: Token = None,
    publishable_key: PublishableKey = None,
    jwt_secret: JwtSecret = None,
    user_token: UserToken = None,
    table: Annotated[
        list[str] | None,
        typer.Option(help="A table to read by its trip_id; may be given several times."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Explain why a user can or cannot read a trip.

    It reads as the user, by a token signed with the project's JWT secret or by
    his own, reads the rows in Supabase with the relay's key, and asks the relay
    what it desires. Exit code 0: he may read; 1: he may not; 2: could not check;
    3: Supabase is not there. A relay that cannot be asked is said, no failure.

    Examples:
      relay access --user "$USER_ID" --trip "$TRIP_ID"
    """
    if user_token is None and jwt_secret is None:
        raise typer.BadParameter(
            "is needed to read as the user, or --user-token", param_hint="--jwt-secret"
        )
    question = Question(
        str(user), str(trip), tuple(table or TRIP_TABLES), publishable_key, jwt_secret, user_token
    )
    if not question.is_of_the_user:
        raise typer.BadParameter("is not a token of --user", param_hint="--user-token")
    raise typer.Exit(inquire(question, url, token, as_json=as_json))


def inquire(question: Question, url: str, token: str | None, *, as_json: bool) -> int:
    """Find out, show it, and give the exit code.

    Raises:
        ConfigurationInvalid: a setting or key is missing, or is none.
    """
    # What a library has to say is in the answer.
    logging.getLogger("app").addHandler(logging.NullHandler())
    settings, _ = read_supabase_settings()
    desired, silence = ask_relay(url, token, question.trip_id, question.user_id)
    answer = asyncio.run(_examine(settings, question, desired))
    if as_json:
        document = {
            "user": question.user_id,
            "trip": question.trip_id,
            **asdict(answer),
            "relay_silence": silence,
        }
        output.print_json(json.dumps(document))
    else:
        _show(answer, silence)
    return _EXIT_CODES[answer.verdict]


async def _examine(settings: Settings, question: Question, desired: Desired | None) -> Access:
    async with open_project(settings, question.publishable_key, question.jwt_secret) as project:
        user = await project.as_user(question.user_id)
        if user is None and question.user_token is not None:
            user = await project.with_token(question.user_token)
        if user is None:
            raise ConfigurationInvalid(
                "SUPABASE_PUBLISHABLE_KEY is not set: beside a secret key a user's token needs the"
                " key that apps have"
            )
        return await examine_access(
            project,
            user,
            settings.targets,
            user_id=question.user_id,
            trip_id=question.trip_id,
            tables=question.tables,
            desired=desired,
        )


def _show(answer: Access, silence: str | None) -> None:
    for reading in answer.readings:
        _show_line(reading.table, reading.outcome, reading.detail)
    if answer.readings:
        membership = answer.membership
        row = "no row" if membership is None else f"{membership.role}, {membership.status}"
        _show_line("membership", row)
        _show_line("user, trip", f"{_there(answer.has_user)}, {_there(answer.has_trip)}")
        _show_line("is_trip_member", _say(answer.is_trip_member))
    desired = answer.desired
    if desired is None:
        _show_line("relay", "could not be asked", silence or "")
    elif desired.state is None:
        _show_line("relay", "knows of no event about it")
    else:
        removed = ", no row" if desired.is_removed else ""
        _show_line("relay", f"{desired.state}{removed}", f"{desired.event_type} {desired.event_id}")
    console = output if answer.verdict in _STYLES else errors
    console.print(Text(answer.sentence, _STYLES.get(answer.verdict, "yellow")))


def _show_line(name: str, value: str, detail: str = "") -> None:
    # Made of texts: what a row or an event is called is no markup.
    line = Text(f"  {name:<20} ").append(value, _STYLES.get(value, ""))
    output.print(line.append(f"  {detail}", "dim") if detail else line)


def _there(is_there: bool | None) -> str:
    return {True: "there", False: "missing", None: "not seen"}[is_there]


def _say(answer: bool | None) -> str:
    return {True: "true", False: "false", None: "not there, or not to be asked"}[answer]
