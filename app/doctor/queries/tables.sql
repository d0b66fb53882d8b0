select class.relname as name, nspname as schema, relrowsecurity as has_row_security, attributes.*,
  (
    select coalesce(json_agg(array(
        select attname::text from pg_attribute
        where attrelid = class.oid and attnum = any (indkey[0:indnkeyatts - 1])
      )), '[]')
    from pg_index
    where indrelid = class.oid and indisunique and indisvalid and indimmediate
      and indpred is null and indexprs is null
  ) as unique_keys,
  (
    select coalesce(json_object_agg(rolname, array(
        select verb from unnest('{select,insert,update}'::text[]) as verb
        where has_any_column_privilege(role.oid, class.oid, verb)
        union all select verb from unnest('{delete,truncate}'::text[]) as verb
        where has_table_privilege(role.oid, class.oid, verb)
      )), '{}')
    from pg_roles as role where rolname in ('anon', 'authenticated')
  ) as privileges,
  (
    select coalesce(json_object_agg(rolname, array(
        select attname::text from pg_attribute
        where attrelid = class.oid and attnum > 0 and not attisdropped
          and has_column_privilege(role.oid, class.oid, attnum, 'update')
      )), '{}')
    from pg_roles as role where rolname in ('anon', 'authenticated')
  ) as updatable,
  exists (
    select from pg_publication_tables as published
    where pubname = 'supabase_realtime' and schemaname = nspname and tablename = class.relname
  ) as is_published,
  relreplident = 'f' as publishes_old_rows
from pg_class as class
join pg_namespace as namespace on namespace.oid = relnamespace
cross join lateral (
  select array_agg(attname::text order by attnum) as columns,
    coalesce(array_agg(attname::text order by attnum) filter (
      where attnotnull and not atthasdef and attidentity = ''
    ), '{}') as required,
    coalesce(json_object_agg(attname, typcategory), '{}') as categories,
    coalesce(json_object_agg(attname, json_build_array(type_namespace.nspname, typname, (
      select json_agg(enumlabel order by enumsortorder) from pg_enum where enumtypid = type.oid
    ))) filter (where typtype = 'e'), '{}') as enums
  from pg_attribute as attribute
  join pg_type as type on type.oid = atttypid
  join pg_namespace as type_namespace on type_namespace.oid = typnamespace
  where attrelid = class.oid and attnum > 0 and not attisdropped
) as attributes
where relkind in ('r', 'p') and nspname = any (%(schemas)s)
order by 1
