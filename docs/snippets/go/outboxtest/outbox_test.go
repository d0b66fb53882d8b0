// Package outboxtest runs the call sites and the outbox on a real PostgreSQL and a real relay.
//
// DATABASE_URL names an empty database, RELAY_URL and RELAY_WEBHOOK_SECRET the relay.
package outboxtest

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/lib/pq"

	"nomadcrew/relay"
	"nomadcrew/trips"
)

const (
	ana  = "123e4567-e89b-12d3-a456-426614174000"
	bo   = "223e4567-e89b-12d3-a456-426614174000"
	trip = "456e7890-e89b-12d3-a456-426614174001"
)

// NomadCrew's tables, without the columns that do not matter here.
const tables = `
create type membership_role as enum ('OWNER', 'MEMBER', 'ADMIN');
create type membership_status as enum ('ACTIVE', 'INACTIVE');
create table users (id uuid primary key, email text not null unique, username text not null unique);
create table trips (id uuid primary key, name varchar(255) not null,
  created_by uuid references users (id) on delete set null, deleted_at timestamptz);
create table trip_memberships (trip_id uuid not null references trips (id) on delete cascade,
  user_id uuid not null references users (id) on delete cascade,
  role membership_role not null, status membership_status not null, deleted_at timestamptz,
  unique (trip_id, user_id));`

func open(t *testing.T) *sql.DB {
	db, err := sql.Open("postgres", os.Getenv("DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	outbox, err := os.ReadFile(os.Getenv("OUTBOX_SQL"))
	if err != nil {
		t.Fatal(err)
	}
	execute(t, db, `drop schema public cascade; create schema public;`+tables+string(outbox))
	return db
}

func execute(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, db *sql.DB, query string) string {
	t.Helper()
	var text sql.NullString
	if err := db.QueryRow(query).Scan(&text); err != nil {
		t.Fatal(err)
	}
	return text.String
}

func client(t *testing.T, url string) *relay.Client {
	client, err := relay.NewClient(url, os.Getenv("RELAY_WEBHOOK_SECRET"))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func flusher(t *testing.T, db *sql.DB, url string) (*relay.Flusher, *[]error) {
	var alerts []error
	made := relay.NewFlusher(db, client(t, url))
	made.Alert = func(err error) { alerts = append(alerts, err) }
	return made, &alerts
}

func live(t *testing.T) string { return os.Getenv("RELAY_URL") }

func change(t *testing.T, service *trips.Service) {
	ctx, name := context.Background(), "ana2"
	for _, err := range []error{
		service.CreateUser(ctx, relay.User{ID: ana, Email: "ana@example.com", Username: "ana"}),
		service.CreateUser(ctx, relay.User{ID: bo, Email: "bo@example.com", Username: "bo"}),
		service.UpdateUser(ctx, ana, nil, &name),
		service.CreateTrip(ctx, relay.Trip{ID: trip, Name: "Lisbon", CreatedBy: ana}),
		service.AddTripMember(ctx, relay.Membership{TripID: trip, UserID: bo, Role: "MEMBER", Status: "ACTIVE"}),
		service.UpdateMemberRole(ctx, trip, bo, "ADMIN"),
		service.UpdateTrip(ctx, trip, "Porto"),
		service.RemoveTripMember(ctx, trip, bo),
		service.DeleteTrip(ctx, trip),
		service.DeleteUser(ctx, bo),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestCallSites_Everyone_RecordsItsEventInOrder(t *testing.T) {
	db := open(t)
	made, alerts := flusher(t, db, live(t))
	change(t, &trips.Service{DB: db, Flusher: made})
	want := "user.created user.created user.updated trip.created membership.created membership.created " +
		"membership.updated trip.updated membership.deleted trip.deleted user.deleted"
	if got := read(t, db, `select string_agg(type, ' ' order by occurred_at) from relay_outbox`); got != want {
		t.Fatal(got)
	}
	if got := read(t, db, `select data from relay_outbox where type = 'user.updated'`); got !=
		`{"id": "`+ana+`", "email": "ana@example.com", "username": "ana2"}` {
		t.Fatal(got)
	}
	if count, err := made.Flush(context.Background()); err != nil || count != 11 {
		t.Fatal(count, err)
	}
	if got := read(t, db, `select count(*) from relay_outbox`); got != "0" || len(*alerts) != 0 {
		t.Fatal(got, *alerts)
	}
}

func TestCallSites_NothingChanged_RecordNothing(t *testing.T) {
	db := open(t)
	made, _ := flusher(t, db, live(t))
	service := &trips.Service{DB: db, Flusher: made}
	if err := service.RemoveTripMember(context.Background(), trip, bo); err != sql.ErrNoRows {
		t.Fatal(err)
	}
	if got := read(t, db, `select count(*) from relay_outbox`); got != "0" {
		t.Fatal(got)
	}
}

func TestFlush_RelayAway_KeepsEverythingAndRunCatchesUp(t *testing.T) {
	db := open(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + listener.Addr().String()
	listener.Close()
	away, _ := flusher(t, db, nobody)
	change(t, &trips.Service{DB: db, Flusher: away})
	if _, err := away.Flush(context.Background()); err == nil {
		t.Fatal("nobody answered, and there was no error")
	}
	if got := read(t, db, `select count(*) from relay_outbox where parked_at is null`); got != "11" {
		t.Fatal(got)
	}
	back, alerts := flusher(t, db, live(t))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Add(1)
	go func() { defer running.Done(); back.Run(ctx) }()
	for i := 0; i < 100 && read(t, db, `select count(*) from relay_outbox`) != "0"; i++ {
		time.Sleep(50 * time.Millisecond)
	}
	cancel()
	running.Wait()
	if got := read(t, db, `select count(*) from relay_outbox`); got != "0" || len(*alerts) != 0 {
		t.Fatal(got, *alerts)
	}
}

func TestFlush_ConflictInvalidAndTooLarge_AreParkedAndTheRestIsSent(t *testing.T) {
	db := open(t)
	made, alerts := flusher(t, db, live(t))
	known := relay.Event{ID: relay.NewID(), Type: relay.UserDeleted, Timestamp: time.Now(), Data: relay.Removed{ID: ana}}
	if err := client(t, live(t)).Send(context.Background(), known); err != nil {
		t.Fatal(err)
	}
	execute(t, db, fmt.Sprintf(`insert into relay_outbox (type, data) values
		('user.deleted', '{"id": "no uuid"}'),
		('user.created', jsonb_build_object('id', '%s', 'email', repeat('x', 70000), 'username', '')),
		('user.deleted', '{"id": "%s"}')`, ana, ana))
	execute(t, db, fmt.Sprintf(
		`insert into relay_outbox (event_id, type, data) values ('%s', 'user.deleted', '{"id": "%s"}')`, known.ID, bo))
	if count, err := made.Flush(context.Background()); err != nil || count != 4 {
		t.Fatal(count, err)
	}
	reasons := read(t, db, `select string_agg(parked_reason, ' | ' order by id) from relay_outbox`)
	if !strings.HasPrefix(reasons, `invalid: [{"pointer":`) || !strings.HasSuffix(reasons, "| invalid: larger than 64 KiB | conflict:") {
		t.Fatal(reasons)
	}
	if len(*alerts) != 3 {
		t.Fatal(*alerts)
	}
	if count, err := made.Flush(context.Background()); err != nil || count != 0 {
		t.Fatal(count, err)
	}
	operate, err := os.ReadFile(os.Getenv("OPERATE_SQL"))
	if err != nil {
		t.Fatal(err)
	}
	execute(t, db, string(operate))
	if got := read(t, db, `select count(*) from relay_outbox where parked_at is null`); got != "3" {
		t.Fatal(got)
	}
}

func TestRecord_WriterThatWaitsForTheRow_IsLater(t *testing.T) {
	db := open(t)
	made, _ := flusher(t, db, live(t))
	service, ctx := &trips.Service{DB: db, Flusher: made}, context.Background()
	if err := service.CreateUser(ctx, relay.User{ID: ana, Email: "a", Username: "a"}); err != nil {
		t.Fatal(err)
	}
	// The later change begins its transaction first and waits for the row.
	late, err := db.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := late.Exec(`select now()`); err != nil {
		t.Fatal(err)
	}
	early, err := db.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	set := func(tx *sql.Tx, name string) {
		if _, err := tx.Exec(`update users set username = $1`, name); err != nil {
			t.Error(err)
		}
		if err := relay.Record(ctx, tx, relay.UserUpdated, relay.User{ID: ana, Email: "a", Username: name}); err != nil {
			t.Error(err)
		}
	}
	set(early, "early")
	done := make(chan struct{})
	go func() { defer close(done); set(late, "late"); late.Commit() }()
	for read(t, db, `select count(*) from pg_stat_activity where wait_event_type = 'Lock'`) != "1" {
		time.Sleep(10 * time.Millisecond)
	}
	if err := early.Commit(); err != nil {
		t.Fatal(err)
	}
	<-done
	last := read(t, db, `select data ->> 'username' from relay_outbox order by occurred_at desc limit 1`)
	if stored := read(t, db, `select username from users`); last != stored || last != "late" {
		t.Fatalf("the outbox ends with %s, the table holds %s", last, stored)
	}
}

func TestBackfill_ExistingRows_AreAllTaken(t *testing.T) {
	db := open(t)
	made, alerts := flusher(t, db, live(t))
	change(t, &trips.Service{DB: db, Flusher: made})
	execute(t, db, `delete from relay_outbox;
		insert into users select gen_random_uuid(), 'e' || n, 'u' || n from generate_series(1, 1200) n;
		insert into trips values (gen_random_uuid(), 'orphan', null, null);
		insert into trip_memberships select (select id from trips where name = 'orphan'), id, 'MEMBER', 'ACTIVE' from users`)
	backfill, err := os.ReadFile(os.Getenv("BACKFILL_SQL"))
	if err != nil {
		t.Fatal(err)
	}
	execute(t, db, string(backfill))
	want := read(t, db, `select 1201 + 1 + 1201`)
	if got := read(t, db, `select count(*) from relay_outbox`); got != want {
		t.Fatal(got)
	}
	for i := 0; i < 6; i++ {
		if _, err := made.Flush(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, db, `select count(*) from relay_outbox`); got != "0" || len(*alerts) != 0 {
		t.Fatal(got, *alerts)
	}
}
