-- region: role
create role relay_store login password 'change-me';
create schema relay_store authorization relay_store;
alter role relay_store set search_path = relay_store;
-- endregion
