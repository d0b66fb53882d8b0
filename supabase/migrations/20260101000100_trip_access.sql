-- Read access to the permission tables. Only the relay writes them (service_role bypasses RLS).

-- Repeated for projects with their own tables; idempotent.
alter table public.users enable row level security;
alter table public.trips enable row level security;
alter table public.trip_memberships enable row level security;

-- Hosted Supabase grants everything on new tables to anon and authenticated by default. RLS without
-- a policy stops their writes, except truncate, which ignores RLS. The revoke is a second lock: a
-- policy that is added by mistake still grants nothing.
revoke all on public.users, public.trips, public.trip_memberships from public, anon, authenticated;
grant select on public.users, public.trips, public.trip_memberships to authenticated;
-- The default on hosted Supabase; repeated for projects that revoked the defaults.
grant select, insert, update, delete
  on public.users, public.trips, public.trip_memberships to service_role;

-- Whether the caller is an ACTIVE member of the trip. Security definer, because a policy on
-- trip_memberships that reads trip_memberships under RLS would recurse endlessly.
create function public.is_trip_member(trip_id uuid) returns boolean
language sql
stable
security definer
set search_path = ''
as $$
  select exists (
    select 1
    from public.trip_memberships as membership
    where membership.trip_id = is_trip_member.trip_id
      and membership.user_id = (select auth.uid())
      and membership.status = 'ACTIVE'
  );
$$;

revoke execute on function public.is_trip_member(uuid) from public, anon;
grant execute on function public.is_trip_member(uuid) to authenticated, service_role;

-- (select auth.uid()) is evaluated once per query, auth.uid() once per row.
create policy "own account is readable"
  on public.users for select to authenticated
  using (id = (select auth.uid()));

create policy "own trips are readable"
  on public.trips for select to authenticated
  using (public.is_trip_member(id));

create policy "own memberships and fellow members are readable"
  on public.trip_memberships for select to authenticated
  using (user_id = (select auth.uid()) or public.is_trip_member(trip_id));
