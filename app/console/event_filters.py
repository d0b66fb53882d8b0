"""The filters of events, as the fields of a form give them."""

import re
from typing import Any, Final

from starlette.datastructures import ImmutableMultiDict

from app.api.events import EventQuery
from app.api.request_body import read_model
from app.console.cross_site import CSRF_FIELD
from app.domain.criteria import Criteria
from app.domain.entities import EventStatus
from app.domain.errors import FieldError, InputInvalid
from app.domain.events import EventId

Given = dict[str, str]
"""The fields that are filled in."""

EVENT_ID: Final = "event_id"
"""A field that stands for one event, instead of the filters."""

# As browsers send a local time. The console's times are in UTC.
_LOCAL_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d(?:\.\d+)?)?", re.ASCII)


def read_given(fields: ImmutableMultiDict[str, str]) -> Given:
    """Read the fields of a form or a query that are filled in."""
    given: Given = {}
    for name, text in fields.multi_items():
        value = text.strip()
        if value and name != CSRF_FIELD:
            # Types may be repeated, as in the API.
            given[name] = f"{given[name]},{value}" if name in given else value
    return given


def read_query(given: Given) -> EventQuery:
    """Read the filters and the page.

    Raises:
        InputInvalid: names every field that is wrong.
    """
    document: dict[str, Any] = dict(given)
    for name in ("since", "until"):
        local = _LOCAL_TIME.fullmatch(given.get(name, ""))
        if local is not None:
            document[name] = f"{local[1]}T{local[2]}{local[3] or ':00'}Z"
    if "types" in given:
        document["types"] = [given["types"]]
    return read_model(EventQuery, document)


def read_replay_criteria(given: Given) -> Criteria:
    """Read which events to replay.

    Raises:
        InputInvalid: names every field that is wrong.
    """
    if EVENT_ID in given:
        return Criteria(event_ids=(EventId(given[EVENT_ID]),))
    criteria = read_query(given).criteria
    if criteria == Criteria():
        raise InputInvalid([FieldError("", "give a filter: a replay needs one")])
    if criteria.status is EventStatus.SUPERSEDED:
        raise InputInvalid([FieldError("/status", "must not be superseded")])
    return criteria
