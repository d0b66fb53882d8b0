-- +goose Up
-- Optional, for backends with many call sites: records the events from the tables themselves, so that
-- no call site can be forgotten. Then no call site calls the Sync and Delete functions.
--
-- Copy this file, and edit the first part. It needs relay_outbox.sql.

-- Part 1: the tables. Each function returns the data of a row, or null for a row that does not count,
-- such as one that is deleted softly.

create or replace function relay_user(u users) returns jsonb language sql stable as
$$ select jsonb_build_object('id', u.id, 'email', u.email, 'username', u.username)
   where u.deleted_at is null $$;

create or replace function relay_trip(t trips) returns jsonb language sql stable as
$$ select jsonb_build_object('id', t.id, 'name', t.name, 'created_by',
     coalesce(t.created_by, '00000000-0000-0000-0000-000000000000'))
   where t.deleted_at is null $$;

-- The relay removes the memberships of a removed trip or user itself.
create or replace function relay_membership(m trip_memberships) returns jsonb language sql stable as
$$ select jsonb_build_object('trip_id', m.trip_id, 'user_id', m.user_id, 'role', m.role, 'status', m.status)
   where m.deleted_at is null
     and exists (select from trips t where t.id = m.trip_id and relay_trip(t) is not null)
     and exists (select from users u where u.id = m.user_id and relay_user(u) is not null) $$;

-- The memberships that return with a trip or user.
create or replace function relay_memberships_of(kind text, id text) returns setof jsonb language sql stable as
$$ select relay_membership(m) from trip_memberships m
   where case kind when 'trip' then m.trip_id = id::uuid when 'user' then m.user_id = id::uuid end
     and relay_membership(m) is not null $$;

-- Part 2: unchanged. The triggers write to the outbox with the rights of their owner, so a role that
-- writes to the tables needs none.

create or replace function relay_key(kind text, data jsonb) returns jsonb language sql immutable as
$$ select case kind
     when 'membership' then jsonb_build_object('trip_id', data -> 'trip_id', 'user_id', data -> 'user_id')
     else jsonb_build_object('id', data -> 'id') end $$;

-- The event is known to relaypgx.LastRecorded and relaysql.LastRecorded until the transaction ends.
-- +goose StatementBegin
create or replace function relay_record(type text, data jsonb) returns void language plpgsql as $$
declare
  recorded text;
begin
  insert into relay_outbox (type, data) values (relay_record.type, relay_record.data)
    returning event_id into recorded;
  perform set_config('relay.last_recorded', recorded, true);
end
$$;
-- +goose StatementEnd

-- +goose StatementBegin
create or replace function relay_record_change() returns trigger
  language plpgsql security definer set search_path from current as $$
declare
  kind constant text := tg_argv[0];
  was jsonb;
  becomes jsonb;
begin
  if tg_op <> 'INSERT' then
    execute format('select relay_%s($1)', kind) using old into was;
  end if;
  if tg_op <> 'DELETE' then
    execute format('select relay_%s($1)', kind) using new into becomes;
  end if;
  if was is not distinct from becomes then
    return null; -- no column that permissions need has changed
  end if;
  if was is not null and (becomes is null or relay_key(kind, was) <> relay_key(kind, becomes)) then
    perform relay_record(kind || '.deleted', relay_key(kind, was));
  end if;
  if becomes is not null then
    perform relay_record(kind || case when was is null then '.created' else '.updated' end, becomes);
  end if;
  if tg_op = 'UPDATE' and was is null and kind <> 'membership' then
    perform relay_record('membership.created', member)
      from relay_memberships_of(kind, becomes ->> 'id') as member;
  end if;
  return null;
end
$$;
-- +goose StatementEnd

-- +goose StatementBegin
create or replace function relay_record_truncate() returns trigger
  language plpgsql security definer set search_path from current as $$
begin
  execute format('select relay_record(%L, relay_key(%L, relay_%s(t))) from %s t where relay_%3$s(t) is not null',
    tg_argv[0] || '.deleted', tg_argv[0], tg_argv[0], tg_relid::regclass);
  return null;
end
$$;
-- +goose StatementEnd

create or replace trigger relay_change after insert or update or delete on users
  for each row execute function relay_record_change('user');
create or replace trigger relay_change after insert or update or delete on trips
  for each row execute function relay_record_change('trip');
create or replace trigger relay_change after insert or update or delete on trip_memberships
  for each row execute function relay_record_change('membership');

create or replace trigger relay_truncate before truncate on users
  for each statement execute function relay_record_truncate('user');
create or replace trigger relay_truncate before truncate on trips
  for each statement execute function relay_record_truncate('trip');
create or replace trigger relay_truncate before truncate on trip_memberships
  for each statement execute function relay_record_truncate('membership');
