-- region: audit
select class.relname as "table",
       class.relrowsecurity as has_rls,
       has_table_privilege('anon', class.oid, 'select, insert, update, delete') as anon_may_try,
       has_table_privilege('authenticated', class.oid, 'insert, update, delete') as users_may_write,
       (select string_agg(policyname || ' (' || cmd || ')', ', ' order by policyname)
        from pg_policies
        where schemaname = 'public' and tablename = class.relname) as policies
from pg_class as class
where class.oid in (
  'public.users'::regclass, 'public.trips'::regclass, 'public.trip_memberships'::regclass
)
order by class.relname;
-- endregion

-- region: drop_policies
do $$
declare
  policy record;
begin
  for policy in
    select tablename, policyname from pg_policies
    where schemaname = 'public' and tablename in ('users', 'trips', 'trip_memberships')
  loop
    execute format('drop policy %I on public.%I', policy.policyname, policy.tablename);
  end loop;
end
$$;
-- endregion

-- region: soft_delete
create or replace function public.is_trip_member(trip_id uuid) returns boolean
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
      and membership.deleted_at is null
  );
$$;

create or replace function public.active_trip_ids() returns setof uuid
language sql
stable
security definer
set search_path = ''
as $$
  select membership.trip_id
  from public.trip_memberships as membership
  where membership.user_id = (select auth.uid())
    and membership.status = 'ACTIVE'
    and membership.deleted_at is null;
$$;
-- endregion

-- region: own_table
alter table public.locations enable row level security;
revoke all on public.locations from public, anon, authenticated;
grant select, insert, update, delete on public.locations to authenticated;

create policy "members read"
  on public.locations for select to authenticated
  using (trip_id = any (array(select public.active_trip_ids())));

create policy "members write their own"
  on public.locations for insert to authenticated
  with check (user_id = (select auth.uid()) and public.is_trip_member(trip_id));

create policy "members change their own"
  on public.locations for update to authenticated
  using (user_id = (select auth.uid()) and public.is_trip_member(trip_id))
  with check (user_id = (select auth.uid()) and public.is_trip_member(trip_id));

create policy "members delete their own"
  on public.locations for delete to authenticated
  using (user_id = (select auth.uid()) and public.is_trip_member(trip_id));

create index locations_trip_id_idx on public.locations (trip_id);
create index locations_user_id_idx on public.locations (user_id);
-- endregion
