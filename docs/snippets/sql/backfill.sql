-- region: backfill
insert into relay_outbox (type, occurred_at, data)
select 'user.created', timestamptz '2000-01-01 00:00:00+00',
       jsonb_build_object('id', id, 'email', email, 'username', username)
from users;

insert into relay_outbox (type, occurred_at, data)
select 'trip.created', timestamptz '2000-01-01 00:00:00+00',
       jsonb_build_object('id', id, 'name', name, 'created_by',
         -- The creator's account may be gone; access does not depend on this column.
         coalesce(created_by, '00000000-0000-0000-0000-000000000000'))
from trips
where deleted_at is null;

insert into relay_outbox (type, occurred_at, data)
select 'membership.created', timestamptz '2000-01-01 00:00:00+00',
       jsonb_build_object('trip_id', m.trip_id, 'user_id', m.user_id,
                          'role', m.role, 'status', m.status)
from trip_memberships m
join trips t on t.id = m.trip_id
where m.deleted_at is null and t.deleted_at is null;
-- endregion
