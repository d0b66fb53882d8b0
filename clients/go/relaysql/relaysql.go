// Package relaysql records events for the relay in transactions of database/sql, with any driver for
// PostgreSQL.
package relaysql

import (
	"context"
	"database/sql"

	supabasesync "github.com/nomadcrew/supabase-sync"
)

// The data of events, so that a call site imports one package.
type (
	UserData          = supabasesync.UserData
	TripData          = supabasesync.TripData
	MembershipData    = supabasesync.MembershipData
	DeletedMembership = supabasesync.DeletedMembership
)

// SyncUser records the row of a user that tx has inserted or updated.
//
// Call this and the other functions after the statement that changes the row: the row is locked then,
// so the time of the event orders the changes of the row.
func SyncUser(ctx context.Context, tx *sql.Tx, data UserData) (supabasesync.Event, error) {
	return supabasesync.Record(ctx, database{tx}, data)
}

// SyncTrip records the row of a trip that tx has inserted or updated.
func SyncTrip(ctx context.Context, tx *sql.Tx, data TripData) (supabasesync.Event, error) {
	return supabasesync.Record(ctx, database{tx}, data)
}

// SyncMembership records the row of a membership that tx has inserted or updated. A status other than
// ACTIVE is a revocation.
func SyncMembership(ctx context.Context, tx *sql.Tx, data MembershipData) (supabasesync.Event, error) {
	return supabasesync.Record(ctx, database{tx}, data)
}

// DeleteUser records that tx has deleted a user. The relay removes the user's memberships too.
func DeleteUser(ctx context.Context, tx *sql.Tx, id string) (supabasesync.Event, error) {
	return supabasesync.Record(ctx, database{tx}, supabasesync.DeletedUser{ID: id})
}

// DeleteTrip records that tx has deleted a trip, also softly. The relay removes its memberships too.
func DeleteTrip(ctx context.Context, tx *sql.Tx, id string) (supabasesync.Event, error) {
	return supabasesync.Record(ctx, database{tx}, supabasesync.DeletedTrip{ID: id})
}

// DeleteMembership records that tx has deleted a membership, also softly.
func DeleteMembership(ctx context.Context, tx *sql.Tx, data DeletedMembership) (supabasesync.Event, error) {
	return supabasesync.Record(ctx, database{tx}, data)
}

// LastRecorded returns the last event that the triggers of sql/relay_triggers.sql have recorded in tx,
// to wait for it. Without the triggers, use the event that the other functions return.
func LastRecorded(ctx context.Context, tx *sql.Tx) (supabasesync.Event, error) {
	return supabasesync.LastRecorded(ctx, database{tx})
}

// Querier is a *sql.DB, a *sql.Conn or a *sql.Tx.
type Querier interface {
	ExecContext(ctx context.Context, statement string, arguments ...any) (sql.Result, error)
	QueryContext(ctx context.Context, statement string, arguments ...any) (*sql.Rows, error)
}

// NewOutbox returns the outbox of a database. In tests, the database can be a transaction.
func NewOutbox(db Querier) *supabasesync.Outbox { return supabasesync.NewOutbox(database{db}) }

type database struct{ Querier }

func (d database) Exec(ctx context.Context, statement string, arguments ...any) error {
	_, err := d.ExecContext(ctx, statement, arguments...)
	return err
}

func (d database) Query(
	ctx context.Context, statement string, arguments []any, read func(scan supabasesync.Scan) error,
) error {
	rows, err := d.QueryContext(ctx, statement, arguments...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := read(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}
