package supabasesync

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	batchBytes   = 900 << 10 // leaves room for commas; the relay accepts 1 MiB
	reasonLength = 2000
)

// Flush sends one batch, and returns how many events it removed from the outbox or parked. Run calls
// it; programs without a Runner's goroutine can too.
//
// The order of sending does not matter: the relay orders changes by their timestamps. If this process
// dies after the request, the events are sent again, and are duplicates.
func (r *Runner) Flush(ctx context.Context) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	started := time.Now()
	running, cancel := outlive(ctx, r.config.StopTimeout, batchTimeout)
	defer cancel()
	rows, err := r.outbox.claim(running, r.config.BatchSize, claimDuration)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	work := &delivery{runner: r}
	work.deliver(running, work.fit(rows))

	settling, stop := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer stop()
	err = errors.Join(work.err, r.settle(settling, work))
	batch := Batch{
		Sent:     len(work.sent),
		Parked:   len(work.rejections),
		Unsent:   len(work.unsent),
		Duration: time.Since(started),
		Err:      err,
	}
	for _, each := range rows {
		if each.revocation {
			batch.Revocations++
		}
	}
	r.config.OnBatch(batch)
	return batch.Sent + batch.Parked, err
}

func (r *Runner) settle(ctx context.Context, work *delivery) error {
	err := errors.Join(
		r.outbox.remove(ctx, work.sent),
		r.outbox.park(ctx, work.rejections),
		r.outbox.release(ctx, work.unsent),
	)
	for _, each := range work.parked {
		r.config.Logger.ErrorContext(ctx, "the relay refuses an event: it is parked in the outbox",
			"event_id", each.EventID, "type", each.Type, "reason", each.Reason)
		r.config.OnParked(each)
	}
	return err
}

// delivery sorts claimed rows by their outcome.
type delivery struct {
	runner     *Runner
	sent       []row
	unsent     []row
	rejections []rejection
	parked     []Parked
	err        error // why rows are unsent
}

// fit returns the rows of one request; the others are for the next one, or too large for any.
func (d *delivery) fit(rows []row) []row {
	var batch []row
	size := 0
	for _, each := range rows {
		encoded, err := each.event.encode(each.event.ID)
		if err != nil {
			d.park(each, "invalid: "+err.Error())
			continue
		}
		if len(encoded) > maximumEventBytes {
			d.park(each, "invalid: larger than 64 KiB")
			continue
		}
		size += len(encoded) + 1
		if size > batchBytes {
			d.unsent = append(d.unsent, each)
			continue
		}
		batch = append(batch, each)
	}
	return batch
}

// deliver sends rows. If the relay or a proxy refuses the request because of its content, it sends
// each half alone, so that one event never stops the others.
func (d *delivery) deliver(ctx context.Context, rows []row) {
	if len(rows) == 0 {
		return
	}
	if d.err != nil {
		d.unsent = append(d.unsent, rows...)
		return
	}
	events := make([]Event, len(rows))
	for i, each := range rows {
		events[i] = each.event
	}
	results, err := d.runner.client.SendBatch(ctx, events)
	var rejected *Rejected
	switch {
	case errors.As(err, &rejected) && rejected.concernsContent():
		if len(rows) == 1 {
			d.park(rows[0], rejected.Error())
			return
		}
		d.deliver(ctx, rows[:len(rows)/2])
		d.deliver(ctx, rows[len(rows)/2:])
	case err != nil:
		d.err = fmt.Errorf("supabasesync: sending %d events: %w", len(rows), err)
		d.unsent = append(d.unsent, rows...)
	default:
		for i, result := range results {
			if result.Status == Accepted || result.Status == Duplicate {
				d.sent = append(d.sent, rows[i])
			} else {
				d.park(rows[i], result.reason())
			}
		}
	}
}

func (d *delivery) park(row row, reason string) {
	reason = strings.ReplaceAll(reason, "\x00", "") // PostgreSQL cannot store it
	if len(reason) > reasonLength {
		reason = strings.ToValidUTF8(reason[:reasonLength], "") + "…"
	}
	d.rejections = append(d.rejections, rejection{row.id, reason})
	d.parked = append(d.parked, Parked{row.event.ID, row.event.Type, reason})
}

// outlive returns a context that ends after limit, or a grace after its parent.
func outlive(parent context.Context, grace, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(parent), limit)
	detach := context.AfterFunc(parent, func() { time.AfterFunc(grace, cancel) })
	return ctx, func() { detach(); cancel() }
}
