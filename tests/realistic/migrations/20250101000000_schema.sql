-- A project that was there before the relay, with what real ones have. The relay fits it by
-- configuration alone (tests/realistic/conftest.py); nothing here was made for it.

create type public.member_role as enum ('OWNER', 'ADMIN', 'MEMBER');
create type public.member_status as enum ('ACTIVE', 'INACTIVE');

-- Named otherwise, an id held twice, unique values that move between people, soft delete.
create table public.profiles (
  id uuid primary key,
  supabase_id uuid not null unique,
  email text not null unique,
  username text not null unique,
  display_name text not null,
  avatar_url text,
  created_at timestamptz not null default now(),
  deleted_at timestamptz
);

-- Columns without default that permissions do not need, and a foreign key to a table of Supabase.
create table public.trips (
  id uuid primary key,
  title text not null,
  created_by uuid not null references auth.users (id),
  start_date date not null,
  end_date date not null,
  destination_latitude double precision not null,
  destination_longitude double precision not null,
  deleted_at timestamptz,
  check (end_date >= start_date)
);

create table public.trip_members (
  trip_id uuid not null references public.trips (id) on delete cascade,
  member_id uuid not null references auth.users (id),
  role public.member_role not null,
  status public.member_status not null,
  joined_at timestamptz not null default now(),
  deleted_at timestamptz,
  primary key (trip_id, member_id)
);

create table public.chat_messages (
  id uuid primary key default gen_random_uuid(),
  trip_id uuid not null references public.trips (id) on delete cascade,
  body text not null
);

-- The rules look at soft deletion and at nothing else: any row that stands is access.
alter table public.profiles enable row level security;
alter table public.trips enable row level security;
alter table public.trip_members enable row level security;
alter table public.chat_messages enable row level security;

create policy "people see one another"
  on public.profiles for select to authenticated
  using (deleted_at is null);

create policy "members see who they are"
  on public.trip_members for select to authenticated
  using (member_id = (select auth.uid()) and deleted_at is null);

create policy "members see their trips"
  on public.trips for select to authenticated
  using (
    deleted_at is null
    and exists (
      select 1 from public.trip_members as member
      where member.trip_id = trips.id
        and member.member_id = (select auth.uid())
        and member.deleted_at is null
    )
  );

create policy "members read"
  on public.chat_messages for select to authenticated
  using (
    exists (
      select 1
      from public.trip_members as member
      join public.trips as trip on trip.id = member.trip_id
      where member.trip_id = chat_messages.trip_id
        and member.member_id = (select auth.uid())
        and member.deleted_at is null
        and trip.deleted_at is null
    )
  );

-- What Auth does when somebody signs up, with an id that a test knows.
create function public.sign_up(id uuid) returns void
language sql
security definer
set search_path = ''
as $$
  insert into auth.users (id, email) values (sign_up.id, sign_up.id || '@sign-up.test');
$$;

revoke execute on function public.sign_up(uuid) from public, anon, authenticated;
grant execute on function public.sign_up(uuid) to service_role;
