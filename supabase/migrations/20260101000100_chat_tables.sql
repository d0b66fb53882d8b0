-- Tables whose rows follow a trip, as examples: messages, reactions, read receipts and presence.
-- Closed at first: the policies and privileges are in a later file.

create table public.chat_messages (
  id uuid primary key default gen_random_uuid(),
  trip_id uuid not null references public.trips (id) on delete cascade,
  -- No foreign key: a message outlives its author's account.
  user_id uuid not null,
  -- Keeps a change (old and new row, fully escaped) below Realtime's limit of 1 MiB.
  body text not null check (char_length(body) between 1 and 8000),
  created_at timestamptz not null default now(),
  -- For the foreign keys that hold a row to the trip of its message.
  unique (id, trip_id)
);

create index chat_messages_trip_id_created_at_idx on public.chat_messages (trip_id, created_at);
create index chat_messages_user_id_idx on public.chat_messages (user_id);

-- A reaction repeats the trip of its message: policies need no join, and Realtime filters only by
-- columns of the same table (filter: `trip_id=eq.…`).
create table public.chat_reactions (
  -- A meaningless key: Realtime sends the primary key of a deleted row to every subscriber.
  id uuid primary key default gen_random_uuid(),
  message_id uuid not null,
  trip_id uuid not null,
  -- No foreign key: like a message, a reaction outlives its author's account.
  user_id uuid not null,
  -- At most 64 bytes; the longest emoji, a kiss between two skin tones, has 10 characters.
  emoji text not null check (char_length(emoji) between 1 and 16),
  created_at timestamptz not null default now(),
  unique (message_id, user_id, emoji),
  foreign key (message_id, trip_id) references public.chat_messages (id, trip_id) on delete cascade
);

create index chat_reactions_trip_id_idx on public.chat_reactions (trip_id);
create index chat_reactions_user_id_idx on public.chat_reactions (user_id);

-- One row per member and trip, with the last message read.
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

-- Not when the message was deleted, and not when the receipt stayed where it was: that is no read.
create trigger set_read_at
  before update of message_id on public.chat_read_receipts
  for each row
  when (new.message_id is not null and new.message_id is distinct from old.message_id)
  execute function public.set_read_at();

-- Presence for apps that store it in a table: one row per member and trip. Presence that ends with the
-- connection is Realtime Presence, which needs no table.
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

alter table public.chat_messages enable row level security;
alter table public.chat_reactions enable row level security;
alter table public.chat_read_receipts enable row level security;
alter table public.user_presence enable row level security;

-- Realtime's Postgres Changes are those of the tables in this publication. It exists on hosted
-- Supabase, but not on a local Supabase without Realtime.
do $$
begin
  if exists (select 1 from pg_catalog.pg_publication where pubname = 'supabase_realtime') then
    alter publication supabase_realtime add table public.chat_messages, public.chat_reactions,
      public.chat_read_receipts, public.user_presence;
  end if;
end
$$;
