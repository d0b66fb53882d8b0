-- Applied after all other migrations on the local Supabase only: at its first request
-- @supabase/lite 0.10.0 grants everything on every table with RLS to anon and authenticated
-- (ensureRlsContext), which hosted Supabase never does. Calling this function once after that
-- request puts the privileges back as the migrations left them.

create schema local_supabase;

create table local_supabase.privileges as
select oid, relacl from pg_catalog.pg_class
where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'S');

create function public.restore_privileges() returns void
language sql
security definer
set search_path = ''
as $$
  update pg_catalog.pg_class as class
  set relacl = privileges.relacl
  from local_supabase.privileges as privileges
  where class.oid = privileges.oid and class.relacl is distinct from privileges.relacl;
$$;

revoke execute on function public.restore_privileges() from public, anon, authenticated;
grant execute on function public.restore_privileges() to service_role;
