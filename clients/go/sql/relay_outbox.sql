-- +goose Up
-- The outbox of events for the relay. Needs PostgreSQL 14 or later. It also upgrades an outbox that
-- has only the columns of the first statement.
create table if not exists relay_outbox (
  id            bigint generated always as identity primary key,
  -- The webhook-id, made once: every retry carries it. The time in milliseconds, then random bits.
  event_id      text not null unique default 'evt_'
                || lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0')
                || left(replace(gen_random_uuid()::text, '-', ''), 20),
  type          text not null,
  -- clock_timestamp(), not now(): now() is when the transaction began, before it waited for the row.
  occurred_at   timestamptz not null default clock_timestamp() check (isfinite(occurred_at)),
  data          jsonb not null,
  parked_at     timestamptz,
  parked_reason text
);

alter table relay_outbox
  -- 0: a revocation, which is sent first; null: parked. Generated, so that no writer can forget it.
  add column if not exists priority smallint generated always as (
    case when parked_at is not null then null
         when type like '%.deleted'
           or type like 'membership.%' and data ->> 'status' is distinct from 'ACTIVE' then 0
         else 1 end) stored,
  -- A sender holds the row until then. If it dies, another sender takes the row.
  add column if not exists claimed_until timestamptz;

drop index if exists relay_outbox_unsent_idx;
create index if not exists relay_outbox_due_idx on relay_outbox (priority, id) where priority is not null;

-- Wakes the senders at the commit. Without this trigger, they poll.
-- +goose StatementBegin
create or replace function relay_outbox_notify() returns trigger language plpgsql as $$
begin
  perform pg_notify('relay_outbox', '');
  return null;
end
$$;
-- +goose StatementEnd

create or replace trigger relay_outbox_notify after insert on relay_outbox
  for each statement execute function relay_outbox_notify();
