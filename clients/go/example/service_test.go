package main

import (
	"context"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"example/db"

	supabasesync "github.com/nomadcrew/supabase-sync"
	"github.com/nomadcrew/supabase-sync/relaypgx"
	"github.com/nomadcrew/supabase-sync/relaytest"
)

const (
	ana = "123e4567-e89b-12d3-a456-426614174000"
	bo  = "223e4567-e89b-12d3-a456-426614174000"
)

// newTestService returns a service on a transaction that is rolled back, so nothing has to be cleaned up.
func newTestService(t *testing.T) (*Service, pgx.Tx) {
	if os.Getenv("TEST_DATABASE_URL") == "" {
		t.Skip("TEST_DATABASE_URL is not set")
	}
	ctx := context.Background()
	connection, err := pgx.Connect(ctx, os.Getenv("TEST_DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	tx, err := connection.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback(ctx); _ = connection.Close(ctx) })
	if _, err := tx.Exec(ctx, db.Schema); err != nil {
		t.Fatal(err)
	}
	if err := relaypgx.NewOutbox(tx).Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	return &Service{db: tx, queries: db.New(tx)}, tx
}

// region: test

func TestUpdateUser_OneColumn_RecordsTheWholeRow(t *testing.T) {
	service, tx := newTestService(t)
	ctx, name := context.Background(), "anna"
	user := db.User{ID: ana, Email: "ana@example.com", Username: "ana"}
	if err := service.CreateUser(ctx, user); err != nil {
		t.Fatal(err)
	}
	if err := service.UpdateUser(ctx, ana, nil, &name); err != nil {
		t.Fatal(err)
	}
	relaytest.RequireRecorded(t, relaypgx.NewOutbox(tx),
		relaypgx.UserData{ID: ana, Email: "ana@example.com", Username: "ana"},
		relaypgx.UserData{ID: ana, Email: "ana@example.com", Username: "anna"})
}

// endregion

func TestTrip_EveryCallSite_RecordsItsEvents(t *testing.T) {
	service, tx := newTestService(t)
	ctx := context.Background()
	for _, id := range []string{ana, bo} {
		if err := service.CreateUser(ctx, db.User{ID: id, Email: id, Username: id}); err != nil {
			t.Fatal(err)
		}
	}
	trip, err := service.CreateTrip(ctx, "Lisbon", ana)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		service.AddTripMember(ctx, trip, bo, "MEMBER"),
		service.UpdateMemberRole(ctx, trip, bo, "ADMIN"),
		service.UpdateTrip(ctx, trip, "Porto"),
		service.DeleteTrip(ctx, trip),
		service.DeleteUser(ctx, ana),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	member := relaypgx.MembershipData{TripID: trip, UserID: bo, Role: "MEMBER", Status: "ACTIVE"}
	admin := member
	admin.Role = "ADMIN"
	relaytest.RequireRecorded(t, relaypgx.NewOutbox(tx),
		relaypgx.UserData{ID: ana, Email: ana, Username: ana},
		relaypgx.UserData{ID: bo, Email: bo, Username: bo},
		relaypgx.TripData{ID: trip, Name: "Lisbon", CreatedBy: ana},
		relaypgx.MembershipData{TripID: trip, UserID: ana, Role: "OWNER", Status: "ACTIVE"},
		member, admin,
		relaypgx.TripData{ID: trip, Name: "Porto", CreatedBy: ana},
		supabasesync.DeletedTrip{ID: trip}, supabasesync.DeletedUser{ID: ana})
}

func TestCallSites_NothingChanged_RecordNothing(t *testing.T) {
	service, tx := newTestService(t)
	if _, err := service.RemoveTripMember(context.Background(), ana, bo); err != pgx.ErrNoRows {
		t.Fatal(err)
	}
	relaytest.RequireRecorded(t, relaypgx.NewOutbox(tx))
}
