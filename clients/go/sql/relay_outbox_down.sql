drop table if exists relay_outbox;
drop function if exists relay_outbox_notify();
