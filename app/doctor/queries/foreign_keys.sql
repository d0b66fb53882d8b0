-- Excludes a partition's copies of its parent's foreign keys (conparentid). A delete searches every
-- leaf partition. Columns of later versions only are read by their names in JSON.
select key.conname as name, namespace.nspname as schema, class.relname as table,
  class.relkind = 'p' as is_partitioned, pg_get_constraintdef(key.oid) as definition,
  referenced_namespace.nspname as referenced_schema, referenced.relname as referenced_table,
  confdeltype::text as on_delete, columns.*,
  (
    select coalesce(json_agg((
      select coalesce(json_agg(array(
          select attname::text
          from unnest(indkey::int2[]) with ordinality as part (number, position)
          left join pg_attribute on attrelid = leaf.oid and attnum = part.number
          where position <= indnkeyatts order by position
        )), '[]')
      from pg_index
      join pg_class as index_class on index_class.oid = indexrelid
      join pg_am on pg_am.oid = index_class.relam
      where indrelid = leaf.oid and indisvalid and indisready and amname in ('btree', 'hash')
        -- A comparison with the column implies that it is not null.
        and (indpred is null or pg_get_expr(indpred, indrelid) in (
          select '(' || quote_ident(name) || ' IS NOT NULL)' from unnest(columns.columns) as name
        ))
    )), '[]')
    from (
      select conrelid::oid where class.relkind <> 'p'
      union all
      select relid from pg_partition_tree(conrelid) where isleaf and class.relkind = 'p'
    ) as leaf (oid)
  ) as indexes,
  (
    select coalesce(json_agg(array(
        select attname::text from pg_attribute
        where attrelid = confrelid and attnum = any (indkey[0:indnkeyatts - 1])
      )), '[]')
    from pg_index
    where indrelid = confrelid and indisunique and indisvalid and indpred is null
      and indexprs is null
  ) as referenced_keys
from pg_constraint as key
join pg_class as class on class.oid = conrelid
join pg_namespace as namespace on namespace.oid = class.relnamespace
join pg_class as referenced on referenced.oid = confrelid
join pg_namespace as referenced_namespace on referenced_namespace.oid = referenced.relnamespace
cross join lateral (
  select array_agg(own.attname::text order by position) as columns,
    array_agg(theirs.attname::text order by position) as referenced_columns,
    coalesce(array_agg(own.attname::text) filter (where own.attnotnull), '{}') as not_null_columns,
    coalesce(array_agg(own.attname::text) filter (
      where coalesce(nullif(to_jsonb(key) -> 'confdelsetcols', 'null'), to_jsonb(conkey))
        @> to_jsonb(own.attnum)
    ), '{}') as nulled_columns
  from unnest(conkey, confkey) with ordinality as pair (own, theirs, position)
  join pg_attribute as own on own.attrelid = conrelid and own.attnum = pair.own
  join pg_attribute as theirs on theirs.attrelid = confrelid and theirs.attnum = pair.theirs
) as columns
where contype = 'f' and conparentid = 0
  and coalesce(to_jsonb(key) ->> 'conenforced', 'true') = 'true'
order by 2, 3, 1
