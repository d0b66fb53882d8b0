// Package trips shows every call site of the relay, on the backend's own tables.
package trips

import (
	"context"
	"database/sql"
	"log"
	"time"

	"nomadcrew/relay"
)

// region: service

// Service is the part of the backend's service layer that concerns the relay.
type Service struct {
	DB      *sql.DB
	Flusher *relay.Flusher
}

// inTx commits a change together with its events, or neither.
func (s *Service) inTx(ctx context.Context, change func(tx *sql.Tx) error) error {
	tx, err := s.DB.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := change(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	s.Flusher.Wake()
	return nil
}

// endregion

// CreateUser → user.created.
func (s *Service) CreateUser(ctx context.Context, user relay.User) error {
	return s.inTx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx,
			`insert into users (id, email, username) values ($1, $2, $3)`,
			user.ID, user.Email, user.Username)
		if err != nil {
			return err
		}
		return relay.Record(ctx, tx, relay.UserCreated, user)
	})
}

// UpdateUser → user.updated, with the whole row after the change. nil leaves a column unchanged.
func (s *Service) UpdateUser(ctx context.Context, id string, email, username *string) error {
	return s.inTx(ctx, func(tx *sql.Tx) error {
		var row relay.User
		err := tx.QueryRowContext(ctx,
			`update users set email = coalesce($2, email), username = coalesce($3, username)
			where id = $1 returning id, email, username`,
			id, email, username).Scan(&row.ID, &row.Email, &row.Username)
		if err != nil {
			return err // sql.ErrNoRows: no such user, so no event
		}
		return relay.Record(ctx, tx, relay.UserUpdated, row)
	})
}

// DeleteUser → user.deleted. The relay also removes the user's memberships.
func (s *Service) DeleteUser(ctx context.Context, id string) error {
	return s.inTx(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx,
			`delete from users where id = $1 returning id`, id).Scan(&id)
		if err != nil {
			return err
		}
		return relay.Record(ctx, tx, relay.UserDeleted, relay.Removed{ID: id})
	})
}

// CreateTrip → trip.created, and membership.created for its owner: created_by gives no access.
func (s *Service) CreateTrip(ctx context.Context, trip relay.Trip) error {
	owner := relay.Membership{
		TripID: trip.ID, UserID: trip.CreatedBy, Role: "OWNER", Status: "ACTIVE",
	}
	return s.inTx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx,
			`insert into trips (id, name, created_by) values ($1, $2, $3)`,
			trip.ID, trip.Name, trip.CreatedBy)
		if err != nil {
			return err
		}
		if err := relay.Record(ctx, tx, relay.TripCreated, trip); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx,
			`insert into trip_memberships (trip_id, user_id, role, status) values ($1, $2, $3, $4)`,
			owner.TripID, owner.UserID, owner.Role, owner.Status)
		if err != nil {
			return err
		}
		return relay.Record(ctx, tx, relay.MembershipCreated, owner)
	})
}

// UpdateTrip → trip.updated, also for changes to columns that Supabase does not hold.
func (s *Service) UpdateTrip(ctx context.Context, id, name string) error {
	return s.inTx(ctx, func(tx *sql.Tx) error {
		var row relay.Trip
		err := tx.QueryRowContext(ctx,
			`update trips set name = $2 where id = $1 and deleted_at is null
			returning id, name, coalesce(created_by, '00000000-0000-0000-0000-000000000000')`,
			id, name).Scan(&row.ID, &row.Name, &row.CreatedBy)
		if err != nil {
			return err
		}
		return relay.Record(ctx, tx, relay.TripUpdated, row)
	})
}

// DeleteTrip → trip.deleted, also for a soft delete. The relay also removes the memberships.
func (s *Service) DeleteTrip(ctx context.Context, id string) error {
	return s.inTx(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx,
			`update trips set deleted_at = clock_timestamp()
			where id = $1 and deleted_at is null returning id`, id).Scan(&id)
		if err != nil {
			return err
		}
		return relay.Record(ctx, tx, relay.TripDeleted, relay.Removed{ID: id})
	})
}

// region: members

// AddTripMember → membership.created, also for a former member.
func (s *Service) AddTripMember(ctx context.Context, member relay.Membership) error {
	return s.inTx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx,
			`insert into trip_memberships (trip_id, user_id, role, status) values ($1, $2, $3, $4)
			on conflict (trip_id, user_id)
			do update set role = excluded.role, status = excluded.status, deleted_at = null`,
			member.TripID, member.UserID, member.Role, member.Status)
		if err != nil {
			return err
		}
		return relay.Record(ctx, tx, relay.MembershipCreated, member)
	})
}

// endregion

// UpdateMemberRole → membership.updated, with the status from the row.
func (s *Service) UpdateMemberRole(ctx context.Context, tripID, userID, role string) error {
	return s.inTx(ctx, func(tx *sql.Tx) error {
		row := relay.Membership{TripID: tripID, UserID: userID}
		err := tx.QueryRowContext(ctx,
			`update trip_memberships set role = $3
			where trip_id = $1 and user_id = $2 and deleted_at is null
			returning role, status`, tripID, userID, role).Scan(&row.Role, &row.Status)
		if err != nil {
			return err
		}
		return relay.Record(ctx, tx, relay.MembershipUpdated, row)
	})
}

// region: remove
// RemoveTripMember → membership.deleted, also where the backend only sets INACTIVE.
func (s *Service) RemoveTripMember(ctx context.Context, tripID, userID string) error {
	return s.inTx(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx,
			`update trip_memberships set status = 'INACTIVE', deleted_at = clock_timestamp()
			where trip_id = $1 and user_id = $2 and deleted_at is null
			returning user_id`, tripID, userID).Scan(&userID)
		if err != nil {
			return err
		}
		return relay.Record(ctx, tx, relay.MembershipDeleted,
			relay.RemovedMembership{TripID: tripID, UserID: userID})
	})
}

// endregion

// Direct sends without an outbox.
type Direct struct {
	DB     *sql.DB
	Client *relay.Client
}

// RemoveTripMember without an outbox: the event is lost if this process dies after the commit.
func (d *Direct) RemoveTripMember(ctx context.Context, tripID, userID string) error {
	tx, err := d.DB.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	event := relay.Event{
		ID:   relay.NewID(),
		Type: relay.MembershipDeleted,
		Data: relay.RemovedMembership{TripID: tripID, UserID: userID},
	}
	_, err = tx.ExecContext(ctx,
		`delete from trip_memberships where trip_id = $1 and user_id = $2`, tripID, userID)
	if err != nil {
		return err
	}
	// Still in the transaction, and after the change: the row is locked.
	err = tx.QueryRowContext(ctx, `select clock_timestamp()`).Scan(&event.Timestamp)
	if err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	go func() {
		// The request's context would end with the request.
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := d.Client.Send(ctx, event); err != nil {
			log.Printf("ALERT: event %s is lost: %v", event.ID, err)
		}
	}()
	return nil
}
