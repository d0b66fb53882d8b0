-- Applied before supabase/migrations on the local Supabase only: the defaults of a hosted project
-- that @supabase/lite lacks. Without them, the migrations would have no privileges to revoke.

do $$
begin
  if not exists (select 1 from pg_catalog.pg_roles where rolname = 'anon') then
    create role anon nologin;
  end if;
  if not exists (select 1 from pg_catalog.pg_roles where rolname = 'authenticated') then
    create role authenticated nologin;
  end if;
  if not exists (select 1 from pg_catalog.pg_roles where rolname = 'service_role') then
    create role service_role nologin bypassrls;
  end if;
end
$$;

grant usage on schema public to anon, authenticated, service_role;
alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges in schema public
  grant all on functions to anon, authenticated, service_role;
alter default privileges in schema public
  grant all on sequences to anon, authenticated, service_role;

create publication supabase_realtime;

-- Hosted PostgREST sets the statement_timeout of a function for the whole transaction. Here a
-- setting of the database has to do the same; it holds for connections that are opened from now on.
do $$
begin
  execute format('alter database %I set statement_timeout = %L', current_database(), '5s');
end
$$;
