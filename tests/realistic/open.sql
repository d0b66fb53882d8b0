-- The hole that many projects have: no Row Level Security on the tables that permissions come from,
-- and every privilege on them, as Supabase grants it by default.

alter table public.profiles disable row level security;
alter table public.trips disable row level security;
alter table public.trip_members disable row level security;
