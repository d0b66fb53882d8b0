-- The same for chat messages, and an index for the policies on an author's own messages, for queries
-- without an id.

alter policy "members read" on public.chat_messages
  using (trip_id = any (array(select public.active_trip_ids())));

create index chat_messages_user_id_idx on public.chat_messages (user_id);
