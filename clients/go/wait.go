package supabasesync

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	answerMargin = 500 * time.Millisecond // for the answer to a wait that ran out
	committed    = "committed"
)

// WaitApplied sends one event alone, after the commit of its transaction, and waits until Supabase
// holds the change. Call it after a revocation whose caller waits for the answer. It returns
//
//   - Applied: in force.
//   - Superseded: a newer change of the same row is in force.
//   - Pending: not yet in force, within the timeout. The outbox or the relay has the event and needs
//     no further action, also if the relay is unavailable.
//   - Dead: refused. An operator has to look; the relay or the runner has reported why.
//
// The timeout is rounded up to whole seconds, at most 30. An error means that the event was not
// recorded by an outbox, or that its transaction is not committed.
func (r *Runner) WaitApplied(ctx context.Context, event Event, timeout time.Duration) (Status, error) {
	if event.transaction == 0 {
		return "", fmt.Errorf("supabasesync: event %s was not recorded in an outbox", event.ID)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout+answerMargin)
	defer cancel()
	id, transaction, err := r.outbox.claimEvent(ctx, event, timeout+settleTimeout)
	if err != nil {
		r.config.Logger.WarnContext(ctx, "an event is not waited for", "event_id", event.ID, "error", err)
		return Pending, nil
	}
	if transaction != committed {
		return "", fmt.Errorf("supabasesync: the transaction of event %s is not committed: %q", event.ID, transaction)
	}
	// With id 0, a runner is sending the event or has sent it: sent twice, it is a duplicate.
	status, err := r.client.SendAndWait(ctx, event, timeout)
	settling, stop := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer stop()
	var rows []row
	if id != 0 {
		rows = []row{{id: id}}
	}
	if err == nil {
		err = r.outbox.remove(settling, rows)
	} else {
		r.config.Logger.WarnContext(ctx, "an event is sent later", "event_id", event.ID, "error", err)
		var rejected *Rejected
		if errors.As(err, &rejected) && rejected.concernsContent() {
			status = Dead // the runner parks it
		} else {
			status = Pending
		}
		err = r.outbox.release(settling, rows)
		r.Wake()
	}
	if err != nil { // the claim expires, and the runner sends the event again
		r.config.Logger.WarnContext(ctx, "an event is sent again", "event_id", event.ID, "error", err)
	}
	if status == Accepted || status == Duplicate {
		status = Pending
	}
	return status, nil
}
