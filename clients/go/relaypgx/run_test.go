package relaypgx_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	supabasesync "github.com/nomadcrew/supabase-sync"
	"github.com/nomadcrew/supabase-sync/relaypgx"
	"github.com/nomadcrew/supabase-sync/relaytest"
)

// start runs a runner until the returned function is called.
func start(t *testing.T, runner *supabasesync.Runner) (stop func()) {
	t.Helper()
	running, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); runner.Run(running) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// await looks until a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func awaitEmpty(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	await(t, "the outbox is empty", func() bool {
		return read(t, pool, `select count(*)::text from relay_outbox`) == "0"
	})
}

const never = time.Hour

func TestRun_Notifications_AreSentAtTheCommitWithoutPolling(t *testing.T) {
	pool, relay := openPool(t), relaytest.NewServer(t)
	remove(t, pool, ana) // recorded before the runner listens
	start(t, newRunner(t, pool, relay, supabasesync.RunnerConfig{
		PollInterval: never, Listen: relaypgx.Listen(pool.Config().ConnString()),
	}))
	awaitEmpty(t, pool)
	remove(t, pool, bo)
	awaitEmpty(t, pool)

	// A lost connection: events from before the next one are found.
	execute(t, pool, `select pg_terminate_backend(pid) from pg_stat_activity
		where datname = current_database() and query = 'listen relay_outbox'`)
	grant(t, pool, 3)
	awaitEmpty(t, pool)
	if relay.Count() != 5 {
		t.Fatal(relay.Count())
	}
}

func TestRun_Wake_SendsWithoutPolling(t *testing.T) {
	pool, relay := openPool(t), relaytest.NewServer(t)
	runner := newRunner(t, pool, relay, supabasesync.RunnerConfig{PollInterval: never})
	start(t, runner)
	for range 3 {
		remove(t, pool, bo)
		runner.Wake()
		awaitEmpty(t, pool)
	}
}

func TestRun_Polling_FindsEventsOfOtherProcesses(t *testing.T) {
	pool, relay := openPool(t), relaytest.NewServer(t)
	start(t, newRunner(t, pool, relay, supabasesync.RunnerConfig{PollInterval: time.Millisecond, BatchSize: 2}))
	grant(t, pool, 5)
	awaitEmpty(t, pool)
}

func TestRun_OutageThatEnds_CatchesUp(t *testing.T) {
	pool, relay := openPool(t), relaytest.NewServer(t)
	failures := make(chan struct{}, 100)
	relay.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		failures <- struct{}{}
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	grant(t, pool, 3)
	start(t, newRunner(t, pool, relay, supabasesync.RunnerConfig{PollInterval: time.Millisecond}))
	<-failures
	<-failures
	relay.Intercept(nil)
	awaitEmpty(t, pool)
}

func TestRun_OutageUntilTheDeadline_IsNoBusyLoop(t *testing.T) {
	pool, relay := openPool(t), relaytest.NewServer(t)
	grant(t, pool, 1)
	var requests atomic.Int64
	relay.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		requests.Add(1)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	running, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	newRunner(t, pool, relay, supabasesync.RunnerConfig{}).Run(running)
	if count := requests.Load(); count == 0 || count > 20 {
		t.Fatal(count)
	}
}

func TestRun_Stop_FinishesTheRequestInFlight(t *testing.T) {
	pool, relay := openPool(t), relaytest.NewServer(t)
	remove(t, pool, bo)
	arrived, proceed := make(chan struct{}), make(chan struct{})
	relay.Intercept(func(http.ResponseWriter, *http.Request) bool {
		close(arrived)
		<-proceed
		return false
	})
	running, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	runner := newRunner(t, pool, relay, supabasesync.RunnerConfig{StopTimeout: time.Minute})
	go func() { defer close(done); runner.Run(running) }()
	<-arrived
	cancel()
	close(proceed)
	<-done
	if left := read(t, pool, `select count(*)::text from relay_outbox`); left != "0" || relay.Count() != 1 {
		t.Fatal(left, relay.Count())
	}
}

func TestRun_StopWhileTheRelayHangs_ReleasesTheEvents(t *testing.T) {
	pool, relay := openPool(t), relaytest.NewServer(t)
	remove(t, pool, bo)
	arrived, over := make(chan struct{}), make(chan struct{})
	defer close(over)
	relay.Intercept(func(http.ResponseWriter, *http.Request) bool {
		close(arrived)
		<-over
		return true
	})
	running, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	runner := newRunner(t, pool, relay, supabasesync.RunnerConfig{StopTimeout: time.Millisecond})
	go func() { defer close(done); runner.Run(running) }()
	<-arrived
	cancel()
	<-done
	if free := read(t, pool, `select count(*)::text from relay_outbox where claimed_until is null`); free != "1" {
		t.Fatal(free)
	}
}
