"""Reading the foreign keys of a project from its catalog, with the indexes that they can use."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import psycopg

# A partition's copies of its parent's foreign keys are left out (conparentid). The rows that refer
# to one are looked for in every leaf. What only later versions have is read by its name in JSON.
_FOREIGN_KEYS: Final = """
select key.conname as name,
  namespace.nspname as schema, class.relname as table, class.relkind = 'p' as is_partitioned,
  referenced_namespace.nspname as referenced_schema, referenced.relname as referenced_table,
  actions.words ->> key.confdeltype::text as on_delete,
  actions.words ->> key.confupdtype::text as on_update,
  key.confmatchtype = 'f' as is_match_full,
  key.condeferrable as is_deferrable, key.condeferred as is_deferred,
  key.convalidated as is_validated,
  (
    select json_agg(json_build_array(
        own.attname, theirs.attname, own.attnotnull,
        coalesce(nullif(to_jsonb(key) -> 'confdelsetcols', 'null'), to_jsonb(key.conkey))
          @> to_jsonb(own.attnum)
      ) order by pair.place)
    from unnest(key.conkey, key.confkey) with ordinality as pair (own, theirs, place)
    join pg_catalog.pg_attribute as own on own.attrelid = conrelid and own.attnum = pair.own
    join pg_catalog.pg_attribute as theirs
      on theirs.attrelid = confrelid and theirs.attnum = pair.theirs
  ) as columns,
  (
    select coalesce(json_agg((
      select coalesce(json_agg(array(
          select attname::text
          from unnest(index.indkey::int2[]) with ordinality as part (number, place)
          left join pg_catalog.pg_attribute on attrelid = leaf.oid and attnum = part.number
          where part.place <= index.indnkeyatts order by part.place
        )), '[]')
      from pg_catalog.pg_index as index
      join pg_catalog.pg_class as index_class on index_class.oid = indexrelid
      join pg_catalog.pg_am as method on method.oid = index_class.relam
      where indrelid = leaf.oid and indisvalid and indisready and indpred is null
        and amname in ('btree', 'hash')
    )), '[]')
    from (
      select conrelid::oid where class.relkind <> 'p'
      union all
      select relid from pg_catalog.pg_partition_tree(conrelid) where isleaf and class.relkind = 'p'
    ) as leaf (oid)
  ) as indexes,
  (
    select coalesce(json_agg(array(
        select attname::text from pg_catalog.pg_attribute
        where attrelid = confrelid and attnum = any (index.indkey[0:index.indnkeyatts - 1])
      )), '[]')
    from pg_catalog.pg_index as index
    where indrelid = confrelid and indisunique and indisvalid and indpred is null
      and indexprs is null
  ) as referenced_keys
from pg_catalog.pg_constraint as key
join pg_catalog.pg_class as class on class.oid = conrelid
join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
join pg_catalog.pg_class as referenced on referenced.oid = confrelid
join pg_catalog.pg_namespace as referenced_namespace
  on referenced_namespace.oid = referenced.relnamespace
cross join (
  select '{"a": "no action", "r": "restrict", "c": "cascade", "n": "set null", "d": "set default"}'
    ::jsonb as words
) as actions
where contype = 'f' and conparentid = 0
  and coalesce(to_jsonb(key) ->> 'conenforced', 'true') = 'true'
order by 2, 3, 1
"""


class ReferentialAction(StrEnum):
    """What a foreign key does to the rows that refer to a row that is removed or changed."""

    NO_ACTION = "no action"
    RESTRICT = "restrict"
    CASCADE = "cascade"
    SET_NULL = "set null"
    SET_DEFAULT = "set default"


@dataclass(frozen=True, slots=True)
class ForeignKeyFacts:
    """One enforced foreign key, of a table in any schema.

    Attributes:
        columns: those that refer, in the order of `referenced_columns`.
        not_null_columns: those of them that are NOT NULL.
        nulled_columns: those of them that `on delete set null` sets.
        indexes: of each leaf partition, or of the table itself: the columns of every index that can
            search all of its rows, in order; None for an expression.
        referenced_keys: the columns of every unique index of the referenced table.
    """

    schema: str
    table: str
    name: str
    is_partitioned: bool
    columns: Sequence[str]
    not_null_columns: Sequence[str]
    nulled_columns: Sequence[str]
    referenced_schema: str
    referenced_table: str
    referenced_columns: Sequence[str]
    on_delete: ReferentialAction
    on_update: ReferentialAction
    is_match_full: bool
    is_deferrable: bool
    is_deferred: bool
    is_validated: bool
    indexes: Sequence[Sequence[Sequence[str | None]]]
    referenced_keys: Sequence[frozenset[str]]


def read_foreign_keys(cursor: psycopg.Cursor[dict[str, Any]]) -> Sequence[ForeignKeyFacts]:
    """Read every enforced foreign key of a database."""
    return [_make_foreign_key(row) for row in cursor.execute(_FOREIGN_KEYS).fetchall()]


def _make_foreign_key(row: dict[str, Any]) -> ForeignKeyFacts:
    columns = row.pop("columns")
    return ForeignKeyFacts(
        columns=[own for own, _, _, _ in columns],
        referenced_columns=[theirs for _, theirs, _, _ in columns],
        not_null_columns=[own for own, _, is_not_null, _ in columns if is_not_null],
        nulled_columns=[own for own, _, _, is_nulled in columns if is_nulled],
        on_delete=ReferentialAction(row.pop("on_delete")),
        on_update=ReferentialAction(row.pop("on_update")),
        referenced_keys=[frozenset(key) for key in row.pop("referenced_keys")],
        **row,
    )
