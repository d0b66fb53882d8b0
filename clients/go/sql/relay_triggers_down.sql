drop function if exists relay_record_change() cascade;
drop function if exists relay_record_truncate() cascade;
drop function if exists relay_record(text, jsonb);
drop function if exists relay_key(text, jsonb);
drop function if exists relay_memberships_of(text, text);
drop function if exists relay_membership(trip_memberships);
drop function if exists relay_trip(trips);
drop function if exists relay_user(users);
