-- region: removals
-- For each row that Supabase has: the event that would remove it, should nobody desire it.
with removals (type, data) as (
  select 'membership.deleted', jsonb_build_object('trip_id', trip_id, 'user_id', user_id)
  from trip_memberships
  union all
  select 'trip.deleted', jsonb_build_object('id', id) from trips
  union all
  select 'user.deleted', jsonb_build_object('id', id) from users
)
-- The backfill's timestamp: at the same instant the removal wins, and every other event beats it.
select jsonb_build_object('type', type, 'timestamp', '2000-01-01T00:00:00Z', 'data', data)
from removals;
-- endregion
