"""Which bodies become events; every error is named by pointer and quotes no value."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.contract import (
    DATA_SCHEMAS,
    EARLIEST_TIMESTAMP,
    MAXIMUM_AHEAD_SECONDS,
    MAXIMUM_BATCH_EVENTS,
)
from app.domain.entities import Kind
from app.domain.errors import FieldError, InputInvalid
from app.domain.event_reader import BatchItem, EventReader, is_event_id
from app.domain.events import Event, EventType
from app.domain.instants import Instant, after, parse_timestamp

GOLDEN = Path(__file__).parents[1] / "golden/events"
INVALID: list[dict[str, Any]] = json.loads((GOLDEN / "invalid.json").read_text())["bodies"]

NOW = parse_timestamp("2026-01-02T03:04:06Z")
TIMESTAMP = "2026-01-02T03:04:05Z"
USER_ID = "123e4567-e89b-12d3-a456-426614174000"
TRIP_ID = "456e7890-e89b-12d3-a456-426614174001"
DATA: dict[str, dict[str, Any]] = {
    "user": {"id": USER_ID, "email": "ada@example.com", "username": "ada"},
    "trip": {"id": TRIP_ID, "name": "Lisbon", "created_by": USER_ID},
    "membership": {
        "trip_id": TRIP_ID,
        "user_id": USER_ID,
        "role": "MEMBER",
        "status": "ACTIVE",
    },
}
READER = EventReader(roles=("OWNER", "ADMIN", "MEMBER"), statuses=("ACTIVE", "INACTIVE"))


def make_body(event_type: str = "user.created", **changes: object) -> dict[str, Any]:
    """Make a valid body with changes to `data`, or to the type or timestamp."""
    top = {name: changes.pop(name) for name in ("type", "timestamp") if name in changes}
    data = DATA[event_type.partition(".")[0]] | changes
    return {"type": event_type, "timestamp": TIMESTAMP, "data": data} | top


def read(body: object, *, event_id: str = "evt_1", now: Instant = NOW) -> Event:
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    return READER.read_event(event_id, encoded, now=now)


def read_batch(items: object) -> list[BatchItem]:
    return READER.read_batch(json.dumps({"events": items}).encode(), now=NOW)


def find_errors(body: object, *, event_id: str = "evt_1", now: Instant = NOW) -> list[FieldError]:
    with pytest.raises(InputInvalid) as caught:
        read(body, event_id=event_id, now=now)
    return list(caught.value.errors)


# Golden bodies


@pytest.mark.parametrize("event_type", EventType)
def test_event_of_a_golden_body_matches_the_golden_event(event_type: EventType) -> None:
    golden = json.loads((GOLDEN / f"{event_type}.json").read_text())
    event = read(golden["body"])
    assert (event.event_id, event.type) == ("evt_1", event_type)
    assert {name: getattr(event, name) for name in golden["event"]} == golden["event"]


@pytest.mark.parametrize("golden", INVALID, ids=lambda golden: golden["name"])
def test_event_of_a_golden_invalid_body_is_rejected_at_its_pointers(
    golden: dict[str, Any],
) -> None:
    body = golden["text"].encode() if "text" in golden else golden["body"]
    errors = find_errors(body)
    assert sorted(error.pointer for error in errors) == sorted(golden["pointers"])
    assert all(error.detail for error in errors)


@pytest.mark.parametrize("event_type", EventType)
def test_event_type_has_a_schema(event_type: EventType) -> None:
    assert event_type in DATA_SCHEMAS


# Kept fields


@pytest.mark.parametrize(
    "event_type", ["user.updated", "trip.updated", "membership.updated", "membership.deleted"]
)
def test_event_with_unknown_fields_drops_them(event_type: str) -> None:
    plain = read(make_body(event_type))
    more = read(
        make_body(event_type, phone="+351", deleted_at=None, nested={"\ud800": [-1.5e300, "\0"]})
        | {"source": "backend"}
    )
    assert (more.row, more.data, more.key) == (plain.row, plain.data, plain.key)
    assert "351" not in more.data


OPEN_READER = EventReader(
    roles=("MEMBER",),
    statuses=("ACTIVE",),
    extra_fields={Kind.TRIP: ("start_date", "latitude", "is_public"), Kind.MEMBERSHIP: ("note",)},
)


def read_open(body: dict[str, Any]) -> Event:
    return OPEN_READER.read_event("evt_1", json.dumps(body).encode(), now=NOW)


@pytest.mark.parametrize("event_type", ["trip.created", "trip.updated"])
def test_extra_fields_follow_the_contract_in_configured_order(
    event_type: str,
) -> None:
    more = {"is_public": False, "latitude": 38.7223, "note": "x", "start_date": None, "phone": "1"}
    body = make_body(event_type, **more)
    body["data"] = dict(reversed(body["data"].items()))
    event = read_open(body)
    assert event.row == event.data
    assert list(json.loads(event.data).items()) == [
        *DATA["trip"].items(),
        ("start_date", None),
        ("latitude", 38.7223),
        ("is_public", False),
    ]


def test_extra_fields_not_sent_are_absent() -> None:
    assert json.loads(read_open(make_body("trip.created", latitude=1)).data) == DATA["trip"] | {
        "latitude": 1
    }
    assert read_open(make_body("trip.created")).row == read(make_body("trip.created")).row


@pytest.mark.parametrize("event_type", ["trip.deleted", "membership.deleted", "user.created"])
def test_extra_fields_of_another_kind_are_dropped(event_type: str) -> None:
    more = {"note": "x", "latitude": 1, "start_date": "x"}
    assert read_open(make_body(event_type, **more)).data == read(make_body(event_type)).data


@pytest.mark.parametrize(
    ("changes", "pointers"),
    [
        ({"latitude": [1]}, ["/data/latitude"]),
        ({"latitude": {}, "start_date": "a\0"}, ["/data/latitude", "/data/start_date"]),
        ({"latitude": {}, "name": 1}, ["/data/latitude", "/data/name"]),
    ],
)
def test_extra_fields_that_are_invalid_are_named_with_all_errors(
    changes: dict[str, object], pointers: list[str]
) -> None:
    with pytest.raises(InputInvalid) as caught:
        read_open(make_body("trip.created", **changes))
    assert sorted(error.pointer for error in caught.value.errors) == pointers


@pytest.mark.parametrize("data", [None, [], "latitude", 1])
def test_data_not_an_object_has_no_extra_fields(data: object) -> None:
    body = make_body("trip.created") | {"data": data}
    with pytest.raises(InputInvalid):
        read_open(body)


def test_removal_with_a_whole_row_keeps_only_its_ids() -> None:
    event = read(make_body("membership.deleted"))
    assert json.loads(event.data) == {"trip_id": TRIP_ID, "user_id": USER_ID}
    assert event.row is None


@pytest.mark.parametrize("event_type", ["user.created", "trip.created", "membership.created"])
def test_row_sent_in_any_order_has_the_order_of_the_contract(event_type: str) -> None:
    body = make_body(event_type)
    reverse = {**body, "data": dict(reversed(body["data"].items()))}
    assert read(reverse).row == read(body).row


@pytest.mark.parametrize(
    ("event_type", "field"),
    [
        ("user.created", "id"),
        ("trip.created", "id"),
        ("trip.created", "created_by"),
        ("membership.created", "trip_id"),
        ("membership.created", "user_id"),
    ],
)
def test_uuid_in_upper_case_is_lowered(event_type: str, field: str) -> None:
    lower = make_body(event_type)
    upper = make_body(event_type, **{field: lower["data"][field].upper()})
    event = read(upper)
    assert (event.row, event.key) == (read(lower).row, read(lower).key)
    assert (event.trip_id, event.user_id) == (read(lower).trip_id, read(lower).user_id)


@pytest.mark.parametrize(
    ("event_type", "field", "limit"),
    [
        ("user.created", "email", 320),
        ("user.created", "username", 1000),
        ("trip.created", "name", 1000),
    ],
)
@pytest.mark.parametrize("character", ["a", "é", "\U0001f30d"])
def test_string_is_accepted_up_to_its_limit_in_characters(
    event_type: str, field: str, limit: int, character: str
) -> None:
    longest = character * limit
    assert json.loads(read(make_body(event_type, **{field: longest})).data)[field] == longest
    assert find_errors(make_body(event_type, **{field: longest + character})) == [
        FieldError(f"/data/{field}", f"must be at most {limit} characters")
    ]


@pytest.mark.parametrize(
    "text", ["x", "not an address", " ", "a@b\n", '"\\', "\x01\x7f", "\U0010ffff", "' OR 1=1 --"]
)
def test_email_of_any_form_is_accepted(text: str) -> None:
    assert json.loads(read(make_body(email=text, username=text)).data)["email"] == text


@pytest.mark.parametrize("event_type", ["user.created", "trip.created"])
def test_name_may_be_empty(event_type: str) -> None:
    read(make_body(event_type, username="", name=""))


def test_roles_and_statuses_outside_the_settings_are_rejected() -> None:
    reader = EventReader(roles=["KING"], statuses=["ACTIVE", "PAUSED"])
    body = make_body("membership.created", role="KING", status="PAUSED")
    assert reader.read_event("evt_1", json.dumps(body).encode(), now=NOW).is_removal
    with pytest.raises(InputInvalid) as caught:
        reader.read_event("evt_1", json.dumps(make_body("membership.created")).encode(), now=NOW)
    assert caught.value.errors == (FieldError("/data/role", "must be one of KING"),)


# Errors

INVALID_FIELDS: list[tuple[str, str, object, str]] = [
    ("user.created", "email", "", "must not be empty"),
    ("user.created", "email", "a\0", "must not contain NUL"),
    ("user.created", "email", "\ud800", "must not contain lone surrogates"),
    ("user.created", "email", None, "must be a string"),
    ("user.created", "username", 10**4000, "must be a string"),
    ("user.created", "username", 1.5e300, "must be a string"),
    ("user.created", "id", "ada", "must be a UUID"),
    ("user.created", "id", f"{USER_ID}\n", "must be a UUID"),
    ("user.created", "id", f"\0{USER_ID}", "must be a UUID"),
    ("user.created", "id", "\udc00", "must not contain lone surrogates"),
    ("user.deleted", "id", 7, "must be a string"),
    ("trip.created", "name", ["Lisbon"], "must be a string"),
    ("trip.created", "created_by", "", "must be a UUID"),
    ("membership.created", "role", "KING", "must be one of OWNER, ADMIN, MEMBER"),
    ("membership.created", "role", "MEMBER\0", "must be one of OWNER, ADMIN, MEMBER"),
    ("membership.created", "role", "\ud800", "must be one of OWNER, ADMIN, MEMBER"),
    ("membership.created", "role", False, "must be a string"),
    ("membership.created", "status", "active", "must be one of ACTIVE, INACTIVE"),
]


@pytest.mark.parametrize(("event_type", "field", "value", "detail"), INVALID_FIELDS)
def test_event_with_one_invalid_field_names_it(
    event_type: str, field: str, value: object, detail: str
) -> None:
    assert find_errors(make_body(event_type, **{field: value})) == [
        FieldError(f"/data/{field}", detail)
    ]


@pytest.mark.parametrize(
    ("event_type", "fields"), [(f"{kind}.created", DATA[kind]) for kind in DATA]
)
def test_event_without_one_field_names_it_as_required(
    event_type: str, fields: dict[str, Any]
) -> None:
    for field in fields:
        body = make_body(event_type)
        del body["data"][field]
        assert find_errors(body) == [FieldError(f"/data/{field}", "is required")]


@pytest.mark.parametrize("field", ["type", "timestamp", "data"])
def test_event_without_one_part_names_it_as_required(field: str) -> None:
    body = make_body()
    del body[field]
    assert find_errors(body) == [FieldError(f"/{field}", "is required")]


@pytest.mark.parametrize("data", [None, [], "x", 1, True, [DATA["user"]]])
def test_event_with_data_not_an_object_is_rejected(data: object) -> None:
    assert find_errors(make_body() | {"data": data}) == [FieldError("/data", "must be an object")]


@pytest.mark.parametrize("body", [b"null", b"1", b"true", b'"x"', b"[]", b"[{}]", b"1e400"])
def test_event_not_an_object_is_rejected(body: bytes) -> None:
    assert find_errors(body) == [FieldError("", "must be an object")]


@pytest.mark.parametrize(
    "body",
    [
        b'{"type": "user.deleted", "timestamp": "' + b"1" * 60_000,
        b'{"more": %s}' % (b"1" * 60_000),
        b'{"more": %s}' % (b"[" * 30_000 + b"]" * 30_000),
        b'{"more": %s}' % (b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
        json.dumps(make_body(email="\xff")).encode("latin-1") + b"\xff",
    ],
    ids=["cut", "huge integer", "deep arrays", "deep objects", "broken UTF-8"],
)
def test_event_not_in_json_is_rejected_at_the_root(body: bytes) -> None:
    assert [error.pointer for error in find_errors(body)] == [""]


# Timestamps


def test_timestamp_with_nine_digits_is_cut_not_rounded() -> None:
    event = read(make_body(timestamp="2026-01-02T03:04:05.678901999Z"))
    assert event.occurred_at == parse_timestamp("2026-01-02T03:04:05.678901Z")


@pytest.mark.parametrize(
    "value",
    ["2026-01-02T03:04:05", "2026-01-02", "", "soon", 1_767_323_045, 1.5, None, True, [], {}],
)
def test_timestamp_without_offset_or_in_another_form_is_rejected(value: object) -> None:
    assert find_errors(make_body(timestamp=value)) == [
        FieldError("/timestamp", "must be an RFC 3339 date-time with an offset")
    ]


def test_timestamp_five_minutes_ahead_is_the_last_accepted() -> None:
    body = make_body(timestamp="2026-01-02T03:09:06Z")
    assert read(body).occurred_at == after(NOW, MAXIMUM_AHEAD_SECONDS)
    late = make_body(timestamp="2026-01-02T03:09:06.000001Z")
    assert find_errors(late) == [FieldError("/timestamp", "is more than 300 s ahead of the clock")]
    assert read(late, now=Instant(NOW + 1)).occurred_at == after(NOW, 300) + 1


def test_timestamp_ahead_only_in_its_time_zone_is_accepted() -> None:
    assert read(make_body(timestamp="2026-01-02T17:04:06+14:00")).occurred_at == NOW


@pytest.mark.parametrize("value", ["2000-01-01T00:00:00Z", "1999-12-31T12:00:00-12:00"])
def test_timestamp_long_ago_is_accepted(value: str) -> None:
    assert read(make_body(timestamp=value)).occurred_at == EARLIEST_TIMESTAMP


@pytest.mark.parametrize("event_type", EventType)
@pytest.mark.parametrize(
    "value",
    [
        "0001-01-01T00:00:00Z",  # Go's zero time
        "0001-01-01T00:00:00+23:59",  # before what a datetime can hold
        "1970-01-01T00:00:00Z",
        "1999-12-31T23:59:59.999999999Z",
        "2000-01-01T00:00:00+00:01",
    ],
)
def test_timestamp_before_2000_is_rejected(event_type: EventType, value: str) -> None:
    (error,) = find_errors(make_body(event_type, timestamp=value))
    assert error.pointer == "/timestamp"
    assert "before 2000-01-01T00:00:00Z" in error.detail
    assert "never set" in error.detail


@given(st.datetimes(), st.integers(-23 * 60 - 59, 23 * 60 + 59))
def test_timestamp_is_accepted_exactly_from_2000_to_five_minutes_ahead(
    moment: datetime, offset_minutes: int
) -> None:
    hours, minutes = divmod(abs(offset_minutes), 60)
    sign = "-" if offset_minutes < 0 else "+"
    text = f"{moment.isoformat()}{sign}{hours:02}:{minutes:02}"
    since_2000 = moment - datetime(2000, 1, 1) - timedelta(minutes=offset_minutes)  # noqa: DTZ001
    until_last = datetime(2026, 1, 2, 3, 9, 6) - moment + timedelta(minutes=offset_minutes)  # noqa: DTZ001
    if min(since_2000, until_last) < timedelta():
        assert [error.pointer for error in find_errors(make_body(timestamp=text))] == ["/timestamp"]
    else:
        assert read(make_body(timestamp=text)).occurred_at == parse_timestamp(text)


# Ids


@pytest.mark.parametrize(
    "event_id", ["a", "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", "!~", "a.b", "x" * 255]
)
def test_event_id_of_visible_ascii_is_accepted(event_id: str) -> None:
    assert is_event_id(event_id)
    assert read(make_body(), event_id=event_id).event_id == event_id


@pytest.mark.parametrize("event_id", ["", "x" * 256, "a b", "a\n", "\0", "\x7f", "é", "\ud800"])
def test_event_id_of_another_form_is_rejected_with_all_errors(event_id: str) -> None:
    assert not is_event_id(event_id)
    errors = find_errors(make_body(email=1), event_id=event_id)
    assert errors == [
        FieldError("", "webhook-id must be 1 to 255 visible ASCII characters"),
        FieldError("/data/email", "must be a string"),
    ]


# Digests


def test_digest_of_a_body_in_another_order_and_spacing_is_equal() -> None:
    body = make_body("membership.created", more={"b": 1, "a": [1, 2]})
    other = {
        name: dict(reversed(part.items())) if isinstance(part, dict) else part
        for name, part in reversed(body.items())
    }
    other["data"]["more"] = {"a": [1, 2], "b": 1}
    spaced = json.dumps(other, indent=4).encode() + b"\n\n"
    assert read(spaced).digest == read(body).digest


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "user.updated"},
        {"timestamp": "2026-01-02T03:04:04Z"},
        {"email": "eve@example.com"},
        {"username": "Ada"},
        {"id": TRIP_ID},
        {"more": None},  # a field that is dropped is still part of what was sent
    ],
)
def test_digest_of_a_body_with_another_value_differs(changes: dict[str, Any]) -> None:
    assert read(make_body(**changes)).digest != read(make_body()).digest


def test_digest_of_an_event_alone_and_in_a_batch_is_equal() -> None:
    item = read_batch([{"id": "evt_1"} | make_body()])[0]
    assert item.event == read(make_body())


# Batches


def make_items(count: int) -> list[dict[str, Any]]:
    return [{"id": f"evt_{index}"} | make_body("membership.created") for index in range(count)]


@pytest.mark.parametrize("count", [1, 2, MAXIMUM_BATCH_EVENTS])
def test_batch_within_its_bounds_is_read_in_the_order_sent(count: int) -> None:
    items = read_batch(make_items(count))
    assert [item.event_id for item in items] == [f"evt_{index}" for index in range(count)]
    assert all(item.event is not None and not item.errors for item in items)


@pytest.mark.parametrize(
    ("document", "pointer", "detail"),
    [
        ({"events": []}, "/events", "must hold 1 to 1000 events"),
        ({"events": [0] * 1001}, "/events", "must hold 1 to 1000 events"),
        ({}, "/events", "must be an array"),
        ({"events": None}, "/events", "must be an array"),
        ({"events": {"0": make_body()}}, "/events", "must be an array"),
        ({"events": "[]"}, "/events", "must be an array"),
        (make_body(), "/events", "must be an array"),
        ([make_body()], "", "must be an object"),
        (None, "", "must be an object"),
        (1, "", "must be an object"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_batch_of_another_form_is_rejected(document: object, pointer: str, detail: str) -> None:
    with pytest.raises(InputInvalid) as caught:
        READER.read_batch(json.dumps(document).encode(), now=NOW)
    assert caught.value.errors == (FieldError(pointer, detail),)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"events": [NaN]}', b"[" * 60_000])
def test_batch_not_in_json_is_rejected(body: bytes) -> None:
    with pytest.raises(InputInvalid) as caught:
        READER.read_batch(body, now=NOW)
    assert [error.pointer for error in caught.value.errors] == [""]


def test_batch_with_one_invalid_item_keeps_the_others() -> None:
    items = make_items(6)
    items[3]["data"]["role"] = "KING"
    read_items = read_batch(items)
    assert read_items[3] == BatchItem(
        "evt_3",
        None,
        (FieldError("/events/3/data/role", "must be one of OWNER, ADMIN, MEMBER"),),
    )
    others = [item for index, item in enumerate(read_items) if index != 3]
    assert all(item.event is not None and not item.errors for item in others)


@pytest.mark.parametrize(
    ("changes", "pointers"),
    [
        ({"type": "x"}, ["/events/1/type"]),
        ({"timestamp": "x"}, ["/events/1/timestamp"]),
        ({"timestamp": "2027-01-01T00:00:00Z"}, ["/events/1/timestamp"]),
        ({"timestamp": "0001-01-01T00:00:00Z"}, ["/events/1/timestamp"]),
        ({"data": None}, ["/events/1/data"]),
        ({"data": {}}, [f"/events/1/data/{field}" for field in DATA["membership"]]),
        ({"type": None, "timestamp": None}, ["/events/1/type", "/events/1/timestamp"]),
    ],
)
def test_batch_item_that_is_invalid_is_named_by_pointer(
    changes: dict[str, Any], pointers: list[str]
) -> None:
    items = make_items(2)
    items[1] |= changes
    first, second = read_batch(items)
    assert first.event is not None
    assert (second.event_id, second.event) == ("evt_1", None)
    assert [error.pointer for error in second.errors] == pointers


@pytest.mark.parametrize("event_id", [None, 1, "", "a b", "x" * 256, "\ud800", ["evt_1"], {}])
def test_batch_item_without_a_usable_id_is_invalid_and_has_none(event_id: object) -> None:
    items = make_items(2)
    items[0]["id"] = event_id
    first, second = read_batch(items)
    assert first == BatchItem(
        None, None, (FieldError("/events/0/id", "must be 1 to 255 visible ASCII characters"),)
    )
    assert second.event is not None


def test_batch_item_whose_id_is_missing_is_invalid_and_has_none() -> None:
    (item,) = read_batch([make_body()])
    assert (item.event_id, item.event) == (None, None)
    assert [error.pointer for error in item.errors] == ["/events/0/id"]


@pytest.mark.parametrize("item", [None, 1, "x", [], [make_body()]])
def test_batch_item_not_an_object_is_invalid(item: object) -> None:
    first, second = read_batch([item, *make_items(1)])
    assert (first.event_id, first.event) == (None, None)
    assert FieldError("/events/0", "must be an object") in first.errors
    assert second.event is not None


def test_batch_with_one_id_twice_reads_both() -> None:
    items = read_batch(make_items(1) * 2)
    assert [item.event_id for item in items] == ["evt_0", "evt_0"]


@pytest.mark.parametrize("depth", [1, 100, 900, *range(930, 1_000)])
def test_batch_item_as_deep_as_can_be_read_keeps_the_others(depth: int) -> None:
    # Reading and digesting each have a depth limit. A value beside the events is read but not
    # digested: if the batch can be read with it there, it can be read with it inside an item.
    good = json.dumps(make_items(1)[0])
    template = json.dumps({"id": "deep"} | make_body(more="MORE"))
    inside = template.replace('"MORE"', '{"a":' * depth + "1" + "}" * depth)
    beside = '{"a":' * (depth + 3) + "1" + "}" * (depth + 3)

    def is_readable(body: str) -> bool:
        try:
            return READER.read_batch(body.encode(), now=NOW)[0].event is not None
        except InputInvalid:
            return False

    readable = is_readable(f'{{"events": [{good}], "more": {beside}}}')
    assert is_readable(f'{{"events": [{good}, {inside}]}}') is readable


# Any input

# Without ASCII letters, so that a detail or pointer that quotes them is detected.
foreign_text = st.text(st.characters(min_codepoint=0x100), max_size=8)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=10**6)
    | st.floats(min_value=1e6, allow_infinity=False)
    | foreign_text,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(foreign_text | st.sampled_from(["id", "data", "role"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def mostly(valid: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return valid | valid | valid | anything


def some_of(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


uuids = st.uuids().map(str)
near_valid = some_of(
    id=mostly(st.sampled_from(["evt_1", "evt_2"])),
    type=mostly(st.sampled_from(list(EventType))),
    timestamp=mostly(
        st.datetimes(datetime(1999, 1, 1), datetime(2027, 1, 1)).map(  # noqa: DTZ001
            lambda moment: moment.isoformat() + "Z"
        )
    ),
    data=mostly(
        some_of(
            id=mostly(uuids),
            email=mostly(st.emails()),
            username=mostly(st.just("ada")),
            name=mostly(st.just("Lisbon")),
            created_by=mostly(uuids),
            trip_id=mostly(uuids),
            user_id=mostly(uuids),
            role=mostly(st.sampled_from(["OWNER", "MEMBER"])),
            status=mostly(st.sampled_from(["ACTIVE", "INACTIVE"])),
            more=anything,
        )
    ),
)


def assert_quotes_nothing(errors: tuple[FieldError, ...]) -> None:
    assert errors
    for error in errors:
        assert error.pointer.isascii()
        assert error.detail.isascii()
        assert error.pointer == "" or error.pointer.startswith("/")
        assert not any(
            word.isdigit() and int(word) >= 10**6 for word in error.detail.replace(".", " ").split()
        )


@given(st.binary() | foreign_text.map(lambda text: text.encode(errors="surrogatepass")))
def test_event_of_any_bytes_is_read_or_rejected(body: bytes) -> None:
    with pytest.raises(InputInvalid) as caught:
        read(body)
    assert_quotes_nothing(caught.value.errors)


@given(near_valid | anything)
def test_event_of_any_json_is_read_or_rejected_without_quoting_it(document: Any) -> None:
    try:
        event = read(json.dumps(document).encode())
    except InputInvalid as error:
        assert_quotes_nothing(error.errors)
    else:
        assert event.type == document["type"]
        assert set(json.loads(event.data)) <= set(document["data"]) - {"more"}
        assert "\0" not in event.data
        event.data.encode()  # without lone surrogates


@given(st.text())
def test_event_with_any_text_for_an_email_keeps_it_or_names_it(text: str) -> None:
    (item,) = read_batch([{"id": "evt_1"} | make_body(email=text)])
    if item.event is None:
        assert [error.pointer for error in item.errors] == ["/events/0/data/email"]
    else:
        assert json.loads(item.event.data)["email"] == text


@settings(max_examples=50)
@given(st.lists(near_valid | anything, min_size=1, max_size=5))
def test_batch_of_any_json_is_read_item_by_item_as_alone(documents: list[Any]) -> None:
    read_items = read_batch(documents)
    assert len(read_items) == len(documents)
    for index, (item, document) in enumerate(zip(read_items, documents, strict=True)):
        assert [item] == [
            BatchItem(
                alone.event_id,
                alone.event,
                tuple(
                    FieldError(
                        error.pointer.replace("/events/0", f"/events/{index}", 1), error.detail
                    )
                    for error in alone.errors
                ),
            )
            for alone in read_batch([document])
        ]
        assert (item.event is None) == bool(item.errors)
        if item.errors:
            assert_quotes_nothing(item.errors)


def test_batch_item_too_deep_to_be_written_keeps_the_others() -> None:
    reader = EventReader(roles=("MEMBER",), statuses=("ACTIVE",))
    good = (
        '{"id": "good", "type": "trip.deleted", "timestamp": "2026-01-02T03:04:05Z",'
        ' "data": {"id": "456e7890-e89b-12d3-a456-426614174001"}}'
    )
    seen = set()
    for depth in range(300, 3000):
        deep = good.replace('"good"', '"deep"').replace(
            '"data": {', f'"data": {{"x": {"[" * depth}{"]" * depth}, '
        )
        try:
            items = reader.read_batch(
                f'{{"events": [{good}, {deep}]}}'.encode(), now=Instant(2**60)
            )
        except InputInvalid:
            # Too deep to be read: the batch is rejected.
            break
        assert items[0].event is not None
        seen.add(items[1].event is None)
    assert False in seen


@pytest.mark.parametrize("kind", Kind)
def test_row_is_read_as_the_data_of_its_created_event(kind: Kind) -> None:
    sent = {**DATA[kind], "phone": "5"}
    assert READER.read_row(kind, sent) == DATA[kind]
    assert list(READER.read_row(kind, dict(reversed(sent.items())))) == list(DATA[kind])


def test_row_that_no_event_could_carry_names_every_field() -> None:
    with pytest.raises(InputInvalid) as caught:
        READER.read_row(Kind.MEMBERSHIP, {**DATA["membership"], "role": "PILOT", "status": ""})
    assert [error.pointer for error in caught.value.errors] == ["/data/role", "/data/status"]
    with pytest.raises(InputInvalid):
        READER.read_row(Kind.USER, None)
