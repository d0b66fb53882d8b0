-- The tables of a backend that writes chat, presence and locations itself, with the service key: the
-- columns, keys and indexes of its published schema, and what they lack. The app only reads. No policy
-- is here; the policy pack brings them.

create type public.membership_role as enum ('OWNER', 'ADMIN', 'MEMBER');
create type public.membership_status as enum ('ACTIVE', 'INACTIVE');

create table public.users (
  id uuid primary key default gen_random_uuid(),
  supabase_id uuid not null unique,
  email text not null unique,
  username text not null unique,
  first_name text,
  last_seen_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table public.trips (
  id uuid primary key default gen_random_uuid(),
  name varchar(255) not null,
  description text,
  start_date date not null,
  end_date date not null,
  destination_latitude double precision not null,
  destination_longitude double precision not null,
  created_by uuid references public.users (id) on delete set null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);
create index idx_trips_created_by on public.trips (created_by);

create table public.trip_memberships (
  id uuid primary key default gen_random_uuid(),
  trip_id uuid not null references public.trips (id) on delete cascade,
  user_id uuid not null references public.users (id) on delete cascade,
  role public.membership_role not null default 'MEMBER',
  status public.membership_status not null default 'ACTIVE',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz,
  unique (trip_id, user_id)
);
create index idx_trip_memberships_user on public.trip_memberships (user_id);

-- Something else: the backend's own chat groups. The migration of our chat_messages would fail here.
create table public.chat_messages (
  id uuid primary key default gen_random_uuid(),
  group_id uuid not null,
  user_id uuid,
  content text not null
);
alter table public.chat_messages enable row level security;

create table public.supabase_chat_messages (
  id uuid primary key default gen_random_uuid(),
  trip_id uuid not null references public.trips (id) on delete cascade,
  user_id uuid not null references public.users (id),
  message text not null check (char_length(message) between 1 and 1000),
  reply_to_id uuid references public.supabase_chat_messages (id) on delete set null,
  edited_at timestamptz,
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  deleted_at timestamptz
);
create index idx_supabase_chat_messages_trip_created
  on public.supabase_chat_messages (trip_id, created_at desc);
create index idx_supabase_chat_messages_user on public.supabase_chat_messages (user_id);
create index idx_supabase_chat_messages_reply
  on public.supabase_chat_messages (reply_to_id) where reply_to_id is not null;

create table public.supabase_chat_reactions (
  id uuid primary key default gen_random_uuid(),
  message_id uuid not null references public.supabase_chat_messages (id) on delete cascade,
  user_id uuid not null references public.users (id),
  reaction varchar(10) not null,
  created_at timestamptz default now(),
  unique (message_id, user_id, reaction)
);
create index idx_supabase_reactions_message on public.supabase_chat_reactions (message_id);

create table public.supabase_chat_read_receipts (
  id uuid primary key default gen_random_uuid(),
  trip_id uuid not null references public.trips (id) on delete cascade,
  user_id uuid not null references public.users (id),
  last_read_message_id uuid references public.supabase_chat_messages (id),
  read_at timestamptz default now(),
  unique (trip_id, user_id)
);

create table public.supabase_user_presence (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references public.users (id),
  trip_id uuid references public.trips (id),
  status varchar(20) default 'online',
  last_seen timestamptz default now(),
  is_typing boolean default false,
  typing_in_trip_id uuid references public.trips (id),
  unique (user_id, trip_id)
);
create index idx_supabase_presence_trip
  on public.supabase_user_presence (trip_id) where trip_id is not null;
create index idx_supabase_presence_last_seen on public.supabase_user_presence (last_seen);

create table public.locations (
  id uuid primary key default gen_random_uuid(),
  trip_id uuid not null references public.trips (id) on delete cascade,
  user_id uuid not null references public.users (id) on delete cascade,
  latitude double precision not null,
  longitude double precision not null,
  accuracy double precision,
  "timestamp" timestamptz not null,
  is_sharing_enabled boolean default false,
  sharing_expires_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);
create index idx_locations_user_id on public.locations (user_id);
create index idx_locations_trip_id on public.locations (trip_id);
