select nspname as schema, proname as name,
  pg_get_function_identity_arguments(proc.oid) as arguments,
  array(
    select 'public' from aclexplode(coalesce(proacl, acldefault('f', proowner)))
    where grantee = 0 and privilege_type = 'EXECUTE'
    union all
    (
      select rolname::text from pg_roles as role
      where rolname in ('anon', 'authenticated', 'service_role')
        and has_function_privilege(role.oid, proc.oid, 'execute')
      order by rolname
    )
  ) as executors,
  pg_get_functiondef(proc.oid) as definition
from pg_proc as proc
join pg_namespace as namespace on namespace.oid = pronamespace
where prokind = 'f'
  and nspname not in ('pg_catalog', 'information_schema', 'extensions', 'auth', 'storage')
  and not exists (
    select from pg_depend
    where objid = proc.oid and classid = 'pg_proc'::regclass and deptype = 'e'
  )
order by 1, 2, arguments
