-- region: snapshot
-- A snapshot of the backend for `relay reconcile --source-file`, in one transaction.
begin isolation level repeatable read read only;

-- A transaction that is open now may commit a change with an earlier timestamp. A minute's margin
-- lets its event win over a repair.
select jsonb_build_object('snapshot_at', now() - interval '60 seconds');

select jsonb_build_object('kind', 'user', 'data',
         jsonb_build_object('id', id, 'email', email, 'username', username))
from users;

select jsonb_build_object('kind', 'trip', 'data',
         jsonb_build_object('id', id, 'name', name, 'created_by',
           coalesce(created_by, '00000000-0000-0000-0000-000000000000')))
from trips
where deleted_at is null;

select jsonb_build_object('kind', 'membership', 'data',
         jsonb_build_object('trip_id', m.trip_id, 'user_id', m.user_id,
                            'role', m.role, 'status', m.status))
from trip_memberships m
join trips t on t.id = m.trip_id
where m.deleted_at is null and t.deleted_at is null;

commit;
-- endregion
