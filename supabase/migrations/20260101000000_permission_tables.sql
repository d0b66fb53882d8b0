-- The three tables the relay writes, for projects that have none yet.
--
-- A project with tables of its own leaves this file out, tells the relay about them with
-- TARGET_USERS, TARGET_TRIPS and TARGET_MEMBERSHIPS, and takes the next file for the rules. That is
-- why there is no "if not exists": a foreign table of the same name must stop this migration, not
-- be taken for ours.

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

-- No check on role and status: which values there are is the backend's business, and the relay
-- checks them (MEMBERSHIP_ROLES, MEMBERSHIP_STATUSES). Only ACTIVE gives access.
create table public.trip_memberships (
  trip_id uuid not null references public.trips (id) on delete cascade,
  user_id uuid not null references public.users (id) on delete cascade,
  role text not null,
  status text not null,
  primary key (trip_id, user_id)
);

-- For "my memberships" and for the cascade from users; the primary key leads with trip_id.
create index trip_memberships_user_id_idx on public.trip_memberships (user_id);

-- Closed from the first moment; the next file opens what may be read.
alter table public.users enable row level security;
alter table public.trips enable row level security;
alter table public.trip_memberships enable row level security;
