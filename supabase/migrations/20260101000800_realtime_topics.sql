-- Broadcast and Presence on private channels: the topic `trip:<trip id>` is for the trip's ACTIVE
-- members. Realtime asks these policies when a client joins and when it sends a new token, and
-- keeps the answer in between.
--
-- Only channels opened with `config: { private: true }` are asked about. Until "Allow public
-- access" is off in the project's Realtime settings, anybody may open a public one of any name.

-- The trip of a topic; null if it is none. A cast that fails would be an error in the log and in
-- every join, not a no; inside a case it is not tried. Lower case only, as Postgres and the relay
-- write ids: one trip has one topic.
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

-- Hosted Supabase has realtime.messages, with RLS on; a local one without Realtime has not.
-- Sub-selects, as above: asked once, not for each extension.
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
