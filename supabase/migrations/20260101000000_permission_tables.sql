-- The three tables that the relay writes, for projects that do not have them yet.
--
-- A project with its own tables skips this file, sets TARGET_USERS, TARGET_TRIPS and
-- TARGET_MEMBERSHIPS, and generates its policies (`relay sql --tables`). Without "if not exists", an
-- unrelated table of the same name stops this migration.

create table public.users (
  id uuid primary key,
  email text not null,
  username text not null
);

create table public.trips (
  id uuid primary key,
  name text not null,
  -- No foreign key: a trip outlives its creator's account.
  created_by uuid not null
);

-- No check on role and status: the backend defines the values, and the relay validates them
-- (MEMBERSHIP_ROLES, MEMBERSHIP_STATUSES). Only ACTIVE grants access.
create table public.trip_memberships (
  trip_id uuid not null references public.trips (id) on delete cascade,
  user_id uuid not null references public.users (id) on delete cascade,
  role text not null,
  status text not null,
  primary key (trip_id, user_id)
);

-- For "my memberships" and for the cascade from users; the primary key leads with trip_id.
create index trip_memberships_user_id_idx on public.trip_memberships (user_id);

-- Closed at first; the policies of a later file allow reads.
alter table public.users enable row level security;
alter table public.trips enable row level security;
alter table public.trip_memberships enable row level security;
