-- The functions through which the relay writes and compares. Every project needs this file;
-- it is idempotent (`relay sql` prints it).
--
-- The functions run with the caller's privileges (security invoker) and read table and column names
-- from the request: they can do nothing that the service_role key could not do directly. Requests
-- and responses are described in docs/decisions/0012-one-fenced-function.md.

create schema if not exists relay;

-- One row. Only the latest claim may write, with increasing sequences: a request that arrives late,
-- twice or out of order changes nothing.
create table if not exists relay.fence (
  is_only boolean primary key default true check (is_only),
  epoch bigint not null,
  sequence bigint not null
);
insert into relay.fence (epoch, sequence) values (0, 0) on conflict do nothing;

revoke all on schema relay from public, anon, authenticated;
revoke all on relay.fence from public, anon, authenticated;
grant usage on schema relay to service_role;
grant select, update on relay.fence to service_role;

-- Claims the fence: every request of an earlier claim becomes stale.
--   {"protocol": 1} → {"protocol": 1, "epoch": 42}
create or replace function public.relay_claim(request text) returns json
language plpgsql
security invoker
set search_path = ''
set lock_timeout = '2s'
set statement_timeout = '5s'
as $$
declare
  new_epoch bigint;
begin
  if (request::json ->> 'protocol') is distinct from '1' then
    raise exception 'unsupported protocol' using errcode = '0A000';
  end if;
  update relay.fence set epoch = epoch + 1, sequence = 0 where is_only returning epoch
    into strict new_epoch;
  return json_build_object('protocol', 1, 'epoch', new_epoch);
end
$$;

create or replace function relay.schema_of(operation json) returns text
language sql
immutable
security invoker
set search_path = ''
as $$
  select coalesce(substring(operation ->> 'table' from '^([^.]+)\.'), 'public')
$$;

create or replace function relay.table_of(operation json) returns text
language sql
immutable
security invoker
set search_path = ''
as $$
  select regexp_replace(operation ->> 'table', '^[^.]+\.', '')
$$;

-- The type of a column; text for a column that does not exist, so that PostgreSQL itself reports it.
create or replace function relay.type_of(schema_name text, table_name text, column_name text)
returns text
language sql
stable
security invoker
set search_path = ''
as $$
  select coalesce(
    (
      select format_type(attribute.atttypid, attribute.atttypmod)
      from pg_catalog.pg_attribute as attribute
      join pg_catalog.pg_class as class on class.oid = attribute.attrelid
      join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
      where namespace.nspname = schema_name and class.relname = table_name
        and attribute.attname = column_name and attribute.attnum > 0
    ),
    'pg_catalog.text'
  )
$$;

-- Builds the SQL statement of one operation. Its parameter $1 is a JSON array of rows, all with the
-- columns of the first. PostgreSQL itself reports a missing table or column.
create or replace function relay.write_statement(operation json) returns text
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  verb constant text := operation ->> 'operation';
  schema_name constant text := relay.schema_of(operation);
  table_name constant text := relay.table_of(operation);
  target constant text := format('%I.%I', schema_name, table_name);
  key_columns constant text[] := array(select json_array_elements_text(operation -> 'key'));
  columns constant text[] := array(select json_object_keys(operation -> 'rows' -> 0));
  typed_rows text;
  key_list text;
  key_match text;
  column_list text;
  assignments text;
begin
  select string_agg(
    format('%I %s', given.name, relay.type_of(schema_name, table_name, given.name)), ', '
  )
  into typed_rows
  from unnest(case when verb = 'delete' then key_columns else columns end) as given (name);
  typed_rows := format('json_to_recordset($1) as given (%s)', typed_rows);

  select string_agg(format('%I', name), ', '),
    string_agg(format('existing.%1$I = given.%1$I', name), ' and ')
  into key_list, key_match
  from unnest(key_columns) as name;

  select string_agg(format('%I', name), ', '),
    string_agg(format('%1$I = %2$I.%1$I', name, case verb when 'update' then 'given' else 'excluded' end), ', ')
      filter (where name <> all (key_columns))
  into column_list, assignments
  from unnest(columns) as name;

  case verb
    when 'delete' then
      return format('delete from %s as existing using %s where %s', target, typed_rows, key_match);
    when 'update' then
      return format(
        'update %s as existing set %s from %s where %s',
        target, coalesce(assignments, format('%1$I = given.%1$I', key_columns[1])),
        typed_rows, key_match
      );
    when 'upsert' then
      return format(
        'insert into %s as existing (%s) select %s from %s on conflict (%s) do %s',
        target, column_list, column_list, typed_rows, key_list,
        coalesce('update set ' || assignments, 'nothing')
      );
    else
      raise exception 'unknown operation' using errcode = '0A000';
  end case;
end
$$;

-- Describes the failure of a row without any values. PostgreSQL quotes values in some messages, and
-- a trigger may put anything into any field. So a name is returned only if the catalog holds it, and
-- a message only if no other function was running (a trigger would be in the context) and its form
-- is known to hold nothing but names and numbers.
create or replace function relay.describe_failure(
  operation integer, row_number integer, sqlstate_given text, message_given text,
  schema_given text, table_given text, column_given text, constraint_given text, context text
) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  name constant text := '(?:"[^"[:cntrl:]]{1,130}"|[[:alnum:]_.]{1,130})';
  forms constant text[] := array[
    'null value in column <name> of relation <name> violates not-null constraint',
    'insert or update on table <name> violates foreign key constraint <name>',
    'update or delete on table <name> violates (?:RESTRICT setting of )?foreign key constraint <name> on table <name>',
    'duplicate key value violates unique constraint <name>',
    'conflicting key value violates exclusion constraint <name>',
    'new row for relation <name> violates check constraint <name>',
    'no partition of relation <name> found for row',
    'value for domain <name> violates check constraint <name>',
    'domain <name> does not allow null values',
    'column <name>(?: of relation <name>)? does not exist',
    'relation <name> does not exist',
    'schema <name> does not exist',
    'permission denied for (?:table|schema|relation|function|sequence|view) <name>',
    'new row violates row-level security policy(?: <name>)? for table <name>',
    'there is no unique or exclusion constraint matching the ON CONFLICT specification',
    'ON CONFLICT does not support deferrable unique constraints/exclusion constraints as arbiters',
    'cannot insert a non-DEFAULT value into column <name>',
    'column <name> can only be updated to DEFAULT',
    'cannot (?:insert into|update|delete from|update table|delete from table) (?:view |materialized view |foreign table |table |column )?<name>(?: because [a-z ]+)?',
    'index row (?:size )?[0-9]+ (?:bytes )?exceeds (?:btree version [0-9]+ )?maximum(?: size)?,? [0-9]+ for index <name>',
    'index row requires [0-9]+ bytes, maximum size is [0-9]+',
    'canceling statement due to lock timeout',
    'deadlock detected',
    'could not serialize access due to [a-z/ ]+',
    'value too long for type [[:alnum:]_ ]{1,60}(?:\([0-9]+\))?'
  ];
  -- The rest of such a message is a value and is cut off.
  prefixes constant text[] := array[
    'invalid input syntax for type [[:alnum:]_ ]{1,60}',
    'invalid input value for enum <name>'
  ];
  has_names constant boolean := left(sqlstate_given, 2) in ('23', '42');
  relation oid;
  shown_column text;
  shown_constraint text;
  shown_message text;
begin
  if has_names then
    select class.oid into relation
    from pg_catalog.pg_class as class
    join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
    where namespace.nspname = schema_given and class.relname = table_given;
    select attname into shown_column from pg_catalog.pg_attribute
    where attrelid = relation and attname = column_given and attnum > 0;
    select constraint_given into shown_constraint
    where exists (
      select from pg_catalog.pg_constraint
      where conrelid = relation and conname = constraint_given
    ) or exists (
      select from pg_catalog.pg_index
      join pg_catalog.pg_class as class on class.oid = indexrelid
      where indrelid = relation and class.relname = constraint_given
    );
    if shown_column is null and sqlstate_given in ('23001', '23503') then
      -- PostgreSQL names only the constraint; the catalog has its column.
      select attribute.attname into shown_column
      from pg_catalog.pg_constraint as reference
      join pg_catalog.pg_attribute as attribute
        on attribute.attrelid = relation and attribute.attnum = reference.conkey[1]
      where reference.conrelid = relation and reference.conname = constraint_given
        and reference.contype = 'f' and cardinality(reference.conkey) = 1;
    end if;
  end if;
  if (select count(*) from regexp_matches(context, '^(PL/pgSQL|SQL) function ', 'gn')) = 1 then
    select message_given into shown_message
    from unnest(forms) as form
    where message_given ~ ('^' || replace(form, '<name>', name) || '$') limit 1;
    if shown_message is null then
      select substring(message_given from '^(' || replace(form, '<name>', name) || ')')
      into shown_message
      from unnest(prefixes) as form
      where message_given ~ ('^' || replace(form, '<name>', name)) limit 1;
    end if;
  end if;
  return jsonb_strip_nulls(jsonb_build_object(
    'operation', operation, 'row', row_number, 'sqlstate', sqlstate_given,
    'message', shown_message,
    'schema', case when relation is not null then schema_given end,
    'table', case when relation is not null then table_given end,
    'column', shown_column,
    'constraint', shown_constraint
  ));
end
$$;

-- Applies operations in order, in one transaction. A row that fails is rolled back and reported
-- alone. Once the time budget is used up, the remaining rows are reported as not tried.
create or replace function public.relay_apply(request text) returns json
language plpgsql
security invoker
set search_path = ''
-- For the lock of the fence; the lock timeouts of the operations are set below.
set lock_timeout = '2s'
-- PostgREST sets this for the transaction before the call.
set statement_timeout = '5s'
as $$
declare
  requested constant json := request;
  requested_sequence constant bigint := requested ->> 'sequence';
  deadline constant timestamptz :=
    clock_timestamp() + (requested ->> 'budget_ms')::integer * interval '1 millisecond';
  failures jsonb := '[]';
  not_tried jsonb := '[]';
  operation json;
  operation_number integer;
  statement text;
  given_row json;
  row_number integer;
  row_count integer;
  affected integer;
  failed_state text;
  failed_message text;
  failed_schema text;
  failed_table text;
  failed_column text;
  failed_constraint text;
  failed_context text;
begin
  update relay.fence set sequence = requested_sequence
  where is_only and epoch = (requested ->> 'epoch')::bigint and sequence < requested_sequence;
  if not found then
    raise exception 'stale request' using errcode = 'PT409';
  end if;
  -- A deferred constraint would fail the whole transaction at the end.
  set constraints all immediate;

  for operation, operation_number in
    select value, ordinality - 1
    from json_array_elements(requested -> 'operations') with ordinality
  loop
    row_count := json_array_length(operation -> 'rows');
    continue when row_count = 0;
    statement := relay.write_statement(operation);
    -- The search_path that PostgREST sets for a write to the table: triggers may use names without a
    -- schema, and column types may need the operators of an extension.
    perform set_config(
      'search_path', format('%I, public, extensions', relay.schema_of(operation)), true
    );
    -- First all rows at once, if more than one.
    if row_count > 1 and clock_timestamp() < deadline then
      begin
        perform set_config('lock_timeout', '500ms', true);
        execute statement using operation -> 'rows';
        get diagnostics affected = row_count;
        if affected < row_count and operation ->> 'operation' = 'update' then
          raise no_data_found;
        end if;
        continue;
      exception when others or assert_failure then
        null;  -- Row by row, below, shows which one fails.
      end;
    end if;
    perform set_config('lock_timeout', '100ms', true);
    for given_row, row_number in
      select value, ordinality - 1
      from json_array_elements(operation -> 'rows') with ordinality
    loop
      if clock_timestamp() >= deadline then
        not_tried := not_tried
          || jsonb_build_object('operation', operation_number, 'row', row_number);
        continue;
      end if;
      begin
        execute statement using json_build_array(given_row);
        get diagnostics affected = row_count;
        if affected = 0 and operation ->> 'operation' = 'update' then
          raise no_data_found;
        end if;
      exception when others or assert_failure then
        get stacked diagnostics
          failed_state = returned_sqlstate,
          failed_message = message_text,
          failed_schema = schema_name,
          failed_table = table_name,
          failed_column = column_name,
          failed_constraint = constraint_name,
          failed_context = pg_exception_context;
        failures := failures || relay.describe_failure(
          operation_number, row_number, failed_state, failed_message,
          failed_schema, failed_table, failed_column, failed_constraint, failed_context
        );
      end;
    end loop;
  end loop;
  return json_build_object(
    'sequence', requested_sequence, 'failures', failures, 'not_tried', not_tried
  );
end
$$;

-- Whether a column holds text of any type, which a collation orders.
create or replace function relay.has_collation(
  schema_name text, table_name text, column_name text
) returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
  select exists (
    select from pg_catalog.pg_attribute as attribute
    join pg_catalog.pg_class as class on class.oid = attribute.attrelid
    join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
    where namespace.nspname = schema_name and class.relname = table_name
      and attribute.attname = column_name and attribute.attnum > 0 and attribute.attcollation <> 0
  )
$$;

-- The key columns as SQL, in an order that the relay shares: by type, and byte by byte for text. As
-- text, because types such as citext have an order of their own.
create or replace function relay.ordered_key(given json) returns text[]
language sql
stable
security invoker
set search_path = ''
as $$
  select array(
    select format(
      case when relay.has_collation(relay.schema_of(given), relay.table_of(given), name)
        then 'existing.%I::text collate "C"' else 'existing.%I' end,
      name
    )
    from json_array_elements_text(given -> 'key') as name
  )
$$;

-- The types of the expressions of relay.ordered_key.
create or replace function relay.key_types(given json) returns text[]
language sql
stable
security invoker
set search_path = ''
as $$
  select array(
    select case when relay.has_collation(relay.schema_of(given), relay.table_of(given), name)
      then 'pg_catalog.text'
      else relay.type_of(relay.schema_of(given), relay.table_of(given), name) end
    from json_array_elements_text(given -> 'key') as name
  )
$$;

-- Columns as SQL: an array of their texts.
create or replace function relay.texts_of(names json) returns text
language sql
immutable
security invoker
set search_path = ''
as $$
  select format('array[%s]::text[]', string_agg(format('existing.%I::text', name), ', '))
  from json_array_elements_text(names) as name
$$;

-- Columns as SQL: an array of their texts, a long one as its first 100 characters and its MD5. So the
-- size of a page is bounded, even if somebody writes very long texts.
create or replace function relay.short_texts_of(names json) returns text
language sql
immutable
security invoker
set search_path = ''
as $$
  select format('array[%s]::text[]', string_agg(
    format(
      'case when length(existing.%1$I::text) > 100'
      ' then left(existing.%1$I::text, 100) || md5(existing.%1$I::text)'
      ' else existing.%1$I::text end',
      name
    ), ', '
  ))
  from json_array_elements_text(names) as name
$$;

-- Counts and digests the rows of tables by ranges of the first key column, in one snapshot.
--   {"tables": [{"table": "public.users", "key": ["id"], "columns": ["email", "plan"],
--     "constants": {"plan": "free"}, "thresholds": ["3f…", "9a…"], "except": [["5b…"]]}]}
--   → {"epoch": 42, "sequence": 7, "tables": [
--     {"buckets": [[1003, 2154071870132], [998, …], [1012, …]], "constants": {"plan": "free"}}]}
-- n ascending thresholds make n + 1 buckets: the number of rows, and the sum of their digests. A
-- digest is the first 32 bits of the MD5 of the texts of the key and the columns, joined by U+001F,
-- null as \N. `except` lists keys to leave out. Rows with a null in their key are not counted.
-- Constants come back as texts of their columns' types.
-- All statements of a stable function see one snapshot.
create or replace function public.relay_digest(request text) returns json
language plpgsql
stable
security invoker
set search_path = ''
-- The dispatcher waits for the response: another transaction's lock must not delay it.
set lock_timeout = '500ms'
set statement_timeout = '5s'
as $$
declare
  requested constant json := request;
  given json;
  schema_name text;
  table_name text;
  ordered_key text[];
  constant_columns text;
  constant_texts text;
  constants json;
  buckets json;
  answers jsonb := '[]';
  position relay.fence%rowtype;
begin
  for given in select value from json_array_elements(requested -> 'tables') loop
    schema_name := relay.schema_of(given);
    table_name := relay.table_of(given);
    ordered_key := relay.ordered_key(given);
    execute format(
      $statement$
        select json_agg(
          json_build_array(coalesce(counted.rows, 0), coalesce(counted.sum, 0)) order by number
        )
        from generate_series(0, cardinality($1)) as number
        left join (
          select
            width_bucket(%1$s, $1::%2$s[]) as bucket,
            count(*) as rows,
            sum(
              ('x' || left(md5(array_to_string(%3$s || %4$s, chr(31), '\N')), 8))::bit(32)::bigint
            ) as sum
          from %5$I.%6$I as existing
          where (%7$s) is not null and not exists (
            select from unnest($2) as excepted (key)
            where excepted.key = array_to_string(%3$s, chr(31)) collate "C"
          )
          group by 1
        ) as counted on counted.bucket = number
      $statement$,
      ordered_key[1], (relay.key_types(given))[1],
      relay.texts_of(given -> 'key'), relay.texts_of(given -> 'columns'),
      schema_name, table_name, array_to_string(ordered_key, ', ')
    ) into buckets using
      array(select json_array_elements_text(given -> 'thresholds')),
      array(
        select array_to_string(array(select json_array_elements_text(value)), chr(31))
        from json_array_elements(given -> 'except')
      );
    select
      string_agg(format('%I %s', name, relay.type_of(schema_name, table_name, name)), ', '),
      string_agg(format('%1$L, given.%1$I::text', name), ', ')
    into constant_columns, constant_texts
    from json_object_keys(given -> 'constants') as name;
    constants := '{}';
    if constant_columns is not null then
      execute format(
        'select json_build_object(%s) from json_to_record($1) as given (%s)',
        constant_texts, constant_columns
      ) into constants using given -> 'constants';
    end if;
    answers := answers || jsonb_build_object('buckets', buckets, 'constants', constants);
  end loop;
  select * into strict position from relay.fence;
  return json_build_object(
    'epoch', position.epoch, 'sequence', position.sequence, 'tables', answers
  );
end
$$;

-- Reads rows of one table in the order of their keys, as texts of the key, then of the columns. A
-- text of more than 100 characters is given as its first 100 and its MD5.
-- `from` and `to` (exclusive) limit the first key column; `after` is the key of the last row of the
-- previous page. Rows with a null in their key are left out.
--   {"table": "public.users", "key": ["id"], "columns": ["email"], "from": "3f…", "to": null,
--     "after": null, "limit": 1000}
--   → {"epoch": 42, "sequence": 7, "rows": [["3f…", "a@example.com"], …]}
create or replace function public.relay_read(request text) returns json
language plpgsql
stable
security invoker
set search_path = ''
-- The dispatcher waits for the response: another transaction's lock must not delay it.
set lock_timeout = '500ms'
set statement_timeout = '5s'
as $$
declare
  requested constant json := request;
  schema_name constant text := relay.schema_of(requested);
  table_name constant text := relay.table_of(requested);
  ordered_key constant text[] := relay.ordered_key(requested);
  key_types constant text[] := relay.key_types(requested);
  found json;
  position relay.fence%rowtype;
begin
  execute format(
    $statement$
      select coalesce(json_agg(page.texts), '[]') from (
        select %1$s || %2$s as texts
        from %3$I.%4$I as existing
        where (%7$s) is not null
          and ($1 is null or %5$s >= $1::%6$s) and ($2 is null or %5$s < $2::%6$s)
          and ($3 is null or (%7$s) > (%8$s))
        order by %7$s
        limit $4
      ) as page
    $statement$,
    relay.texts_of(requested -> 'key'), relay.short_texts_of(requested -> 'columns'),
    schema_name, table_name, ordered_key[1], key_types[1], array_to_string(ordered_key, ', '),
    (
      select string_agg(format('$3[%s]::%s', number, type), ', ')
      from unnest(key_types) with ordinality as given (type, number)
    )
  ) into found using
    requested ->> 'from', requested ->> 'to',
    case when json_typeof(requested -> 'after') = 'array'
      then array(select json_array_elements_text(requested -> 'after')) end,
    (requested ->> 'limit')::integer;
  select * into strict position from relay.fence;
  return json_build_object('epoch', position.epoch, 'sequence', position.sequence, 'rows', found);
end
$$;

revoke execute on function public.relay_claim(text), public.relay_apply(text),
  public.relay_digest(text), public.relay_read(text) from public, anon, authenticated;
revoke execute on all functions in schema relay from public, anon, authenticated;
grant execute on function public.relay_claim(text), public.relay_apply(text),
  public.relay_digest(text), public.relay_read(text) to service_role;
grant execute on all functions in schema relay to service_role;

-- Make PostgREST reload its schema cache.
notify pgrst, 'reload schema';
