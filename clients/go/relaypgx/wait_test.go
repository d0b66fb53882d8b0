package relaypgx_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	supabasesync "github.com/nomadcrew/supabase-sync"
	"github.com/nomadcrew/supabase-sync/relaypgx"
	"github.com/nomadcrew/supabase-sync/relaytest"
)

func wait(t *testing.T, runner *supabasesync.Runner, event supabasesync.Event) supabasesync.Status {
	t.Helper()
	status, err := runner.WaitApplied(ctx, event, 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return status
}

func TestWaitApplied_RevocationBehindManyEvents_IsSentAloneAndRemoved(t *testing.T) {
	pool, relay := openPool(t), relaytest.NewServer(t)
	runner := newRunner(t, pool, relay, supabasesync.RunnerConfig{})
	grant(t, pool, 1000)
	removal := remove(t, pool, bo)
	if status := wait(t, runner, removal); status != supabasesync.Applied {
		t.Fatal(status)
	}
	request := relay.Requests()[0]
	if request.Path != "/webhooks" || request.Events[0].ID != removal.ID || request.Wait != 2*time.Second {
		t.Fatal(request)
	}
	if left := read(t, pool, `select count(*)::text from relay_outbox`); left != "1000" {
		t.Fatal(left)
	}
}

func TestWaitApplied_Answer_IsTheStatus(t *testing.T) {
	pool, relay := openPool(t), relaytest.NewServer(t)
	runner := newRunner(t, pool, relay, supabasesync.RunnerConfig{})
	for _, want := range []supabasesync.Status{supabasesync.Superseded, supabasesync.Dead, supabasesync.Pending} {
		relay.Settle(want)
		if status := wait(t, runner, remove(t, pool, bo)); status != want {
			t.Error(status)
		}
		if count := flush(t, runner); count != 0 {
			t.Errorf("%s: sent again", want)
		}
	}
}

func TestWaitApplied_EventThatARunnerHasSent_IsADuplicateThatIsWaitedFor(t *testing.T) {
	pool, relay := openPool(t), relaytest.NewServer(t)
	runner := newRunner(t, pool, relay, supabasesync.RunnerConfig{})
	removal := remove(t, pool, bo)
	flush(t, runner)
	if status := wait(t, runner, removal); status != supabasesync.Applied || relay.Count() != 1 {
		t.Fatal(status, relay.Count())
	}
}

func TestWaitApplied_EventThatARunnerHasClaimed_IsSentAnyway(t *testing.T) {
	pool, relay := openPool(t), relaytest.NewServer(t)
	runner := newRunner(t, pool, relay, supabasesync.RunnerConfig{})
	removal := remove(t, pool, bo)
	execute(t, pool, `update relay_outbox set claimed_until = clock_timestamp() + interval '1 minute'`)
	if status := wait(t, runner, removal); status != supabasesync.Applied {
		t.Fatal(status)
	}
}

func TestWaitApplied_RelayUnavailable_IsPendingAndSentLater(t *testing.T) {
	pool, relay := openPool(t), relaytest.NewServer(t)
	runner := newRunner(t, pool, relay, supabasesync.RunnerConfig{})
	removal := remove(t, pool, bo)
	for _, status := range []int{http.StatusServiceUnavailable, http.StatusUnauthorized} {
		relay.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(status)
			return true
		})
		if status := wait(t, runner, removal); status != supabasesync.Pending {
			t.Fatal(status)
		}
	}
	relay.Intercept(nil)
	if count := flush(t, runner); count != 1 {
		t.Fatal(count)
	}
}

func TestWaitApplied_RelayThatHangs_IsPendingInTime(t *testing.T) {
	pool, relay := openPool(t), relaytest.NewServer(t)
	over := make(chan struct{})
	defer close(over)
	relay.Intercept(func(http.ResponseWriter, *http.Request) bool { <-over; return true })
	runner := newRunner(t, pool, relay, supabasesync.RunnerConfig{})
	started := time.Now()
	status, err := runner.WaitApplied(ctx, remove(t, pool, bo), time.Millisecond)
	if err != nil || status != supabasesync.Pending || time.Since(started) > 5*time.Second {
		t.Fatal(status, err, time.Since(started))
	}
	if free := read(t, pool, `select count(*)::text from relay_outbox where claimed_until is null`); free != "1" {
		t.Fatal(free)
	}
}

func TestWaitApplied_EventThatIsRefused_IsDeadAndParkedByTheRunner(t *testing.T) {
	pool, relay := openPool(t), relaytest.NewServer(t)
	runner := newRunner(t, pool, relay, supabasesync.RunnerConfig{})
	invalid := inTx(t, pool, func(tx pgx.Tx) (supabasesync.Event, error) {
		return relaypgx.SyncUser(ctx, tx, relaypgx.UserData{ID: ana, Username: "ana"})
	})
	if status := wait(t, runner, invalid); status != supabasesync.Dead {
		t.Fatal(status)
	}
	flush(t, runner)
	if reason := read(t, pool, `select parked_reason from relay_outbox`); reason != "invalid: /data/email must have 1 to 320 characters" {
		t.Fatal(reason)
	}
}

func TestWaitApplied_EventThatIsNotCommitted_IsMisuseAndNotSent(t *testing.T) {
	pool, relay := openPool(t), relaytest.NewServer(t)
	runner := newRunner(t, pool, relay, supabasesync.RunnerConfig{})
	events := map[string]supabasesync.Event{
		"made by hand": supabasesync.NewEvent(supabasesync.DeletedTrip{ID: trip}, time.Now()),
	}
	record := func(name string, tx pgx.Tx) {
		event, err := relaypgx.DeleteTrip(ctx, tx, trip)
		if err != nil {
			t.Fatal(err)
		}
		events[name] = event
	}
	open, back := begin(t, pool), begin(t, pool)
	defer open.Rollback(ctx)
	record("before the commit", open)
	record("rolled back", back)
	if err := back.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	inTx(t, pool, func(tx pgx.Tx) (supabasesync.Event, error) {
		record("outside the savepoint", tx)
		savepoint, err := tx.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		record("in a savepoint", savepoint)
		if err := savepoint.Rollback(ctx); err != nil {
			t.Fatal(err)
		}
		return supabasesync.Event{}, nil
	})
	for name, event := range events {
		status, err := runner.WaitApplied(ctx, event, time.Second)
		if (err == nil) != (name == "outside the savepoint") {
			t.Errorf("%s: %q %v", name, status, err)
		}
	}
	if relay.Count() != 1 {
		t.Error(relay.Requests())
	}
}
