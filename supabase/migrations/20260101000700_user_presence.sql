-- Presence in a trip's chat, for apps that store it in a table: one row per member and trip. For
-- presence that ends with the connection, use Realtime Presence, which needs no table (next file).

create table public.user_presence (
  -- A meaningless key: Realtime sends the primary key of a deleted row to every subscriber.
  id uuid primary key default gen_random_uuid(),
  trip_id uuid not null,
  user_id uuid not null,
  status text not null default 'online' check (status in ('online', 'away', 'offline')),
  is_typing boolean not null default false,
  last_seen_at timestamptz not null default now(),
  unique (trip_id, user_id),
  -- The row is deleted with the membership. The row of an INACTIVE member stays, but that member can
  -- neither read nor change it.
  foreign key (trip_id, user_id) references public.trip_memberships (trip_id, user_id)
    on delete cascade
);

create index user_presence_user_id_idx on public.user_presence (user_id);

-- The time comes from the database, not from the app.
create function public.set_last_seen_at() returns trigger
language plpgsql
set search_path = ''
as $$
begin
  new.last_seen_at = now();
  return new;
end
$$;

revoke execute on function public.set_last_seen_at() from public, anon, authenticated;

create trigger set_last_seen_at
  before update on public.user_presence
  for each row execute function public.set_last_seen_at();

alter table public.user_presence enable row level security;

-- An upsert (`onConflict: "trip_id,user_id"`) sets every column it names, including the key.
revoke all on public.user_presence from public, anon, authenticated;
grant select, delete,
    insert (trip_id, user_id, status, is_typing), update (trip_id, user_id, status, is_typing)
  on public.user_presence to authenticated;
grant select, insert, update, delete on public.user_presence to service_role;

create policy "members read"
  on public.user_presence for select to authenticated
  using (trip_id = any (array(select public.active_trip_ids())));

create policy "members write their own"
  on public.user_presence for insert to authenticated
  with check (user_id = (select auth.uid()) and public.is_trip_member(trip_id));

create policy "members change their own"
  on public.user_presence for update to authenticated
  using (user_id = (select auth.uid()) and public.is_trip_member(trip_id))
  with check (user_id = (select auth.uid()) and public.is_trip_member(trip_id));

create policy "members delete their own"
  on public.user_presence for delete to authenticated
  using (user_id = (select auth.uid()) and public.is_trip_member(trip_id));

do $$
begin
  if exists (select 1 from pg_catalog.pg_publication where pubname = 'supabase_realtime') then
    alter publication supabase_realtime add table public.user_presence;
  end if;
end
$$;
