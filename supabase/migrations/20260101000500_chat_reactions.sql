-- Reactions to messages. Each repeats the trip of its message: a policy that reads it from
-- chat_messages would do so for every row, and Realtime filters only by columns of the same table
-- (filter: `trip_id=eq.…`). The foreign key keeps it consistent.

alter table public.chat_messages
  add constraint chat_messages_id_trip_id_key unique (id, trip_id);

create table public.chat_reactions (
  -- A meaningless key: Realtime sends the primary key of a deleted row to every subscriber.
  id uuid primary key default gen_random_uuid(),
  message_id uuid not null,
  trip_id uuid not null,
  -- No foreign key: like a message, a reaction outlives its author's account.
  user_id uuid not null,
  -- At most 64 bytes; the longest emoji, a kiss between two skin tones, has 10 characters.
  emoji text not null check (char_length(emoji) between 1 and 16),
  created_at timestamptz not null default now(),
  unique (message_id, user_id, emoji),
  foreign key (message_id, trip_id) references public.chat_messages (id, trip_id) on delete cascade
);

create index chat_reactions_trip_id_idx on public.chat_reactions (trip_id);
create index chat_reactions_user_id_idx on public.chat_reactions (user_id);

alter table public.chat_reactions enable row level security;

-- No update: a reaction is only added or deleted.
revoke all on public.chat_reactions from public, anon, authenticated;
grant select, delete, insert (id, message_id, trip_id, user_id, emoji)
  on public.chat_reactions to authenticated;
grant select, insert, update, delete on public.chat_reactions to service_role;

create policy "members read"
  on public.chat_reactions for select to authenticated
  using (trip_id = any (array(select public.active_trip_ids())));

create policy "members react as themselves"
  on public.chat_reactions for insert to authenticated
  with check (user_id = (select auth.uid()) and public.is_trip_member(trip_id));

create policy "members take their own reactions back"
  on public.chat_reactions for delete to authenticated
  using (user_id = (select auth.uid()) and public.is_trip_member(trip_id));

do $$
begin
  if exists (select 1 from pg_catalog.pg_publication where pubname = 'supabase_realtime') then
    alter publication supabase_realtime add table public.chat_reactions;
  end if;
end
$$;
