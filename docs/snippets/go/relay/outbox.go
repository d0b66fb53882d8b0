package relay

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"strconv"
	"strings"
	"time"
)

// region: record

// Record writes an event to the outbox, in the transaction of its change.
//
// Call it after the statement that changes the row. The row is locked then, so the outbox's
// clock_timestamp() orders the changes of the row.
func Record(ctx context.Context, tx *sql.Tx, eventType Type, data any) error {
	encoded, err := json.Marshal(data)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx,
		`insert into relay_outbox (type, data) values ($1, $2)`, string(eventType), string(encoded))
	return err
}

// endregion

const (
	flushEvents    = 500       // the relay accepts 1,000
	flushBytes     = 900 << 10 // the relay accepts 1 MiB
	eventBytes     = 64 << 10
	flushTimeout   = 30 * time.Second
	pollInterval   = 2 * time.Second // finds rows of other processes
	longestBackoff = time.Minute
)

// Flusher sends the outbox to the relay. Run one in every backend process, or in one of them.
type Flusher struct {
	// Alert receives errors that need a person. Set it before Run; the default logs them.
	Alert func(error)

	db     *sql.DB
	client *Client
	wake   chan struct{}
}

// NewFlusher creates a flusher; Run starts it.
func NewFlusher(db *sql.DB, client *Client) *Flusher {
	return &Flusher{
		Alert:  func(err error) { log.Print(err) },
		db:     db,
		client: client,
		wake:   make(chan struct{}, 1),
	}
}

// Wake makes the flusher look for new rows. Call it after a commit; it never blocks.
func (f *Flusher) Wake() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Run flushes until ctx ends.
func (f *Flusher) Run(ctx context.Context) {
	backoff := firstBackoff
	for ctx.Err() == nil {
		count, err := f.Flush(ctx)
		var unavailable *Unavailable
		switch {
		case err != nil && ctx.Err() == nil:
			f.Alert(err) // after a 401, for example, all rows stay in the outbox
			wait := time.Duration(random() * float64(backoff))
			if errors.As(err, &unavailable) && wait < unavailable.RetryAfter {
				wait = unavailable.RetryAfter
			}
			sleep(ctx, wait)
			if backoff *= 2; backoff > longestBackoff {
				backoff = longestBackoff
			}
		case count > 0: // there may be more
			backoff = firstBackoff
		default:
			backoff = firstBackoff
			select {
			case <-ctx.Done():
			case <-f.wake:
			case <-time.After(pollInterval):
			}
		}
	}
}

// Flush sends one batch of the outbox and returns the number of rows handled.
//
// `skip locked` lets several processes flush at once. If this one dies after the POST, the rows are
// sent again and are duplicates. Order does not matter: the relay orders by timestamp.
func (f *Flusher) Flush(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	tx, err := f.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	ids, events, tooLarge, err := pick(ctx, tx)
	if err != nil {
		return 0, err
	}
	for _, id := range tooLarge {
		if err := f.park(ctx, tx, id, "invalid: larger than 64 KiB"); err != nil {
			return 0, err
		}
	}
	if len(events) > 0 {
		results, err := f.client.SendBatch(ctx, events)
		if err != nil {
			return 0, err
		}
		var done []string
		for i, result := range results {
			switch result.Status {
			case "accepted", "duplicate":
				done = append(done, strconv.FormatInt(ids[i], 10))
			default: // conflict, invalid: a retry would be refused again
				reason := strings.TrimSpace(result.Status + ": " + string(result.Errors))
				if err := f.park(ctx, tx, ids[i], reason); err != nil {
					return 0, err
				}
			}
		}
		if _, err := tx.ExecContext(ctx, `delete from relay_outbox
			where id = any (string_to_array($1, ',')::bigint[])`, strings.Join(done, ",")); err != nil {
			return 0, err
		}
	}
	return len(ids) + len(tooLarge), tx.Commit()
}

func pick(ctx context.Context, tx *sql.Tx) (ids []int64, events []Event, tooLarge []int64, err error) {
	rows, err := tx.QueryContext(ctx, `select id, event_id, type, occurred_at, data from relay_outbox
		where parked_at is null order by id limit $1 for update skip locked`, flushEvents)
	if err != nil {
		return nil, nil, nil, err
	}
	defer rows.Close()
	for size := 0; rows.Next(); {
		var id int64
		var event Event
		var data []byte
		if err := rows.Scan(&id, &event.ID, &event.Type, &event.Timestamp, &data); err != nil {
			return nil, nil, nil, err
		}
		event.Data = json.RawMessage(data)
		encoded, err := json.Marshal(event.document(event.ID))
		if err != nil {
			return nil, nil, nil, err
		}
		if len(encoded) > eventBytes {
			tooLarge = append(tooLarge, id)
			continue
		}
		if size += len(encoded) + 1; size > flushBytes {
			break // the rest is for the next batch
		}
		ids, events = append(ids, id), append(events, event)
	}
	return ids, events, tooLarge, rows.Err()
}

func (f *Flusher) park(ctx context.Context, tx *sql.Tx, id int64, reason string) error {
	f.Alert(fmt.Errorf("relay: outbox row %d is parked: %s", id, reason))
	_, err := tx.ExecContext(ctx,
		`update relay_outbox set parked_at = now(), parked_reason = $2 where id = $1`, id, reason)
	return err
}
