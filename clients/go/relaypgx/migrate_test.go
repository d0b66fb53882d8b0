package relaypgx_test

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	supabasesync "github.com/nomadcrew/supabase-sync"
	"github.com/nomadcrew/supabase-sync/internal/testdb"
	"github.com/nomadcrew/supabase-sync/relaypgx"
	"github.com/nomadcrew/supabase-sync/relaytest"
)

func TestMigrate_ManyProcessesAtOnce_CreateOneOutbox(t *testing.T) {
	pool, err := pgxpool.New(ctx, testdb.Create(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	var running sync.WaitGroup
	for range 4 {
		running.Add(1)
		go func() {
			defer running.Done()
			if err := relaypgx.NewOutbox(pool).Migrate(ctx); err != nil {
				t.Error(err)
			}
		}()
	}
	running.Wait()
	remove(t, pool, ana)
}

// The first statement of the file alone is the outbox that this project documented before.
func TestMigrate_OutboxOfBefore_KeepsItsEvents(t *testing.T) {
	pool, err := pgxpool.New(ctx, testdb.Create(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	schema := readFile(t, "../sql/relay_outbox.sql")
	execute(t, pool, schema[:strings.Index(schema, "alter table")])
	execute(t, pool, `create index relay_outbox_unsent_idx on relay_outbox (id) where parked_at is null`)
	execute(t, pool, `insert into relay_outbox (type, data) values ('trip.deleted', '{"id": "`+trip+`"}')`)
	outbox := relaypgx.NewOutbox(pool)
	for range 2 {
		if err := outbox.Migrate(ctx); err != nil {
			t.Fatal(err)
		}
	}
	relaytest.RequireRecorded(t, outbox, supabasesync.DeletedTrip{ID: trip})
	if status, err := outbox.Status(ctx); err != nil || status.Revocations != 1 {
		t.Fatal(status, err)
	}
	execute(t, pool, readFile(t, "../sql/relay_outbox_down.sql"))
	if err := outbox.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestMigrate_DatabaseThatCannotBeReached_SaysWhatItWasDoing(t *testing.T) {
	pool := openPool(t)
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	err := relaypgx.NewOutbox(pool).Migrate(canceled)
	if err == nil || !strings.Contains(err.Error(), "migrating the outbox") {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
