-- region: removals
-- The event that would remove it, for each row of Supabase.
with removals (type, data) as (
  select 'membership.deleted', jsonb_build_object('trip_id', trip_id, 'user_id', user_id)
  from trip_memberships
  union all
  select 'trip.deleted', jsonb_build_object('id', id) from trips
  union all
  select 'user.deleted', jsonb_build_object('id', id) from users
)
-- The backfill's timestamp: at the same instant a removal wins, and any recorded event is newer.
select jsonb_build_object('type', type, 'timestamp', '2000-01-01T00:00:00Z', 'data', data)
from removals;
-- endregion
