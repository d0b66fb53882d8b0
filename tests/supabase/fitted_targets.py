"""Targets for tables with other names."""

from typing import Final

from app.domain.entities import Kind
from app.supabase.mapping import read_target
from app.supabase.targets import Targets

FITTED: Final = Targets(
    users=read_target(
        Kind.USER,
        '{"table": "app.profiles", "copy": {"supabase_id": "id"},'
        ' "constants": {"deleted_at": null, "source": {"by": "relay"}}}',
    ),
    trips=read_target(
        Kind.TRIP,
        '{"columns": {"name": "title", "id": "tripId"},'
        ' "extra": {"startDate": "start_date", "endDate": "end_date"}}',
    ),
    memberships=read_target(
        Kind.MEMBERSHIP,
        '{"table": "members", "columns": {"user_id": "member_id"}, "extra": ["note"],'
        ' "inactive": "remove"}',
    ),
)
