-- The tables that the backend keeps in Supabase, with the policies that such projects tend to have.
-- Hosted Supabase grants everything on them to anon and authenticated.

create table public.users (
  id uuid primary key,
  supabase_id uuid not null unique,
  email text,
  username text
);
create table public.trips (
  id uuid primary key,
  name text not null,
  created_by uuid,
  start_date date not null
);
create table public.trip_memberships (
  trip_id uuid not null references public.trips (id) on delete cascade,
  user_id uuid not null references public.users (id) on delete cascade,
  role text not null,
  status text not null,
  primary key (trip_id, user_id)
);
create index on public.trip_memberships (user_id);
create table public.supabase_chat_messages (
  id uuid primary key default gen_random_uuid(),
  trip_id uuid not null references public.trips (id) on delete cascade,
  user_id uuid not null,
  message text not null,
  reply_to_id uuid,
  edited_at timestamptz,
  deleted_at timestamptz
);
create index on public.supabase_chat_messages (trip_id);
create table public.supabase_chat_reactions (
  id uuid primary key default gen_random_uuid(),
  message_id uuid not null references public.supabase_chat_messages (id) on delete cascade,
  user_id uuid not null,
  reaction text not null
);
create index on public.supabase_chat_reactions (message_id);
create table public.supabase_chat_read_receipts (
  id uuid primary key default gen_random_uuid(),
  trip_id uuid not null references public.trips (id) on delete cascade,
  user_id uuid not null,
  last_read_message_id uuid references public.supabase_chat_messages (id) on delete set null
);
create index on public.supabase_chat_read_receipts (trip_id);
create table public.supabase_user_presence (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null,
  trip_id uuid references public.trips (id),
  status text not null default 'online',
  last_seen timestamptz,
  typing_in_trip_id uuid
);
create index on public.supabase_user_presence (trip_id);
create table public.locations (
  id uuid primary key default gen_random_uuid(),
  trip_id uuid not null references public.trips (id) on delete cascade,
  user_id uuid not null,
  latitude double precision,
  is_sharing_enabled boolean not null default false,
  sharing_expires_at timestamptz
);
create index on public.locations (trip_id);

alter table public.users enable row level security;
alter table public.trips enable row level security;
alter table public.trip_memberships enable row level security;
alter table public.supabase_chat_messages enable row level security;
alter table public.supabase_chat_reactions enable row level security;
alter table public.supabase_chat_read_receipts enable row level security;
alter table public.supabase_user_presence enable row level security;
alter table public.locations enable row level security;

-- Sound: what the mistaken policies are measured against.
create policy "own account" on public.users for select to authenticated
  using (supabase_id = (select auth.uid()));
create policy "own memberships" on public.trip_memberships for select to authenticated
  using (user_id = (select auth.uid()));
create policy "trips of members" on public.trips for select to authenticated using (exists (
  select 1 from public.trip_memberships m
  where m.trip_id = trips.id and m.user_id = (select auth.uid()) and m.status = 'ACTIVE'));
create policy "members read" on public.supabase_chat_messages for select to authenticated
  using (exists (
    select 1 from public.trip_memberships m
    where m.trip_id = supabase_chat_messages.trip_id and m.user_id = (select auth.uid())
      and m.status = 'ACTIVE'));
create policy "readers of the message" on public.supabase_chat_reactions for select to authenticated
  using (exists (select 1 from public.supabase_chat_messages m where m.id = message_id));
create policy "the backend" on public.supabase_chat_read_receipts
  using ((auth.jwt() ->> 'role') = 'service_role');

-- Mistaken.
create policy "authors write" on public.supabase_chat_messages for insert to authenticated
  with check (exists (
    select 1 from public.trip_memberships m
    where m.trip_id = supabase_chat_messages.trip_id and m.user_id = (select auth.uid())));
create policy "authors edit" on public.supabase_chat_messages for update to authenticated
  using (auth.uid() = user_id and exists (
    select 1 from public.trip_memberships m
    where m.trip_id = supabase_chat_messages.trip_id and m.user_id = (select auth.uid())
      and m.status = 'ACTIVE'))
  with check (auth.uid() = user_id);
create policy "authors delete" on public.supabase_chat_messages for delete
  using (auth.uid() = user_id);
create policy "own reactions" on public.supabase_chat_reactions to authenticated
  using (auth.uid() = user_id);
create policy "own presence" on public.supabase_user_presence using (auth.uid() = user_id);
create policy "shared locations" on public.locations for select to authenticated
  using (is_sharing_enabled and sharing_expires_at > now());
create policy "own locations" on public.locations for all to authenticated
  using (auth.uid() = user_id and sharing_expires_at is null);
