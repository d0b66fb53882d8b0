package relaypgx_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	supabasesync "github.com/nomadcrew/supabase-sync"
	"github.com/nomadcrew/supabase-sync/internal/testdb"
	"github.com/nomadcrew/supabase-sync/relaypgx"
	"github.com/nomadcrew/supabase-sync/relaytest"
)

const (
	ana  = "123e4567-e89b-12d3-a456-426614174000"
	bo   = "223e4567-e89b-12d3-a456-426614174000"
	trip = "456e7890-e89b-12d3-a456-426614174001"
)

var ctx = context.Background()

func openPool(t testing.TB) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(ctx, testdb.Create(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if err := relaypgx.NewOutbox(pool).Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	return pool
}

func execute(t testing.TB, pool *pgxpool.Pool, statement string, arguments ...any) {
	t.Helper()
	if _, err := pool.Exec(ctx, statement, arguments...); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, pool *pgxpool.Pool, query string) string {
	t.Helper()
	var text *string
	if err := pool.QueryRow(ctx, query).Scan(&text); err != nil {
		t.Fatal(err)
	}
	if text == nil {
		return ""
	}
	return *text
}

// inTx commits what a function records.
func inTx(t testing.TB, pool *pgxpool.Pool, change func(tx pgx.Tx) (supabasesync.Event, error)) supabasesync.Event {
	t.Helper()
	var event supabasesync.Event
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) (err error) {
		event, err = change(tx)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return event
}

func remove(t testing.TB, pool *pgxpool.Pool, user string) supabasesync.Event {
	t.Helper()
	return inTx(t, pool, func(tx pgx.Tx) (supabasesync.Event, error) {
		return relaypgx.DeleteMembership(ctx, tx, relaypgx.DeletedMembership{TripID: trip, UserID: user})
	})
}

func TestRecord_EveryFunction_RecordsItsEventAndPriority(t *testing.T) {
	pool := openPool(t)
	user := relaypgx.UserData{ID: ana, Email: "ana@example.com", Username: "ana"}
	lisbon := relaypgx.TripData{ID: trip, Name: "Lisbon"}
	member := relaypgx.MembershipData{TripID: trip, UserID: ana, Role: "OWNER", Status: "ACTIVE"}
	former := relaypgx.MembershipData{TripID: trip, UserID: bo, Role: "MEMBER", Status: "INACTIVE"}
	gone := relaypgx.DeletedMembership{TripID: trip, UserID: ana}
	tx, err := pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, record := range []func() (supabasesync.Event, error){
		func() (supabasesync.Event, error) { return relaypgx.SyncUser(ctx, tx, user) },
		func() (supabasesync.Event, error) { return relaypgx.SyncTrip(ctx, tx, lisbon) },
		func() (supabasesync.Event, error) { return relaypgx.SyncMembership(ctx, tx, member) },
		func() (supabasesync.Event, error) { return relaypgx.SyncMembership(ctx, tx, former) },
		func() (supabasesync.Event, error) { return relaypgx.DeleteMembership(ctx, tx, gone) },
		func() (supabasesync.Event, error) { return relaypgx.DeleteTrip(ctx, tx, trip) },
		func() (supabasesync.Event, error) { return relaypgx.DeleteUser(ctx, tx, ana) },
	} {
		if event, err := record(); err != nil || event.ID == "" || event.Timestamp.IsZero() {
			t.Fatal(event, err)
		}
	}
	relaytest.RequireRecorded(t, relaypgx.NewOutbox(tx), user, lisbon, member, former, gone,
		supabasesync.DeletedTrip{ID: trip}, supabasesync.DeletedUser{ID: ana})
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if got := read(t, pool, `select string_agg(priority::text, '' order by id) from relay_outbox`); got != "1110000" {
		t.Error(got)
	}
	status, err := relaypgx.NewOutbox(pool).Status(ctx)
	if err != nil || status.Waiting != 7 || status.Revocations != 4 || status.Parked != 0 || status.Oldest.IsZero() {
		t.Error(status, err)
	}
}

func TestRecord_TransactionThatRollsBack_LeavesNothing(t *testing.T) {
	pool := openPool(t)
	tx, err := pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := relaypgx.DeleteTrip(ctx, tx, trip); err != nil {
		t.Fatal(err)
	}
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	relaytest.RequireRecorded(t, relaypgx.NewOutbox(pool))
	if status, err := relaypgx.NewOutbox(pool).Status(ctx); err != nil || status != (supabasesync.OutboxStatus{}) {
		t.Error(status, err)
	}
}

func TestRecord_InvalidID_RecordsNothingAndKeepsTheTransaction(t *testing.T) {
	pool := openPool(t)
	inTx(t, pool, func(tx pgx.Tx) (supabasesync.Event, error) {
		if _, err := relaypgx.DeleteTrip(ctx, tx, "7"); err == nil || !strings.Contains(err.Error(), "not a UUID") {
			t.Error(err)
		}
		return relaypgx.DeleteTrip(ctx, tx, trip)
	})
	relaytest.RequireRecorded(t, relaypgx.NewOutbox(pool), supabasesync.DeletedTrip{ID: trip})
}

func TestRecord_WriterThatWaitsForTheRow_IsLater(t *testing.T) {
	pool := openPool(t)
	execute(t, pool, `create table users (id uuid primary key, username text)`)
	execute(t, pool, `insert into users values ($1, 'ana')`, ana)
	// The later change begins its transaction first, and waits for the row.
	late, early := begin(t, pool), begin(t, pool)
	set := func(tx pgx.Tx, name string) {
		if _, err := tx.Exec(ctx, `update users set username = $1`, name); err != nil {
			t.Error(err)
		}
		if _, err := relaypgx.SyncUser(ctx, tx, relaypgx.UserData{ID: ana, Email: "a", Username: name}); err != nil {
			t.Error(err)
		}
	}
	set(early, "early")
	done := make(chan error)
	go func() { set(late, "late"); done <- late.Commit(ctx) }()
	for read(t, pool, `select count(*)::text from pg_stat_activity
		where wait_event_type = 'Lock' and datname = current_database()`) != "1" {
		time.Sleep(5 * time.Millisecond)
	}
	if err := early.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	last := read(t, pool, `select data ->> 'username' from relay_outbox order by occurred_at desc limit 1`)
	if stored := read(t, pool, `select username from users`); last != "late" || last != stored {
		t.Fatalf("the outbox ends with %s, the table holds %s", last, stored)
	}
}

func begin(t *testing.T, pool *pgxpool.Pool) pgx.Tx {
	t.Helper()
	tx, err := pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, `select now()`); err != nil {
		t.Fatal(err)
	}
	return tx
}
