create type membership_role as enum ('OWNER', 'MEMBER', 'ADMIN');
create type membership_status as enum ('ACTIVE', 'INACTIVE');

create table users (
  id uuid primary key,
  email text not null unique,
  username text not null unique
);

create table trips (
  id uuid primary key default gen_random_uuid(),
  name varchar(255) not null,
  created_by uuid references users (id) on delete set null,
  deleted_at timestamptz
);

create table trip_memberships (
  trip_id uuid not null references trips (id) on delete cascade,
  user_id uuid not null references users (id) on delete cascade,
  role membership_role not null,
  status membership_status not null default 'ACTIVE',
  deleted_at timestamptz,
  unique (trip_id, user_id)
);
