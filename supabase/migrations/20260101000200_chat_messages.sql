-- Chat messages, readable by the members of a trip: the pattern for other tables of a trip.

create table public.chat_messages (
  id uuid primary key default gen_random_uuid(),
  trip_id uuid not null references public.trips (id) on delete cascade,
  -- No foreign key: a message outlives its author's account.
  user_id uuid not null,
  -- Keeps a change (old and new row, fully escaped) below Realtime's limit of 1 MiB.
  body text not null check (char_length(body) between 1 and 8000),
  created_at timestamptz not null default now()
);

create index chat_messages_trip_id_created_at_idx on public.chat_messages (trip_id, created_at);

alter table public.chat_messages enable row level security;

-- By column: clients cannot set created_at, or change the trip or the author of a message.
revoke all on public.chat_messages from public, anon, authenticated;
grant select, delete, insert (id, trip_id, user_id, body), update (body)
  on public.chat_messages to authenticated;
grant select, insert, update, delete on public.chat_messages to service_role;

create policy "members read"
  on public.chat_messages for select to authenticated
  using (public.is_trip_member(trip_id));

create policy "members write as themselves"
  on public.chat_messages for insert to authenticated
  with check (user_id = (select auth.uid()) and public.is_trip_member(trip_id));

create policy "authors edit while they are members"
  on public.chat_messages for update to authenticated
  using (user_id = (select auth.uid()) and public.is_trip_member(trip_id))
  with check (user_id = (select auth.uid()) and public.is_trip_member(trip_id));

create policy "authors delete while they are members"
  on public.chat_messages for delete to authenticated
  using (user_id = (select auth.uid()) and public.is_trip_member(trip_id));

-- Realtime sends the changes of tables in this publication. It exists on hosted Supabase, but not
-- on a local Supabase without Realtime.
do $$
begin
  if exists (select 1 from pg_catalog.pg_publication where pubname = 'supabase_realtime') then
    alter publication supabase_realtime add table public.chat_messages;
  end if;
end
$$;
