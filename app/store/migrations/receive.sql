-- Receiving into PostgreSQL: one call stores a group of events, moves their entities and commits.
-- app/store/receive.py does the same in SQLite; a test compares the two. After a release, a change
-- needs a migration that runs this file again.
--
-- Returns a receipt for each event, in order: 0 accepted, 1 duplicate, 2 conflict.

create or replace function relay_receive(
    event_ids text[], types text[], kinds text[], keys text[], trip_ids text[], user_ids text[],
    occurred_ats bigint[], are_removals boolean[], entity_rows text[], payloads text[],
    digests bytea[], received_ats bigint[], traces text[]
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
    child_keys text[];
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
            entity_rows, payloads, digests, received_ats, traces
        ) as event (
            event_id, type, kind, key, trip_id, user_id, occurred_at, is_removal, row, data,
            digest, received_at, trace
        )
    loop
        insert into events (
            event_id, type, kind, key, occurred_at, is_removal, received_at, digest, data,
            trace, previous_sequence
        ) values (
            given.event_id, given.type, given.kind, given.key, given.occurred_at,
            given.is_removal, given.received_at, given.digest, given.data,
            given.trace, (select latest_event from entities where kind = given.kind and key = given.key)
        )
        on conflict (event_id) do nothing
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

        select removed_at, removal_sequence into removal
        from entities
        where removed_at is not null
          and ((kind = 'trip' and key = given.parent_trip)
            or (kind = 'user' and key = given.parent_user))
        order by removed_at desc, removal_sequence desc
        limit 1;
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

        -- The new row is due at once, regardless of the outcome of the old one.
        insert into entities as e (
            kind, key, user_id, occurred_at, is_removal, sequence, row, state, priority,
            revision, pending_since, due_at, attempts, awaits_parent, latest_event,
            revoked_at, revocation_received_at
        ) values (
            given.kind, given.key, given.user_id, given.occurred_at, given.is_removal,
            given.sequence, given.row, 'pending', given.priority,
            1, given.received_at, 0, 0, false, given.event_sequence,
            given.revoked_at, case when given.revoked_at is not null then given.received_at end
        )
        on conflict (kind, key) do update set
            user_id = excluded.user_id,
            occurred_at = excluded.occurred_at,
            is_removal = excluded.is_removal,
            sequence = excluded.sequence,
            row = excluded.row,
            state = case when e.state = 'applied' and e.row is not distinct from excluded.row
                then 'applied' else 'pending' end,
            applied_occurred_at =
                case when e.state = 'applied' and e.row is not distinct from excluded.row
                then excluded.occurred_at else e.applied_occurred_at end,
            applied_sequence =
                case when e.state = 'applied' and e.row is not distinct from excluded.row
                then excluded.sequence else e.applied_sequence end,
            priority = excluded.priority,
            revision = e.revision + 1,
            pending_since =
                case when e.state = 'pending' then e.pending_since else excluded.pending_since end,
            due_at = 0,
            attempts = 0,
            awaits_parent = false,
            waiting_since = null,
            last_error_code = null,
            last_error = null,
            latest_event = excluded.latest_event,
            -- The first of several revocations in a row counts.
            revoked_at = case when e.is_removal and excluded.is_removal
                and (e.revoked_at is not null or e.applied_sequence is not null)
                then e.revoked_at else excluded.revoked_at end,
            revocation_received_at = case when e.is_removal and excluded.is_removal
                and (e.revoked_at is not null or e.applied_sequence is not null)
                then e.revocation_received_at else excluded.revocation_received_at end,
            replay = case when e.state = 'applied' then null else e.replay end
        where (excluded.occurred_at, excluded.is_removal, excluded.sequence)
            > (e.occurred_at, e.is_removal, e.sequence);
        if not found then
            -- The event came too late to move its entity.
            update entities set latest_event = given.event_sequence
            where kind = given.kind and key = given.key;
        end if;

        if given.is_removal and given.kind <> 'membership' then
            -- The latest removal stays known, even one that lost to a newer creation.
            update entities set removed_at = given.occurred_at, removal_sequence = given.sequence
            where kind = given.kind and key = given.key
              and (removed_at is null
                or (removed_at, removal_sequence) < (given.occurred_at, given.sequence));

            -- The memberships that are not newer fall with their trip or user.
            if given.kind = 'trip' then
                -- 0 is the character after the slash in the key of a membership.
                child_keys := array(
                    select key from entities
                    where kind = 'membership' and key > given.key || '/' and key < given.key || '0'
                );
            else
                child_keys := array(
                    select key from entities where kind = 'membership' and user_id = given.key
                );
            end if;
            update entities set
                occurred_at = given.occurred_at,
                is_removal = true,
                sequence = given.sequence,
                row = null,
                state = case when state = 'applied' and row is null
                    then 'applied' else 'pending' end,
                applied_occurred_at = case when state = 'applied' and row is null
                    then given.occurred_at else applied_occurred_at end,
                applied_sequence = case when state = 'applied' and row is null
                    then given.sequence else applied_sequence end,
                priority = 0,
                revision = revision + 1,
                pending_since =
                    case when state = 'pending' then pending_since else given.received_at end,
                due_at = 0,
                attempts = 0,
                awaits_parent = false,
                waiting_since = null,
                last_error_code = null,
                last_error = null,
                revoked_at = case when is_removal
                    and (revoked_at is not null or applied_sequence is not null)
                    then revoked_at else given.occurred_at end,
                revocation_received_at = case when is_removal
                    and (revoked_at is not null or applied_sequence is not null)
                    then revocation_received_at else given.received_at end,
                replay = case when state = 'applied' then null else replay end
            where kind = 'membership' and key = any (child_keys)
              and (occurred_at, is_removal, sequence) < (given.occurred_at, true, given.sequence);
        end if;

        if given.kind = 'user' and (given.is_removal or is_superseded) then
            given.data := '{"id":"' || given.key || '"}';
            if is_superseded then
                given.occurred_at := removal.removed_at;
                given.sequence := removal.removal_sequence;
            end if;
            -- Nothing but the id of a removed user stays in their events.
            update events set data = given.data
            where kind = given.kind and key = given.key and data <> given.data
              and (occurred_at, is_removal, sequence)
               <= (given.occurred_at, true, given.sequence);
        end if;
    end loop;

    if 0 = any (receipts) then
        perform pg_notify('relay', 'event');
    end if;
    return receipts;
end
$$;
