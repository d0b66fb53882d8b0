package db

import "context"

const createUser = `insert into users (id, email, username) values ($1, $2, $3) returning id, email, username`

// CreateUser inserts a user.
func (q *Queries) CreateUser(ctx context.Context, id, email, username string) (User, error) {
	var u User
	err := q.db.QueryRow(ctx, createUser, id, email, username).Scan(&u.ID, &u.Email, &u.Username)
	return u, err
}

const updateUser = `update users set email = coalesce($2, email), username = coalesce($3, username)
where id = $1 returning id, email, username`

// UpdateUser updates a user; nil leaves a column unchanged.
func (q *Queries) UpdateUser(ctx context.Context, id string, email, username *string) (User, error) {
	var u User
	err := q.db.QueryRow(ctx, updateUser, id, email, username).Scan(&u.ID, &u.Email, &u.Username)
	return u, err
}

const deleteUser = `delete from users where id = $1 returning id`

// DeleteUser deletes a user.
func (q *Queries) DeleteUser(ctx context.Context, id string) (string, error) {
	var deleted string
	err := q.db.QueryRow(ctx, deleteUser, id).Scan(&deleted)
	return deleted, err
}

const createTrip = `insert into trips (name, created_by) values ($1, $2)
returning id, name, coalesce(created_by::text, '')`

// CreateTrip inserts a trip.
func (q *Queries) CreateTrip(ctx context.Context, name, createdBy string) (Trip, error) {
	var t Trip
	err := q.db.QueryRow(ctx, createTrip, name, createdBy).Scan(&t.ID, &t.Name, &t.CreatedBy)
	return t, err
}

const updateTrip = `update trips set name = $2 where id = $1 and deleted_at is null
returning id, name, coalesce(created_by::text, '')`

// UpdateTrip renames a trip.
func (q *Queries) UpdateTrip(ctx context.Context, id, name string) (Trip, error) {
	var t Trip
	err := q.db.QueryRow(ctx, updateTrip, id, name).Scan(&t.ID, &t.Name, &t.CreatedBy)
	return t, err
}

const deleteTrip = `update trips set deleted_at = clock_timestamp()
where id = $1 and deleted_at is null returning id`

// DeleteTrip deletes a trip softly.
func (q *Queries) DeleteTrip(ctx context.Context, id string) (string, error) {
	var deleted string
	err := q.db.QueryRow(ctx, deleteTrip, id).Scan(&deleted)
	return deleted, err
}

const addTripMember = `insert into trip_memberships (trip_id, user_id, role) values ($1, $2, $3)
on conflict (trip_id, user_id)
do update set role = excluded.role, status = 'ACTIVE', deleted_at = null
returning trip_id, user_id, role, status`

// AddTripMember adds a member, also a former one.
func (q *Queries) AddTripMember(ctx context.Context, tripID, userID, role string) (TripMembership, error) {
	var m TripMembership
	err := q.db.QueryRow(ctx, addTripMember, tripID, userID, role).Scan(&m.TripID, &m.UserID, &m.Role, &m.Status)
	return m, err
}

const updateMemberRole = `update trip_memberships set role = $3
where trip_id = $1 and user_id = $2 and deleted_at is null
returning trip_id, user_id, role, status`

// UpdateMemberRole changes a member's role.
func (q *Queries) UpdateMemberRole(ctx context.Context, tripID, userID, role string) (TripMembership, error) {
	var m TripMembership
	err := q.db.QueryRow(ctx, updateMemberRole, tripID, userID, role).Scan(&m.TripID, &m.UserID, &m.Role, &m.Status)
	return m, err
}

const removeTripMember = `update trip_memberships set status = 'INACTIVE', deleted_at = clock_timestamp()
where trip_id = $1 and user_id = $2 and deleted_at is null returning trip_id, user_id`

// RemoveTripMember deletes a membership softly.
func (q *Queries) RemoveTripMember(ctx context.Context, tripID, userID string) (TripMembership, error) {
	var m TripMembership
	err := q.db.QueryRow(ctx, removeTripMember, tripID, userID).Scan(&m.TripID, &m.UserID)
	return m, err
}
