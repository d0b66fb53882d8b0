-- Receiving into PostgreSQL: one call stores a group of events, moves their entities and commits.
-- app/store/receive.py does the same in SQLite; a test compares the two. A name after @ stands for a
-- statement of that module, whose parameters are the fields of `given`. After a release, a change
-- needs a migration that creates the function again.
--
-- Returns a receipt for each event, in order: 0 accepted, 1 duplicate, 2 conflict.

create or replace function relay_receive(
    event_ids text[], types text[], kinds text[], keys text[], trip_ids text[], user_ids text[],
    occurred_ats bigint[], are_removals boolean[], entity_rows text[], payloads text[],
    digests bytea[], received_ats bigint[]
) returns smallint[]
language plpgsql
-- Less than the callers wait.
set lock_timeout = '4s'
as $$
declare
    given record;
    -- The latest removal of the entity's parents, or of the user itself.
    removal record;
    is_superseded boolean;
    receipts smallint[] := '{}';
begin
    -- Replicas receive one after the other: two transactions that cannot see each other could store
    -- a membership under a trip that is being removed, and two that lock entities in the order of
    -- their events would deadlock. A paused replica does not hold the lock: its call continues.
    perform pg_advisory_xact_lock('events'::regclass::oid::bigint);

    for given in
        select *,
            null::bigint as sequence,
            null::bigint as event_sequence,
            trip_id as parent_trip,
            case kind when 'membership' then user_id when 'user' then key end as parent_user,
            case when not is_removal then 1 when kind = 'membership' then 0 else 2 end as priority,
            case when is_removal and kind = 'membership' then occurred_at end as revoked_at
        from unnest(
            event_ids, types, kinds, keys, trip_ids, user_ids, occurred_ats, are_removals,
            entity_rows, payloads, digests, received_ats
        ) as event (
            event_id, type, kind, key, trip_id, user_id, occurred_at, is_removal, row, data,
            digest, received_at
        )
    loop
        @INSERT_EVENT
        returning sequence into given.event_sequence;
        if given.event_sequence is null then
            receipts := receipts || (
                select case when digest = given.digest then 1 else 2 end
                from events where event_id = given.event_id
            )::smallint;
            continue;
        end if;
        receipts := receipts || 0::smallint;
        given.sequence := given.event_sequence;

        @SELECT_REMOVAL
        into removal;
        is_superseded := coalesce(
            (removal.removed_at, true, removal.removal_sequence)
              > (given.occurred_at, given.is_removal, given.sequence), false);
        if is_superseded and given.kind = 'membership' then
            -- The membership falls with its trip or user.
            given.occurred_at := removal.removed_at;
            given.is_removal := true;
            given.sequence := removal.removal_sequence;
            given.row := null;
            given.priority := 0;
            -- It never gave access, so it is no revocation.
            given.revoked_at := null;
        end if;

        @MOVE_ENTITY;
        if not found then
            @SET_LATEST_EVENT;
        end if;

        if given.is_removal and given.kind = 'trip' then
            @SET_REMOVAL;
            @CASCADE_FROM_TRIP;
        elsif given.is_removal and given.kind = 'user' then
            @SET_REMOVAL;
            @CASCADE_FROM_USER;
        end if;

        if given.kind = 'user' and (given.is_removal or is_superseded) then
            given.data := '{"id":"' || given.key || '"}';
            if is_superseded then
                given.occurred_at := removal.removed_at;
                given.sequence := removal.removal_sequence;
            end if;
            @ERASE_EVENTS;
        end if;
    end loop;

    if 0 = any (receipts) then
        perform pg_notify('relay', 'event');
    end if;
    return receipts;
end
$$;
