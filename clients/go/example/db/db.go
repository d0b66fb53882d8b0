// Package db has the backend's queries, in the form that sqlc generates from queries.sql.
package db

import (
	"context"
	_ "embed"

	"github.com/jackc/pgx/v5"
)

// Schema creates the backend's tables.
//
//go:embed schema.sql
var Schema string

// DBTX is a pool or a transaction.
type DBTX interface {
	QueryRow(ctx context.Context, query string, arguments ...any) pgx.Row
}

// New returns the queries of a pool or a transaction.
func New(db DBTX) *Queries { return &Queries{db: db} }

// Queries runs the queries.
type Queries struct{ db DBTX }

// WithTx returns the same queries in a transaction.
func (q *Queries) WithTx(tx pgx.Tx) *Queries { return &Queries{db: tx} }

// User is a row of users.
type User struct{ ID, Email, Username string }

// Trip is a row of trips. CreatedBy is empty if the creator's account is deleted.
type Trip struct{ ID, Name, CreatedBy string }

// TripMembership is a row of trip_memberships.
type TripMembership struct{ TripID, UserID, Role, Status string }
