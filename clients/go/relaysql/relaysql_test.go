package relaysql_test

import (
	"context"
	"database/sql"
	"log/slog"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"

	supabasesync "github.com/nomadcrew/supabase-sync"
	"github.com/nomadcrew/supabase-sync/internal/testdb"
	"github.com/nomadcrew/supabase-sync/relaysql"
	"github.com/nomadcrew/supabase-sync/relaytest"
)

const (
	ana  = "123e4567-e89b-12d3-a456-426614174000"
	trip = "456e7890-e89b-12d3-a456-426614174001"
)

var ctx = context.Background()

// withDrivers runs a test with each driver.
func withDrivers(t *testing.T, test func(t *testing.T, db *sql.DB)) {
	for _, each := range []struct{ driver, options string }{
		{"pgx", ""},
		{"pgx", "&default_query_exec_mode=simple_protocol"},
		{"postgres", ""}, // lib/pq
	} {
		t.Run(each.driver+each.options, func(t *testing.T) {
			db, err := sql.Open(each.driver, testdb.Create(t)+each.options)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Close() })
			for range 2 {
				if err := relaysql.NewOutbox(db).Migrate(ctx); err != nil {
					t.Fatal(err)
				}
			}
			test(t, db)
		})
	}
}

func TestRecord_EveryFunction_RecordsItsEvent(t *testing.T) {
	withDrivers(t, func(t *testing.T, db *sql.DB) {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		user := relaysql.UserData{ID: ana, Email: "ana@example.com", Username: `"ana" \ ü`}
		lisbon := relaysql.TripData{ID: trip, Name: "Lisbon", CreatedBy: ana}
		member := relaysql.MembershipData{TripID: trip, UserID: ana, Role: "OWNER", Status: "ACTIVE"}
		gone := relaysql.DeletedMembership{TripID: trip, UserID: ana}
		for _, record := range []func() (supabasesync.Event, error){
			func() (supabasesync.Event, error) { return relaysql.SyncUser(ctx, tx, user) },
			func() (supabasesync.Event, error) { return relaysql.SyncTrip(ctx, tx, lisbon) },
			func() (supabasesync.Event, error) { return relaysql.SyncMembership(ctx, tx, member) },
			func() (supabasesync.Event, error) { return relaysql.DeleteMembership(ctx, tx, gone) },
			func() (supabasesync.Event, error) { return relaysql.DeleteTrip(ctx, tx, trip) },
			func() (supabasesync.Event, error) { return relaysql.DeleteUser(ctx, tx, ana) },
		} {
			if event, err := record(); err != nil || event.ID == "" {
				t.Fatal(event, err)
			}
		}
		relaytest.RequireRecorded(t, relaysql.NewOutbox(tx), user, lisbon, member, gone,
			supabasesync.DeletedTrip{ID: trip}, supabasesync.DeletedUser{ID: ana})
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		relaytest.RequireRecorded(t, relaysql.NewOutbox(db))
	})
}

func TestRunner_Outbox_IsSentParkedAndWaitedFor(t *testing.T) {
	withDrivers(t, func(t *testing.T, db *sql.DB) {
		relay, outbox := relaytest.NewServer(t), relaysql.NewOutbox(db)
		runner := supabasesync.NewRunner(outbox, relay.Client(t), supabasesync.RunnerConfig{
			Logger: slog.New(slog.DiscardHandler),
		})
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		refused, err := relaysql.SyncUser(ctx, tx, relaysql.UserData{ID: ana, Username: "ana"})
		if err != nil {
			t.Fatal(err)
		}
		removal, err := relaysql.DeleteMembership(ctx, tx, relaysql.DeletedMembership{TripID: trip, UserID: ana})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := relaysql.DeleteUser(ctx, tx, ana); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if status, err := runner.WaitApplied(ctx, removal, time.Second); err != nil || status != supabasesync.Applied {
			t.Fatal(status, err)
		}
		if count, err := runner.Flush(ctx); err != nil || count != 2 {
			t.Fatal(count, err)
		}
		status, err := outbox.Status(ctx)
		if err != nil || status.Parked != 1 || status.Waiting != 0 || relay.Count() != 2 {
			t.Fatal(status, err, relay.Count())
		}
		if _, ok := relay.Event(refused.ID); ok {
			t.Fatal("a refused event was accepted")
		}
	})
}
