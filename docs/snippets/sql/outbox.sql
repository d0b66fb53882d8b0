-- region: outbox
create table relay_outbox (
  id            bigint generated always as identity primary key,
  -- The webhook-id, made once: every retry carries it. The time in milliseconds, then random bits.
  event_id      text not null unique default 'evt_'
                || lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0')
                || left(replace(gen_random_uuid()::text, '-', ''), 20),
  type          text not null,
  -- clock_timestamp(), not now(): now() is when the transaction began, before it waited for the row.
  occurred_at   timestamptz not null default clock_timestamp(),
  data          jsonb not null,
  parked_at     timestamptz,
  parked_reason text
);

create index relay_outbox_unsent_idx on relay_outbox (id) where parked_at is null;
-- endregion
