package relaypgx_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	supabasesync "github.com/nomadcrew/supabase-sync"
	"github.com/nomadcrew/supabase-sync/internal/testdb"
	"github.com/nomadcrew/supabase-sync/relaypgx"
	"github.com/nomadcrew/supabase-sync/relaytest"
)

func newRunner(
	t testing.TB, pool *pgxpool.Pool, relay *relaytest.Server, config supabasesync.RunnerConfig,
) *supabasesync.Runner {
	t.Helper()
	config.Logger = slog.New(slog.DiscardHandler)
	client, err := supabasesync.NewClient(supabasesync.ClientConfig{
		URL: relay.URL, Secret: relaytest.Secret, Logger: config.Logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	return supabasesync.NewRunner(relaypgx.NewOutbox(pool), client, config)
}

func flush(t testing.TB, runner *supabasesync.Runner) int {
	t.Helper()
	count, err := runner.Flush(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return count
}

// grant records the events of new members, as one statement.
func grant(t testing.TB, pool *pgxpool.Pool, count int) {
	t.Helper()
	execute(t, pool, `insert into relay_outbox (type, data)
		select 'membership.created', jsonb_build_object('trip_id', '`+trip+`', 'user_id', gen_random_uuid(),
		  'role', 'MEMBER', 'status', 'ACTIVE')
		from generate_series(1, $1)`, count)
}

func TestFlush_RevocationBehindAHundredThousandGrants_IsInTheFirstRequest(t *testing.T) {
	pool, relay := openPool(t), relaytest.NewServer(t)
	grant(t, pool, 100_000)
	removal := remove(t, pool, bo)
	runner := newRunner(t, pool, relay, supabasesync.RunnerConfig{})
	if count := flush(t, runner); count != 500 {
		t.Fatal(count)
	}
	if first := relay.Requests()[0].Events[0]; first.ID != removal.ID {
		t.Fatal(first)
	}
}

func TestFlush_FloodOfRevocations_LeavesAFifthForTheRest(t *testing.T) {
	pool, relay := openPool(t), relaytest.NewServer(t)
	for range 40 {
		remove(t, pool, bo)
	}
	grant(t, pool, 10)
	var batches []supabasesync.Batch
	runner := newRunner(t, pool, relay, supabasesync.RunnerConfig{
		BatchSize: 10,
		OnBatch:   func(batch supabasesync.Batch) { batches = append(batches, batch) },
	})
	for flush(t, runner) > 0 {
	}
	for _, batch := range batches[:5] {
		if batch.Revocations != 8 || batch.Sent != 10 || batch.Unsent != 0 || batch.Err != nil {
			t.Error(batch)
		}
	}
	if len(batches) != 5 || relay.Count() != 50 {
		t.Error(batches, relay.Count())
	}
}

func TestFlush_ConflictInvalidAndTooLarge_AreParkedAndTheRestIsSent(t *testing.T) {
	pool, relay := openPool(t), relaytest.NewServer(t)
	known := supabasesync.NewEvent(supabasesync.DeletedUser{ID: ana}, remove(t, pool, ana).Timestamp)
	if _, err := relay.Client(t).Send(ctx, known); err != nil {
		t.Fatal(err)
	}
	execute(t, pool, `insert into relay_outbox (type, data) values
		('user.deleted', '{"id": "no uuid"}'),
		('user.created', jsonb_build_object('id', '`+ana+`', 'email', repeat('x', 70000), 'username', ''))`)
	execute(t, pool, `insert into relay_outbox (event_id, type, data) values ($1, 'trip.deleted', '{"id": "`+trip+`"}')`,
		known.ID)
	var parked []supabasesync.Parked
	runner := newRunner(t, pool, relay, supabasesync.RunnerConfig{
		OnParked: func(each supabasesync.Parked) { parked = append(parked, each) },
	})
	if count := flush(t, runner); count != 4 || len(parked) != 3 {
		t.Fatal(count, parked)
	}
	reasons := read(t, pool, `select string_agg(parked_reason, ' | ' order by id) from relay_outbox`)
	want := "invalid: /data/id must be a UUID | invalid: larger than 64 KiB | conflict: this event id was"
	if !strings.HasPrefix(reasons, want) {
		t.Error(reasons)
	}
	outbox := relaypgx.NewOutbox(pool)
	if status, err := outbox.Status(ctx); err != nil || status.Parked != 3 || status.Waiting != 0 || flush(t, runner) != 0 {
		t.Error(status, err)
	}
	if err := outbox.Unpark(ctx); err != nil || flush(t, runner) != 3 || len(parked) != 6 {
		t.Error(err, parked)
	}
}

func TestFlush_RequestRefusedForOneEvent_ParksThatOneAlone(t *testing.T) {
	pool, relay := openPool(t), relaytest.NewServer(t)
	grant(t, pool, 20)
	poison := remove(t, pool, bo)
	grant(t, pool, 20)
	relay.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		if !strings.Contains(string(body), poison.ID) {
			return false
		}
		http.Error(w, "a firewall does not like it", http.StatusBadRequest)
		return true
	})
	runner := newRunner(t, pool, relay, supabasesync.RunnerConfig{})
	if count := flush(t, runner); count != 41 || relay.Count() != 40 {
		t.Fatal(count, relay.Count())
	}
	parked := read(t, pool, `select event_id || ' ' || parked_reason from relay_outbox`)
	if !strings.HasPrefix(parked, poison.ID) || !strings.Contains(parked, "400") {
		t.Error(parked)
	}
}

func TestFlush_RelayThatFails_KeepsEveryEventUnclaimed(t *testing.T) {
	pool, relay := openPool(t), relaytest.NewServer(t)
	grant(t, pool, 3)
	runner := newRunner(t, pool, relay, supabasesync.RunnerConfig{})
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound} {
		relay.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(status)
			return true
		})
		count, err := runner.Flush(ctx)
		var rejected *supabasesync.Rejected
		if !errors.As(err, &rejected) || rejected.Status != status || count != 0 {
			t.Fatal(count, err)
		}
	}
	relay.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	var unavailable *supabasesync.Unavailable
	if count, err := runner.Flush(ctx); !errors.As(err, &unavailable) || count != 0 {
		t.Fatal(count, err)
	}
	relay.Intercept(nil)
	if count := flush(t, runner); count != 3 {
		t.Fatal(count)
	}
}

func TestFlush_SeveralAtOnce_SendEachEventOnce(t *testing.T) {
	pool, relay := openPool(t), relaytest.NewServer(t)
	grant(t, pool, 1000)
	var running sync.WaitGroup
	for range 4 {
		running.Add(1)
		go func() {
			defer running.Done()
			runner := newRunner(t, pool, relay, supabasesync.RunnerConfig{BatchSize: 50})
			for {
				if count, err := runner.Flush(ctx); err != nil || count == 0 {
					if err != nil {
						t.Error(err)
					}
					return
				}
			}
		}()
	}
	running.Wait()
	sent := 0
	for _, request := range relay.Requests() {
		sent += len(request.Events)
	}
	if sent != 1000 || relay.Count() != 1000 {
		t.Fatal(sent, relay.Count())
	}
}

func TestFlush_ClaimOfAProcessThatDied_Expires(t *testing.T) {
	pool, relay := openPool(t), relaytest.NewServer(t)
	remove(t, pool, bo)
	runner := newRunner(t, pool, relay, supabasesync.RunnerConfig{})
	execute(t, pool, `update relay_outbox set claimed_until = clock_timestamp() + interval '1 minute'`)
	if count := flush(t, runner); count != 0 {
		t.Fatal(count)
	}
	execute(t, pool, `update relay_outbox set claimed_until = clock_timestamp()`)
	if count := flush(t, runner); count != 1 {
		t.Fatal(count)
	}
}

func TestFlush_NoTransactionIsOpenDuringTheRequest(t *testing.T) {
	pool, relay := openPool(t), relaytest.NewServer(t)
	remove(t, pool, bo)
	var open string
	relay.Intercept(func(http.ResponseWriter, *http.Request) bool {
		open = read(t, pool, `select count(*)::text from pg_stat_activity
			where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null`)
		return false
	})
	if count := flush(t, newRunner(t, pool, relay, supabasesync.RunnerConfig{})); count != 1 || open != "0" {
		t.Fatal(count, open)
	}
}

func TestFlush_LargeEvents_AreSplitOverRequests(t *testing.T) {
	pool, relay := openPool(t), relaytest.NewServer(t)
	execute(t, pool, `insert into relay_outbox (type, data)
		select 'user.updated', jsonb_build_object('id', '`+ana+`', 'email', 'a', 'username', 'a',
		  'bio', repeat('x', 60000))
		from generate_series(1, 20)`)
	runner := newRunner(t, pool, relay, supabasesync.RunnerConfig{})
	if first, second := flush(t, runner), flush(t, runner); first != 15 || second != 5 || relay.Count() != 20 {
		t.Fatal(first, second, relay.Count())
	}
}

func TestFlush_CanceledBefore_SendsNothing(t *testing.T) {
	pool, relay := openPool(t), relaytest.NewServer(t)
	remove(t, pool, bo)
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	count, err := newRunner(t, pool, relay, supabasesync.RunnerConfig{}).Flush(canceled)
	if count != 0 || !errors.Is(err, context.Canceled) || relay.Count() != 0 {
		t.Fatal(count, err)
	}
}

// Poolers need other modes than the default one.
func TestFlush_EveryQueryMode_Works(t *testing.T) {
	for _, mode := range []string{"cache_describe", "describe_exec", "exec", "simple_protocol"} {
		pool, err := pgxpool.New(ctx, testdb.Create(t)+"&default_query_exec_mode="+mode)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		if err := relaypgx.NewOutbox(pool).Migrate(ctx); err != nil {
			t.Fatal(mode, err)
		}
		relay := relaytest.NewServer(t)
		runner := newRunner(t, pool, relay, supabasesync.RunnerConfig{})
		removal := remove(t, pool, bo)
		remove(t, pool, ana)
		if status := wait(t, runner, removal); status != supabasesync.Applied {
			t.Error(mode, status)
		}
		if count := flush(t, runner); count != 1 {
			t.Error(mode, count)
		}
	}
}
