-- Receiving into PostgreSQL: one call stores a group of events, moves their entities and commits.
-- app/store/receive.py does the same in SQLite; a test compares the two. After a release, a change
-- needs a migration that runs this file again.
--
-- Returns a receipt for each event, in order: 0 accepted, 1 duplicate, 2 conflict.

create or replace function relay_receive(
    event_ids text[], types text[], kinds text[], keys text[], trip_ids text[], user_ids text[],
    occurred_ats bigint[], are_removals boolean[], received_ats bigint[], digests bytea[],
    entity_rows text[], payloads text[]
) returns smallint[]
language plpgsql
-- Less than the callers wait.
set lock_timeout = '4s'
as $$
declare
    event record;
    event_sequence bigint;
    -- The version, row and queue that the event gives its entity.
    version_at bigint;
    version_is_removal boolean;
    version_sequence bigint;
    new_row text;
    new_priority smallint;
    -- The latest removal of the entity's parents, or of the user itself.
    removal record;
    child_keys text[];
    is_superseded boolean;
    erase_before bigint;
    erase_sequence bigint;
    receipts smallint[] := '{}';
begin
    -- Replicas receive one after the other: two transactions that cannot see each other could store
    -- a membership under a trip that is being removed, and two that lock entities in the order of
    -- their events would deadlock. A paused replica does not hold the lock: its call continues.
    perform pg_advisory_xact_lock('events'::regclass::oid::bigint);

    for event in
        select * from unnest(
            event_ids, types, kinds, keys, trip_ids, user_ids, occurred_ats, are_removals,
            received_ats, digests, entity_rows, payloads
        ) as given (
            event_id, type, kind, key, trip_id, user_id, occurred_at, is_removal, received_at,
            digest, desired_row, payload
        )
    loop
        insert into events (
            event_id, type, kind, key, occurred_at, is_removal, received_at, digest, data,
            previous_sequence
        ) values (
            event.event_id, event.type, event.kind, event.key, event.occurred_at,
            event.is_removal, event.received_at, event.digest, event.payload,
            (select latest_event from entities where kind = event.kind and key = event.key)
        )
        on conflict (event_id) do nothing
        returning sequence into event_sequence;

        if event_sequence is null then
            receipts := receipts || (
                select case when digest = event.digest then 1 else 2 end
                from events where event_id = event.event_id
            )::smallint;
            continue;
        end if;
        receipts := receipts || 0::smallint;

        version_at := event.occurred_at;
        version_is_removal := event.is_removal;
        version_sequence := event_sequence;
        new_row := event.desired_row;
        new_priority := case
            when not event.is_removal then 1 when event.kind = 'membership' then 0 else 2 end;

        if event.kind = 'membership' then
            select removed_at, removal_sequence into removal
            from entities
            where removed_at is not null
              and ((kind = 'trip' and key = event.trip_id)
                or (kind = 'user' and key = event.user_id))
            order by removed_at desc, removal_sequence desc
            limit 1;
        elsif event.kind = 'user' and not event.is_removal then
            select removed_at, removal_sequence into removal
            from entities
            where kind = 'user' and key = event.key and removed_at is not null;
        else
            select null::bigint as removed_at, null::bigint as removal_sequence into removal;
        end if;
        is_superseded := removal.removed_at is not null
            and (removal.removed_at, true, removal.removal_sequence)
              > (version_at, version_is_removal, version_sequence);
        if is_superseded and event.kind = 'membership' then
            -- The membership falls with its trip or user.
            version_at := removal.removed_at;
            version_is_removal := true;
            version_sequence := removal.removal_sequence;
            new_row := null;
            new_priority := 0;
        end if;

        insert into entities as e (
            kind, key, user_id, occurred_at, is_removal, sequence, row, state, priority,
            revision, pending_since, due_at, attempts, awaits_parent, latest_event
        ) values (
            event.kind, event.key, event.user_id, version_at, version_is_removal,
            version_sequence, new_row, 'pending', new_priority,
            1, event.received_at, 0, 0, false, event_sequence
        )
        on conflict (kind, key) do update set
            user_id = excluded.user_id,
            occurred_at = excluded.occurred_at,
            is_removal = excluded.is_removal,
            sequence = excluded.sequence,
            row = excluded.row,
            -- While an entity is applied, an equal row costs no write.
            state = case
                when e.state = 'applied' and e.row is not distinct from excluded.row
                then 'applied' else 'pending' end,
            applied_occurred_at = case
                when e.state = 'applied' and e.row is not distinct from excluded.row
                then excluded.occurred_at else e.applied_occurred_at end,
            applied_sequence = case
                when e.state = 'applied' and e.row is not distinct from excluded.row
                then excluded.sequence else e.applied_sequence end,
            priority = excluded.priority,
            revision = e.revision + 1,
            pending_since = case
                when e.state = 'pending' then e.pending_since else excluded.pending_since end,
            due_at = 0,
            attempts = 0,
            awaits_parent = false,
            waiting_since = null,
            last_error_code = null,
            last_error = null,
            latest_event = excluded.latest_event,
            replay = case when e.state = 'applied' then null else e.replay end
        where (excluded.occurred_at, excluded.is_removal, excluded.sequence)
            > (e.occurred_at, e.is_removal, e.sequence);
        if not found then
            -- The event came too late to move its entity.
            update entities set latest_event = event_sequence
            where kind = event.kind and key = event.key;
        end if;

        if event.is_removal and event.kind <> 'membership' then
            -- Even a removal that lost to a newer creation is kept.
            update entities
            set removed_at = event.occurred_at, removal_sequence = event_sequence
            where kind = event.kind and key = event.key
              and (removed_at is null
                or (removed_at, removal_sequence) < (event.occurred_at, event_sequence));
            -- Remove the memberships that are not newer.
            if event.kind = 'trip' then
                -- A membership's key is <trip_id>/<user_id>; 0 is the character after the slash.
                select array_agg(key) into child_keys from entities
                where kind = 'membership' and key > event.key || '/' and key < event.key || '0';
            else
                select array_agg(key) into child_keys from entities
                where kind <> 'trip' and user_id = event.key;
            end if;
            update entities set
                occurred_at = event.occurred_at,
                is_removal = true,
                sequence = event_sequence,
                row = null,
                state = case when state = 'applied' and row is null
                    then 'applied' else 'pending' end,
                applied_occurred_at = case when state = 'applied' and row is null
                    then event.occurred_at else applied_occurred_at end,
                applied_sequence = case when state = 'applied' and row is null
                    then event_sequence else applied_sequence end,
                priority = 0,
                revision = revision + 1,
                pending_since = case when state = 'pending'
                    then pending_since else event.received_at end,
                due_at = 0,
                attempts = 0,
                awaits_parent = false,
                waiting_since = null,
                last_error_code = null,
                last_error = null,
                replay = case when state = 'applied' then null else replay end
            where kind = 'membership' and key = any (child_keys)
              and (occurred_at, is_removal, sequence) < (event.occurred_at, true, event_sequence);
        end if;

        if event.kind = 'user' and (event.is_removal or is_superseded) then
            -- Leave nothing but the id of a removed user in their events, as canonical JSON.
            erase_before := case when is_superseded then removal.removed_at else version_at end;
            erase_sequence := case
                when is_superseded then removal.removal_sequence else event_sequence end;
            update events set data = '{"id":"' || event.key || '"}'
            where kind = 'user' and key = event.key
              and data <> '{"id":"' || event.key || '"}'
              and (occurred_at, is_removal, sequence) <= (erase_before, true, erase_sequence);
        end if;
    end loop;

    if 0 = any (receipts) then
        perform pg_notify('relay', 'event');
    end if;
    return receipts;
end
$$;
