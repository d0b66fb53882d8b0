-- name: CreateUser :one
insert into users (id, email, username) values ($1, $2, $3) returning id, email, username;

-- name: UpdateUser :one
update users set email = coalesce($2, email), username = coalesce($3, username)
where id = $1 returning id, email, username;

-- name: DeleteUser :one
delete from users where id = $1 returning id;

-- name: CreateTrip :one
insert into trips (name, created_by) values ($1, $2) returning id, name, coalesce(created_by::text, '');

-- name: UpdateTrip :one
update trips set name = $2 where id = $1 and deleted_at is null
returning id, name, coalesce(created_by::text, '');

-- name: DeleteTrip :one
update trips set deleted_at = clock_timestamp() where id = $1 and deleted_at is null returning id;

-- name: AddTripMember :one
insert into trip_memberships (trip_id, user_id, role) values ($1, $2, $3)
on conflict (trip_id, user_id)
do update set role = excluded.role, status = 'ACTIVE', deleted_at = null
returning trip_id, user_id, role, status;

-- name: UpdateMemberRole :one
update trip_memberships set role = $3 where trip_id = $1 and user_id = $2 and deleted_at is null
returning trip_id, user_id, role, status;

-- name: RemoveTripMember :one
update trip_memberships set status = 'INACTIVE', deleted_at = clock_timestamp()
where trip_id = $1 and user_id = $2 and deleted_at is null returning trip_id, user_id;
