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
