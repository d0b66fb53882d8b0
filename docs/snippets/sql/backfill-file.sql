-- region: backfill
-- One event for each row of the backend.
select jsonb_build_object('type', 'user.created', 'timestamp', '2000-01-01T00:00:00Z', 'data',
         jsonb_build_object('id', id, 'email', email, 'username', username))
from users;

select jsonb_build_object('type', 'trip.created', 'timestamp', '2000-01-01T00:00:00Z', 'data',
         jsonb_build_object('id', id, 'name', name, 'created_by',
           coalesce(created_by, '00000000-0000-0000-0000-000000000000')))
from trips
where deleted_at is null;

select jsonb_build_object('type', 'membership.created', 'timestamp', '2000-01-01T00:00:00Z', 'data',
         jsonb_build_object('trip_id', m.trip_id, 'user_id', m.user_id,
                            'role', m.role, 'status', m.status))
from trip_memberships m
join trips t on t.id = m.trip_id
where m.deleted_at is null and t.deleted_at is null;
-- endregion
