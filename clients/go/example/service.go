package main

import (
	"context"

	"github.com/jackc/pgx/v5"

	"example/db"

	supabasesync "github.com/nomadcrew/supabase-sync"
	"github.com/nomadcrew/supabase-sync/relaypgx"
)

// Service is the backend's service layer. Each function that writes records its events.
type Service struct {
	db interface {
		Begin(ctx context.Context) (pgx.Tx, error)
	} // a pool, or a test's transaction
	queries *db.Queries
	runner  *supabasesync.Runner
}

// region: transaction

// inTx commits a change together with its events, or neither.
func (s *Service) inTx(ctx context.Context, change func(tx pgx.Tx, queries *db.Queries) error) error {
	return pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		return change(tx, s.queries.WithTx(tx))
	})
}

// endregion

// CreateUser records the new user.
func (s *Service) CreateUser(ctx context.Context, user db.User) error {
	return s.inTx(ctx, func(tx pgx.Tx, queries *db.Queries) error {
		row, err := queries.CreateUser(ctx, user.ID, user.Email, user.Username)
		if err != nil {
			return err
		}
		_, err = relaypgx.SyncUser(ctx, tx, userData(row))
		return err
	})
}

// UpdateUser records the whole row after the change. nil leaves a column unchanged.
func (s *Service) UpdateUser(ctx context.Context, id string, email, username *string) error {
	return s.inTx(ctx, func(tx pgx.Tx, queries *db.Queries) error {
		row, err := queries.UpdateUser(ctx, id, email, username)
		if err != nil {
			return err // pgx.ErrNoRows: no such user, so no event
		}
		_, err = relaypgx.SyncUser(ctx, tx, userData(row))
		return err
	})
}

// DeleteUser records the removal. The relay also removes the user's memberships.
func (s *Service) DeleteUser(ctx context.Context, id string) error {
	return s.inTx(ctx, func(tx pgx.Tx, queries *db.Queries) error {
		deleted, err := queries.DeleteUser(ctx, id)
		if err != nil {
			return err
		}
		_, err = relaypgx.DeleteUser(ctx, tx, deleted)
		return err
	})
}

func userData(row db.User) relaypgx.UserData {
	return relaypgx.UserData{ID: row.ID, Email: row.Email, Username: row.Username}
}
