"""The target of the event and batch reader: InputInvalid alone, and nothing unfit gets through.

An input is a webhook-id and a body; the body is read as an event, as a batch and as a replay.
"""

import json
from typing import Final

from app.api.replay_bodies import ReplayBody
from app.api.request_body import parse_body
from app.domain.contract import MAXIMUM_AHEAD_SECONDS, MAXIMUM_BATCH_EVENTS
from app.domain.documents import write_row
from app.domain.entities import Kind
from app.domain.errors import FieldError, InputInvalid
from app.domain.event_reader import BatchItem, EventReader
from app.domain.events import Event
from app.domain.instants import from_seconds, to_datetime
from tests.fuzz.harness import join, split

NOW: Final = from_seconds(1_767_323_045)
READER: Final = EventReader(roles=("OWNER", "ADMIN", "MEMBER"), statuses=("ACTIVE", "INACTIVE"))

_FIELDS: Final[dict[Kind, tuple[set[str], set[str]]]] = {
    Kind.USER: ({"id"}, {"email", "username"}),
    Kind.TRIP: ({"id"}, {"name", "created_by"}),
    Kind.MEMBERSHIP: ({"trip_id", "user_id"}, {"role", "status"}),
}


def check(data: bytes, reader: EventReader = READER) -> bool:
    """Check the readers; return whether the body is an event, or a batch with one."""
    first, second = split(data, 2)
    event_id, body = (first or b"").decode("latin-1"), second or b""
    event = _read_event(reader, event_id, body)
    items = _read_batch(reader, body)
    _read_replay(body)
    if event is not None:
        _check_event(event)
        assert event.event_id == event_id
        assert event == _read_event(reader, event_id, body), "the same bytes, another event"
        _check_alike_by_batch(reader, event, body)
    return event is not None or any(item.event is not None for item in items)


def _read_event(reader: EventReader, event_id: str, body: bytes) -> Event | None:
    try:
        return reader.read_event(event_id, body, now=NOW)
    except InputInvalid as error:
        _check_errors(error.errors)
        return None


def _read_batch(reader: EventReader, body: bytes) -> list[BatchItem]:
    try:
        items = reader.read_batch(body, now=NOW)
    except InputInvalid as error:
        _check_errors(error.errors)
        return []
    assert 1 <= len(items) <= MAXIMUM_BATCH_EVENTS
    for item in items:
        if item.event is None:
            _check_errors(item.errors)
            _check_text(item.event_id or "")
        else:
            assert not item.errors
            assert item.event.event_id == item.event_id
            _check_event(item.event)
    return items


def _read_replay(body: bytes) -> None:
    try:
        form = parse_body(ReplayBody, body)
    except InputInvalid as error:
        _check_errors(error.errors)
    else:
        assert form.all != (form.event_ids is not None or form.status is not None)


def _check_alike_by_batch(reader: EventReader, event: Event, body: bytes) -> None:
    """Hold the way by a batch to the way alone; `id` is a member there, and just dropped here."""
    document = json.loads(body)
    if "id" in document:
        return
    # Spliced, not written anew: numbers keep their spelling.
    rest = body.decode().lstrip().removeprefix("{")
    text = f'{{"events":[{{"id":{json.dumps(event.event_id)},{rest}]}}'
    try:
        (item,) = reader.read_batch(text.encode(), now=NOW)
    except InputInvalid as error:
        details = [problem.detail for problem in error.errors]
    else:
        details = [problem.detail for problem in item.errors]
        if not details:
            assert item.event == event
            return
    # The batch adds two levels.
    assert details == ["is nested too deeply"]


def _check_event(event: Event) -> None:
    assert 1 <= len(event.event_id) <= 255
    assert all("!" <= character <= "~" for character in event.event_id)
    ids, rest = _FIELDS[event.kind]
    is_deleted = event.type.endswith(".deleted")
    data = json.loads(event.data)
    assert data.keys() == (ids if is_deleted else ids | rest), "more or less than permissions need"
    assert event.data == write_row(data), "not canonical"
    assert event.row == (None if is_deleted else event.data)
    for text in (event.event_id, event.key, event.trip_id or "", event.user_id or "", event.data):
        _check_text(text)
    for value in data.values():
        assert isinstance(value, str)
        _check_text(value)
    assert event.is_removal == (is_deleted or data.get("status", "ACTIVE") != "ACTIVE")
    assert event.occurred_at <= NOW + MAXIMUM_AHEAD_SECONDS * 1_000_000
    assert -(2**63) <= event.occurred_at < 2**63
    assert to_datetime(event.occurred_at).tzinfo is not None
    assert len(event.digest) == 32


def _check_errors(errors: tuple[FieldError, ...]) -> None:
    assert errors
    for error in errors:
        assert error.pointer == "" or error.pointer.startswith("/")
        assert error.detail
        # As in the problem response.
        error.pointer.encode()
        error.detail.encode()


def _check_text(text: str) -> None:
    """Hold a text to what PostgreSQL can store."""
    assert "\x00" not in text
    text.encode()


USER: Final = "123e4567-e89b-12d3-a456-426614174000"
TRIP: Final = "456E7890-E89B-12D3-A456-426614174001"
_TIME: Final = '"2026-01-02T03:04:05.678901234Z"'
_USER_DATA: Final = f'{{"id":"{USER}","email":"a@b.c","username":"ada"}}'
_TRIP_DATA: Final = f'{{"id":"{TRIP}","name":"Lisbon","created_by":"{USER}"}}'
_IDS: Final = f'"trip_id":"{TRIP}","user_id":"{USER}"'
_MEMBERSHIP_DATA: Final = f'{{{_IDS},"role":"MEMBER","status":"ACTIVE"}}'


def _text(
    event_type: str = '"user.created"', data: str = _USER_DATA, time: str = _TIME, more: str = ""
) -> str:
    return f'{{"type":{event_type},"timestamp":{time},"data":{data}{more}}}'


def _event(
    event_type: str = '"user.created"',
    data: str = _USER_DATA,
    time: str = _TIME,
    *,
    event_id: bytes = b"evt_1",
    more: str = "",
) -> bytes:
    return join(event_id, _text(event_type, data, time, more).encode())


def _user(email: str = '"a@b.c"', username: str = '"ada"', user_id: str = USER) -> bytes:
    return _event(data=f'{{"id":"{user_id}","email":{email},"username":{username}}}')


def _with(more: str) -> bytes:
    """Make an event whose data has one member more."""
    return _event(data=f'{_USER_DATA[:-1]},"more":{more}}}')


def _at(time: str) -> bytes:
    return _event(time=f'"{time}"')


def _batch(*items: str) -> bytes:
    return join(b"batch_1", f'{{"events":[{",".join(items)}]}}'.encode())


def _item(event_id: str) -> str:
    return f'{{"id":{event_id},{_text()[1:]}'


def _raw(body: bytes) -> bytes:
    return join(b"evt_1", body)


_BOM: Final = b"\xef\xbb\xbf"

ACCEPTED: Final = {
    "user": _event(),
    "user updated": _event('"user.updated"'),
    "user deleted": _event('"user.deleted"'),
    "trip": _event('"trip.created"', _TRIP_DATA),
    "trip updated": _event('"trip.updated"', _TRIP_DATA),
    "trip deleted": _event('"trip.deleted"', _TRIP_DATA),
    "membership": _event('"membership.created"', _MEMBERSHIP_DATA),
    "membership inactive": _event(
        '"membership.updated"', f'{{{_IDS},"role":"OWNER","status":"INACTIVE"}}'
    ),
    "membership deleted": _event('"membership.deleted"', f"{{{_IDS}}}"),
    "escaped names": _event('"\\u0075ser.created"', more=',"\\u0000":1'),
    "line separators": _user(username='"\\u2028\\u2029\\ufeff\\u202e"'),
    "noncharacters": _user(username='"\\uffff\\ufdd0"'),
    "surrogate pair": _user(username='"\\ud83d\\ude00"'),
    "longest e-mail": _user(email=f'"{"e" * 320}"'),
    "longest name": _user(username=f'"{"😀" * 1000}"'),
    "empty name": _user(username='""'),
    "capital id": _user(user_id=USER.upper()),
    "nil id": _user(user_id="0" * 8 + "-0000-0000-0000-" + "0" * 12),
    "longest id": _event(event_id=b"i" * 255),
    "id of signs": _event(event_id=b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"),
    "dropped number huge": _with("9" * 4000),
    "dropped number overflowing": _with("1e999"),
    "dropped number minus zero": _with("-0"),
    "dropped surrogate": _with('"\\ud800"'),
    "dropped NUL": _with('{"\\u0000":"\\u0000"}'),
    "dropped nesting": _with("[" * 300 + "]" * 300),
    "id beside": _event(more=',"id":7'),
    "white space": _raw(b" \t\r\n" + _text().encode() + b"\n"),
    "first moment": _at("2000-01-01t00:00:00z"),
    "five minutes ahead": _at("2026-01-02T03:09:05Z"),
    "year 10000 by offset": _at("2026-01-03T03:04:05+23:59"),
    "leap day": _at("2024-02-29T00:00:00-00:00"),
    "batch": _batch(_item('"evt_1"'), _item('"evt_2"'), _item('"evt_1"')),
    "batch with a fault": _batch(_item('"evt_1"'), "null", _item("7"), '{"id":"\\ud800"}'),
    "longest batch": _batch(*["1"] * 999, _item('"evt_1"')),
}

REFUSED: Final = {
    "nothing": b"",
    "empty body": _raw(b""),
    "BOM": _raw(_BOM + _text().encode()),
    "UTF-16": _raw(_text().encode("utf-16")),
    "UTF-16 without BOM": _raw(_text().encode("utf-16-le")),
    "UTF-32": _raw(_text().encode("utf-32")),
    "Latin-1": _raw(_text().replace("ada", "\xe9").encode("latin-1")),
    "overlong UTF-8": _raw(_text().encode().replace(b"ada", b"\xc0\x80")),
    "surrogate in UTF-8": _raw(_text().encode().replace(b"ada", b"\xed\xa0\x80")),
    "beyond Unicode": _raw(_text().encode().replace(b"ada", b"\xf4\x90\x80\x80")),
    "raw NUL": _raw(_text().encode().replace(b"ada", b"a\x00")),
    "raw control": _raw(_text().encode().replace(b"ada", b"a\x1f")),
    "NUL after": _raw(_text().encode() + b"\x00"),
    "two documents": _raw(_text().encode() * 2),
    "comma after": _raw(_text().encode()[:-1] + b",}"),
    "comment": _raw(b"/**/" + _text().encode()),
    "single quotes": _raw(_text().replace('"', "'").encode()),
    "no-break space": _raw(b"\xc2\xa0" + _text().encode()),
    "cut short": _raw(_text().encode()[:-1]),
    "a list": _raw(b"[]"),
    "a number": _raw(b"1"),
    "a huge number": _raw(b"9" * 5000),
    "true": _raw(b"true"),
    "NaN": _raw(b"NaN"),
    "NaN within": _with("NaN"),
    "Infinity within": _with("-Infinity"),
    "nested deeply": _raw(b"[" * 100_000 + b"]" * 100_000),
    "objects nested deeply": _raw(b'{"a":' * 5000 + b"1" + b"}" * 5000),
    "data nested deeply": _with("[" * 4000 + "]" * 4000),
    "number within huge": _with("9" * 5000),
    "type twice": _event(more=',"type":"user.deleted"'),
    "key twice within": _with('{"a":1,"a":1}'),
    "key twice by escape": _event(more=',"\\u0074ype":"user.deleted"'),
    "type true": _event("true"),
    "type an object": _event('{"user.created":1}'),
    "type with NUL": _event('"user.created\\u0000"'),
    "type in capitals": _event('"USER.CREATED"'),
    "type unknown": _event('"user.renamed"'),
    "data null": _event(data="null"),
    "data a list": _event(data=f"[{_USER_DATA}]"),
    "data a text": _event(data=json.dumps(_USER_DATA)),
    "surrogate": _user(username='"\\ud800"'),
    "surrogates turned round": _user(username='"\\ude00\\ud83d"'),
    "NUL": _user(username='"a\\u0000"'),
    "NUL alone": _user(email='"\\u0000"'),
    "name true": _user(username="true"),
    "name a number": _user(username="1e999"),
    "name too long": _user(username=f'"{"n" * 1001}"'),
    "e-mail empty": _user(email='""'),
    "e-mail too long": _user(email=f'"{"e" * 321}"'),
    "id with line end": _user(user_id=USER + "\\n"),
    "id in braces": _user(user_id="{" + USER[:-2] + "}"),
    "id without hyphens": _user(user_id=USER.replace("-", "")),
    "id in full-width digits": _user(user_id=USER.replace("1", "\uff11")),
    "role unknown": _event('"membership.created"', f'{{{_IDS},"role":"KING","status":"ACTIVE"}}'),
    "role a list": _event('"membership.created"', f'{{{_IDS},"role":["OWNER"],"status":"ACTIVE"}}'),
    "status in small letters": _event(
        '"membership.created"', f'{{{_IDS},"role":"OWNER","status":"active"}}'
    ),
    "status a surrogate": _event(
        '"membership.created"', f'{{{_IDS},"role":"OWNER","status":"\\udfff"}}'
    ),
    "time naive": _at("2026-01-02T03:04:05"),
    "time a number": _event(time="1767323045"),
    "time true": _event(time="true"),
    "time with NUL": _at("2026-01-02T03:04:05Z\\u0000"),
    "time with line end": _at("2026-01-02T03:04:05Z\\n"),
    "time of Go when unset": _at("0001-01-01T00:00:00Z"),
    "time before what a datetime holds": _at("0001-01-01T00:00:00+23:59"),
    "time of Unix when unset": _at("1970-01-01T00:00:00Z"),
    "time just before 2000": _at("1999-12-31T23:59:59.999999999Z"),
    "time ahead": _at("2026-01-02T03:09:05.000001Z"),
    "time far ahead": _at("9999-12-31T23:59:59-23:59"),
    "time with ten digits": _at("2026-01-02T03:04:05.0123456789Z"),
    "time of a leap second": _at("2016-12-31T23:59:60Z"),
    "time of no such day": _at("2023-02-29T00:00:00Z"),
    "time of year 0": _at("0000-01-01T00:00:00Z"),
    "time at 24 hours": _at("2026-01-01T24:00:00Z"),
    "time with offset 24": _at("2026-01-01T00:00:00+24:00"),
    "time in Arabic digits": _at("٢٠٢٦-01-02T03:04:05Z"),
    "webhook-id empty": _event(event_id=b""),
    "webhook-id too long": _event(event_id=b"i" * 256),
    "webhook-id with space": _event(event_id=b"evt 1"),
    "webhook-id with line end": _event(event_id=b"evt_1\n"),
    "webhook-id with NUL": _event(event_id=b"evt\x001"),
    "webhook-id DEL": _event(event_id=b"\x7f"),
    "webhook-id Latin-1": _event(event_id=b"\xe9"),
    "batch empty": _batch(),
    "batch too long": _batch(*["1"] * 1001),
    "batch of null": _raw(b'{"events":null}'),
    "batch of nothing valid": _batch("null", "true", "[]", _item('""'), _item('"\\u0000"')),
    "batch twice": _raw(b'{"events":[],"events":[]}'),
    "replay": _raw(b'{"event_ids":["\\ud800","\\u0000",""],"dry_run":true}'),
    "replay of surrogates": _raw(b'{"\\ud800":1,"\\u0000~/":[]}'),
    "replay of what is not": _raw(b'{"all":1,"status":{"\\ud800":[]},"dry_run":"true"}'),
    "replay of everything twice": _raw(b'{"all":true,"status":"dead"}'),
}
