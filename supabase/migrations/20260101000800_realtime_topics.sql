-- Broadcast and Presence on private channels: the topic `trip:<trip id>` is for the ACTIVE members
-- of the trip. Realtime evaluates these policies when a client joins and when it sends a new token,
-- and caches the result in between.
--
-- They apply only to channels opened with `config: { private: true }`. While "Allow public access"
-- is on in the project's Realtime settings, anyone can open a public channel of any name.

-- The trip of a topic; null for other topics. The case avoids the cast, which would fail the join
-- with an error instead of denying it. Ids are lower case, as PostgreSQL and the relay write them,
-- so one trip has one topic.
create function public.topic_trip_id(topic text) returns uuid
language sql
immutable
set search_path = ''
as $$
  select case
    when topic ~ '^trip:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then substr(topic, 6)::uuid
  end;
$$;

revoke execute on function public.topic_trip_id(text) from public, anon;
grant execute on function public.topic_trip_id(text) to authenticated, service_role;

-- realtime.messages exists, with RLS enabled, on hosted Supabase, but not on a local Supabase without
-- Realtime. The sub-selects are evaluated once per query.
do $$
begin
  if to_regclass('realtime.messages') is not null then
    create policy "members listen to their trips' topics"
      on realtime.messages for select to authenticated
      using (
        extension in ('broadcast', 'presence')
        and (select public.is_trip_member(public.topic_trip_id(realtime.topic())))
      );

    create policy "members send to their trips' topics"
      on realtime.messages for insert to authenticated
      with check (
        extension in ('broadcast', 'presence')
        and (select public.is_trip_member(public.topic_trip_id(realtime.topic())))
      );
  end if;
end
$$;
