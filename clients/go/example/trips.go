package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"example/db"

	supabasesync "github.com/nomadcrew/supabase-sync"
	"github.com/nomadcrew/supabase-sync/relaypgx"
)

// CreateTrip records the trip, and the membership of its owner: created_by gives no access.
func (s *Service) CreateTrip(ctx context.Context, name, createdBy string) (id string, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx, queries *db.Queries) error {
		trip, err := queries.CreateTrip(ctx, name, createdBy)
		if err != nil {
			return err
		}
		if _, err = relaypgx.SyncTrip(ctx, tx, tripData(trip)); err != nil {
			return err
		}
		owner, err := queries.AddTripMember(ctx, trip.ID, createdBy, "OWNER")
		if err != nil {
			return err
		}
		id = trip.ID
		_, err = relaypgx.SyncMembership(ctx, tx, membershipData(owner))
		return err
	})
	return id, err
}

// region: update

// UpdateTrip records the whole row after the change, also if Supabase holds none of the columns.
func (s *Service) UpdateTrip(ctx context.Context, id, name string) error {
	return s.inTx(ctx, func(tx pgx.Tx, queries *db.Queries) error {
		trip, err := queries.UpdateTrip(ctx, id, name)
		if err != nil {
			return err // pgx.ErrNoRows: no such trip, so no event
		}
		_, err = relaypgx.SyncTrip(ctx, tx, relaypgx.TripData{ID: trip.ID, Name: trip.Name, CreatedBy: trip.CreatedBy})
		return err
	})
}

// endregion

// DeleteTrip records the removal, also of a soft delete. The relay also removes the memberships.
func (s *Service) DeleteTrip(ctx context.Context, id string) error {
	return s.inTx(ctx, func(tx pgx.Tx, queries *db.Queries) error {
		deleted, err := queries.DeleteTrip(ctx, id)
		if err != nil {
			return err
		}
		_, err = relaypgx.DeleteTrip(ctx, tx, deleted)
		return err
	})
}

// AddTripMember records the membership, also of a former member.
func (s *Service) AddTripMember(ctx context.Context, tripID, userID, role string) error {
	return s.inTx(ctx, func(tx pgx.Tx, queries *db.Queries) error {
		member, err := queries.AddTripMember(ctx, tripID, userID, role)
		if err != nil {
			return err
		}
		_, err = relaypgx.SyncMembership(ctx, tx, membershipData(member))
		return err
	})
}

// UpdateMemberRole records the membership with its status from the row.
func (s *Service) UpdateMemberRole(ctx context.Context, tripID, userID, role string) error {
	return s.inTx(ctx, func(tx pgx.Tx, queries *db.Queries) error {
		member, err := queries.UpdateMemberRole(ctx, tripID, userID, role)
		if err != nil {
			return err
		}
		_, err = relaypgx.SyncMembership(ctx, tx, membershipData(member))
		return err
	})
}

// region: remove

// RemoveTripMember records the removal, and waits for up to 2 seconds until it is in force.
func (s *Service) RemoveTripMember(ctx context.Context, tripID, userID string) (supabasesync.Status, error) {
	var removal supabasesync.Event
	err := s.inTx(ctx, func(tx pgx.Tx, queries *db.Queries) error {
		member, err := queries.RemoveTripMember(ctx, tripID, userID)
		if err != nil {
			return err
		}
		gone := relaypgx.DeletedMembership{TripID: member.TripID, UserID: member.UserID}
		removal, err = relaypgx.DeleteMembership(ctx, tx, gone)
		return err
	})
	if err != nil {
		return "", err
	}
	return s.runner.WaitApplied(ctx, removal, 2*time.Second)
}

// endregion

func tripData(row db.Trip) relaypgx.TripData {
	return relaypgx.TripData{ID: row.ID, Name: row.Name, CreatedBy: row.CreatedBy}
}

func membershipData(row db.TripMembership) relaypgx.MembershipData {
	return relaypgx.MembershipData{TripID: row.TripID, UserID: row.UserID, Role: row.Role, Status: row.Status}
}
