package relaypgx_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	supabasesync "github.com/nomadcrew/supabase-sync"
	"github.com/nomadcrew/supabase-sync/relaypgx"
)

// A handler that removes a member, and answers whether the removal is in force.
func ExampleDeleteMembership() {
	removeMember := func(ctx context.Context, pool *pgxpool.Pool, runner *supabasesync.Runner, trip, user string) (string, error) {
		var removal supabasesync.Event
		err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `delete from trip_memberships where trip_id = $1 and user_id = $2`, trip, user)
			if err != nil {
				return err
			}
			removal, err = relaypgx.DeleteMembership(ctx, tx, relaypgx.DeletedMembership{TripID: trip, UserID: user})
			return err
		})
		if err != nil {
			return "", err
		}
		status, err := runner.WaitApplied(ctx, removal, 2*time.Second)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("removed, %s", status), nil
	}
	_ = removeMember
}

// The wiring in main.
func ExampleNewOutbox() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	client, err := supabasesync.NewClient(supabasesync.ClientConfig{
		URL: os.Getenv("RELAY_URL"), Secret: os.Getenv("RELAY_WEBHOOK_SECRET"),
	})
	if err != nil {
		log.Fatal(err)
	}
	outbox := relaypgx.NewOutbox(pool)
	if err := outbox.Migrate(ctx); err != nil {
		log.Fatal(err)
	}
	runner := supabasesync.NewRunner(outbox, client, supabasesync.RunnerConfig{
		Listen: relaypgx.Listen(os.Getenv("DIRECT_DATABASE_URL")),
	})
	go runner.Run(ctx)
}
