-- Read receipts: one row per member and trip, with the last message read.

create table public.chat_read_receipts (
  -- A meaningless key: Realtime sends the primary key of a deleted row to every subscriber.
  id uuid primary key default gen_random_uuid(),
  trip_id uuid not null,
  user_id uuid not null,
  message_id uuid,
  read_at timestamptz not null default now(),
  unique (trip_id, user_id),
  -- A receipt is deleted with its membership. The receipt of an INACTIVE member stays, but that
  -- member cannot read it.
  foreign key (trip_id, user_id) references public.trip_memberships (trip_id, user_id)
    on delete cascade,
  foreign key (message_id, trip_id) references public.chat_messages (id, trip_id)
    on delete set null (message_id)
);

create index chat_read_receipts_user_id_idx on public.chat_read_receipts (user_id);
create index chat_read_receipts_message_id_idx on public.chat_read_receipts (message_id);

-- The time comes from the database, not from the app.
create function public.set_read_at() returns trigger
language plpgsql
set search_path = ''
as $$
begin
  new.read_at = now();
  return new;
end
$$;

revoke execute on function public.set_read_at() from public, anon, authenticated;

-- Not when the message was deleted: that is not a read.
create trigger set_read_at
  before update of message_id on public.chat_read_receipts
  for each row when (new.message_id is not null)
  execute function public.set_read_at();

alter table public.chat_read_receipts enable row level security;

-- An upsert (`onConflict: "trip_id,user_id"`) sets every column it names, including the key.
revoke all on public.chat_read_receipts from public, anon, authenticated;
grant select, delete, insert (trip_id, user_id, message_id), update (trip_id, user_id, message_id)
  on public.chat_read_receipts to authenticated;
grant select, insert, update, delete on public.chat_read_receipts to service_role;

create policy "members read"
  on public.chat_read_receipts for select to authenticated
  using (trip_id = any (array(select public.active_trip_ids())));

create policy "members write their own"
  on public.chat_read_receipts for insert to authenticated
  with check (user_id = (select auth.uid()) and public.is_trip_member(trip_id));

create policy "members move their own"
  on public.chat_read_receipts for update to authenticated
  using (user_id = (select auth.uid()) and public.is_trip_member(trip_id))
  with check (user_id = (select auth.uid()) and public.is_trip_member(trip_id));

create policy "members delete their own"
  on public.chat_read_receipts for delete to authenticated
  using (user_id = (select auth.uid()) and public.is_trip_member(trip_id));

do $$
begin
  if exists (select 1 from pg_catalog.pg_publication where pubname = 'supabase_realtime') then
    alter publication supabase_realtime add table public.chat_read_receipts;
  end if;
end
$$;
