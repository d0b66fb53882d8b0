-- The same for the messages of a trip, and an index for the policies on what an author writes, when
-- no id narrows it down.

alter policy "members read" on public.chat_messages
  using (trip_id = any (array(select public.active_trip_ids())));

create index chat_messages_user_id_idx on public.chat_messages (user_id);
