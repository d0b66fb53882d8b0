-- A chat table whose rows follow trip access: the pattern for whatever else belongs to a trip.

create table public.chat_messages (
  id uuid primary key default gen_random_uuid(),
  trip_id uuid not null references public.trips (id) on delete cascade,
  -- No foreign key: what was said stays when its author's account goes.
  user_id uuid not null,
  -- With the old and the new row fully escaped, a change stays below Realtime's limit of 1 MiB.
  body text not null check (char_length(body) between 1 and 8000),
  created_at timestamptz not null default now()
);

create index chat_messages_trip_id_created_at_idx on public.chat_messages (trip_id, created_at);

alter table public.chat_messages enable row level security;

-- Column by column: no client sets created_at, moves a message or signs it over to somebody else.
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

-- Realtime sends the changes of tables in this publication. Hosted Supabase has it; a local one
-- without Realtime does not.
do $$
begin
  if exists (select 1 from pg_catalog.pg_publication where pubname = 'supabase_realtime') then
    alter publication supabase_realtime add table public.chat_messages;
  end if;
end
$$;
