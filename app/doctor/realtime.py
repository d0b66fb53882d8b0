"""Ask a project's database Realtime's own question: may this user join a topic, and send to it?

On a join to a private channel, Realtime writes a row of each extension into `realtime.messages` in
a transaction that it rolls back, becomes the user with the topic set, and looks which rows the user
can read. The first send is a trial insert of each extension as the user. This does the same
(`Realtime.Tenants.Authorization` in github.com/supabase/realtime). A row that is rolled back is
never sent.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from app.doctor.database import Caller, CallerUnavailable, StatementFailed, Transaction
from app.supabase.identifiers import quote_text

SCHEMA: Final = "realtime"
MESSAGES: Final = "realtime.messages"
_LACKS_PRIVILEGE: Final = "42501"
_NO_PARTITION: Final = "23514"
_NO_TABLE: Final = ("42P01", "3F000")


class Extension(StrEnum):
    """What a channel carries."""

    BROADCAST = "broadcast"
    PRESENCE = "presence"


class Answer(StrEnum):
    """Realtime's answer."""

    ALLOWED = "allowed"
    DENIED = "denied"
    RAISED = "raised"


class RealtimeUnavailable(Exception):
    """The question cannot be asked; the message says why."""


@dataclass(frozen=True, slots=True)
class Permissions:
    """What a user may do on a topic.

    Attributes:
        receive: by extension. A join needs one of them.
        send: by extension.
        error: PostgreSQL's message if a policy raised.
    """

    receive: Mapping[Extension, Answer]
    send: Mapping[Extension, Answer]
    error: str | None = None

    @property
    def can_join(self) -> bool:
        """Whether Realtime accepts the join."""
        return Answer.ALLOWED in self.receive.values()

    def list_allowed(self) -> list[str]:
        """List what is allowed, in words."""
        return [
            f"{verb} {extension}"
            for verb, answers in (("receive", self.receive), ("send", self.send))
            for extension, answer in answers.items()
            if answer is Answer.ALLOWED
        ]


def ask_realtime(transaction: Transaction, caller: Caller, topic: str) -> Permissions:
    """Ask as a caller about a topic.

    Raises:
        RealtimeUnavailable: Realtime itself would fail, or the URL's role cannot ask.
    """
    try:
        receive, read_error = _try_receiving(transaction, caller, topic)
        send, write_error = _try_sending(transaction, caller, topic)
    except CallerUnavailable as error:
        raise RealtimeUnavailable(str(error)) from error
    return Permissions(receive, send, read_error or write_error)


def _try_receiving(
    transaction: Transaction, caller: Caller, topic: str
) -> tuple[dict[Extension, Answer], str | None]:
    probes = {extension: str(uuid.uuid4()) for extension in Extension}
    with transaction.undone():
        for extension, probe in probes.items():
            _insert_as_owner(transaction, topic, extension, probe)
        with transaction.as_caller(caller, topic=topic):
            ids = ", ".join(map(quote_text, probes.values()))
            try:
                rows = transaction.run(f"select id::text from {MESSAGES} where id in ({ids})")  # noqa: S608 - quoted
            except StatementFailed as error:
                return dict.fromkeys(Extension, Answer.RAISED), str(error)
    seen = {probe for (probe,) in rows}
    return {
        extension: Answer.ALLOWED if probe in seen else Answer.DENIED
        for extension, probe in probes.items()
    }, None


def _try_sending(
    transaction: Transaction, caller: Caller, topic: str
) -> tuple[dict[Extension, Answer], str | None]:
    answers: dict[Extension, Answer] = {}
    with transaction.as_caller(caller, topic=topic):
        for extension in Extension:
            try:
                transaction.run(_write_insert(topic, extension, str(uuid.uuid4())))
                answers[extension] = Answer.ALLOWED
            except StatementFailed as error:
                if error.code != _LACKS_PRIVILEGE:
                    return dict.fromkeys(Extension, Answer.RAISED), str(error)
                answers[extension] = Answer.DENIED
    return answers, None


def _insert_as_owner(
    transaction: Transaction, topic: str, extension: Extension, probe: str
) -> None:
    try:
        transaction.run(_write_insert(topic, extension, probe))
    except StatementFailed as error:
        raise RealtimeUnavailable(_explain_unavailable(error)) from error


def _write_insert(topic: str, extension: Extension, probe: str) -> str:
    values = ", ".join(map(quote_text, (probe, topic, extension)))
    columns = "id, topic, extension, inserted_at, updated_at"
    # Realtime's partitions are days of UTC.
    now = "now() at time zone 'utc'"
    return f"insert into {MESSAGES} ({columns}) values ({values}, {now}, {now})"  # noqa: S608 - quoted


def _explain_unavailable(error: StatementFailed) -> str:
    if error.code in _NO_TABLE:
        return f"the project has no table {MESSAGES}: Realtime has never run"
    if error.code == _NO_PARTITION:
        return (
            f"{MESSAGES} has no partition for today: Realtime creates it when a client connects,"
            " and rejects joins with MissingPartition until then"
        )
    if error.code == _LACKS_PRIVILEGE:
        return f"the role of --db-url may not insert into {MESSAGES}; use the role postgres"
    return f"{MESSAGES} rejects a row: {error}"
