package relaypgx_test

import (
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	supabasesync "github.com/nomadcrew/supabase-sync"
	"github.com/nomadcrew/supabase-sync/relaypgx"
)

// An event is the same JSON for the real relay, whether the recording, the outbox or a claim sends it:
// a process that dies after a request only makes duplicates.
func TestLiveFlush_EventsThatWereSentBefore_AreDuplicates(t *testing.T) {
	if os.Getenv("RELAY_URL") == "" {
		t.Skip("RELAY_URL is not set")
	}
	client, err := supabasesync.NewClient(supabasesync.ClientConfig{
		URL: os.Getenv("RELAY_URL"), Secret: os.Getenv("RELAY_WEBHOOK_SECRET"),
	})
	if err != nil {
		t.Fatal(err)
	}
	pool := openPool(t)
	outbox := relaypgx.NewOutbox(pool)
	recorded := inTx(t, pool, func(tx pgx.Tx) (supabasesync.Event, error) {
		return relaypgx.SyncTrip(ctx, tx, relaypgx.TripData{
			ID: trip, Name: `"Lisbon" <&> \ ü 😀`, Extra: map[string]any{"budget": 12345678901234567.25, "days": []int{1, 2}},
		})
	})
	if status, err := client.Send(ctx, recorded); err != nil || status != supabasesync.Accepted {
		t.Fatal(status, err)
	}
	events, err := outbox.Events(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if results, err := client.SendBatch(ctx, events); err != nil || results[0].Status != supabasesync.Duplicate {
		t.Fatal(results, err)
	}
	var batches []supabasesync.Batch
	runner := supabasesync.NewRunner(outbox, client, supabasesync.RunnerConfig{
		OnBatch: func(batch supabasesync.Batch) { batches = append(batches, batch) },
	})
	if count := flush(t, runner); count != 1 || batches[0].Sent != 1 || batches[0].Parked != 0 {
		t.Fatal(count, batches)
	}
}
