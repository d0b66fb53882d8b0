package relaypgx_test

import (
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	supabasesync "github.com/nomadcrew/supabase-sync"
	"github.com/nomadcrew/supabase-sync/relaypgx"
	"github.com/nomadcrew/supabase-sync/relaytest"
)

// The benchmarks use the relay of RELAY_URL, if it is set, else an in-memory one.

func newBenchmark(b *testing.B) (*supabasesync.Runner, func(count int)) {
	pool := openPool(b)
	config := supabasesync.ClientConfig{URL: os.Getenv("RELAY_URL"), Secret: os.Getenv("RELAY_WEBHOOK_SECRET")}
	if config.URL == "" {
		config = supabasesync.ClientConfig{URL: relaytest.NewServer(b).URL, Secret: relaytest.Secret}
	}
	client, err := supabasesync.NewClient(config)
	if err != nil {
		b.Fatal(err)
	}
	runner := supabasesync.NewRunner(relaypgx.NewOutbox(pool), client, supabasesync.RunnerConfig{})
	return runner, func(count int) { grant(b, pool, count) }
}

func reportRate(b *testing.B, events int) {
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkRecord(b *testing.B) {
	pool := openPool(b)
	execute(b, pool, `create table trips (id uuid, name text); insert into trips values (gen_random_uuid(), '')`)
	for _, each := range []struct {
		name   string
		record bool
	}{{"transaction without an event", false}, {"transaction with an event", true}} {
		b.Run(each.name, func(b *testing.B) {
			for b.Loop() {
				err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
					_, err := tx.Exec(ctx, `insert into trips values ($1, 'Lisbon')`, trip)
					if err == nil && each.record {
						_, err = relaypgx.SyncTrip(ctx, tx, relaypgx.TripData{ID: trip, Name: "Lisbon"})
					}
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			reportRate(b, b.N)
		})
	}
}

func BenchmarkFlush(b *testing.B) {
	runner, record := newBenchmark(b)
	sent := 0
	for b.Loop() {
		b.StopTimer()
		record(5000)
		b.StartTimer()
		for count := flush(b, runner); count > 0; count = flush(b, runner) {
			sent += count
		}
	}
	reportRate(b, sent)
}

func BenchmarkWaitApplied_BehindAHundredThousandGrants(b *testing.B) {
	pool, relay := openPool(b), relaytest.NewServer(b)
	runner := newRunner(b, pool, relay, supabasesync.RunnerConfig{})
	grant(b, pool, 100_000)
	for b.Loop() {
		b.StopTimer()
		removal := remove(b, pool, bo)
		b.StartTimer()
		if status, err := runner.WaitApplied(ctx, removal, time.Second); err != nil || status != supabasesync.Applied {
			b.Fatal(status, err)
		}
	}
}

func BenchmarkFlush_RevocationBehindAHundredThousandGrants(b *testing.B) {
	pool, relay := openPool(b), relaytest.NewServer(b)
	runner := newRunner(b, pool, relay, supabasesync.RunnerConfig{})
	grant(b, pool, 100_000)
	for b.Loop() {
		b.StopTimer()
		removal := remove(b, pool, bo)
		b.StartTimer()
		flush(b, runner)
		if _, ok := relay.Event(removal.ID); !ok {
			b.Fatal("the revocation was not in the first request")
		}
	}
}
