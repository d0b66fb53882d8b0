-- region: removals
-- The same for each row of the backend, with the conditions of the backfill.
with removals (type, data) as (
  select 'membership.deleted', jsonb_build_object('trip_id', m.trip_id, 'user_id', m.user_id)
  from trip_memberships m
  join trips t on t.id = m.trip_id
  where m.deleted_at is null and t.deleted_at is null
  union all
  select 'trip.deleted', jsonb_build_object('id', id) from trips where deleted_at is null
  union all
  select 'user.deleted', jsonb_build_object('id', id) from users
)
select jsonb_build_object('type', type, 'timestamp', '2000-01-01T00:00:00Z', 'data', data)
from removals;
-- endregion
