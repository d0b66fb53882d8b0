package supabasesync

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// DB runs statements on the backend's PostgreSQL. relaypgx and relaysql implement it.
type DB interface {
	// Exec runs one statement, or without arguments several.
	Exec(ctx context.Context, statement string, arguments ...any) error
	// Query calls read for each row, with the function that scans it.
	Query(ctx context.Context, statement string, arguments []any, read func(scan Scan) error) error
}

// Scan reads the columns of a row into pointers.
type Scan func(into ...any) error

// Outbox is the table relay_outbox: the events that the relay has not received yet. Make one with
// relaypgx.NewOutbox or relaysql.NewOutbox.
type Outbox struct{ db DB }

// Channel is the channel of the notifications that the outbox sends at a commit.
const Channel = "relay_outbox"

// NewOutbox is for drivers.
func NewOutbox(db DB) *Outbox { return &Outbox{db} }

//go:embed sql/relay_outbox.sql
var schema string

// migrationLock is a random number: processes that start together migrate one after the other.
const migrationLock = 2775133504170437823

// Migrate creates the table if it does not exist, in one transaction. The same statements are in
// sql/relay_outbox.sql, as a migration for goose or golang-migrate.
func (o *Outbox) Migrate(ctx context.Context) error {
	var exists bool
	err := o.queryRow(ctx, `select to_regclass('relay_outbox_due_idx') is not null`, nil, &exists)
	if err != nil || exists {
		return wrap("migrating the outbox", err)
	}
	lock := fmt.Sprintf("select pg_advisory_xact_lock(%d);\n", migrationLock)
	return wrap("migrating the outbox", o.db.Exec(ctx, lock+schema))
}

// OutboxStatus counts the events in an outbox.
type OutboxStatus struct {
	Waiting     int       // to be sent
	Revocations int       // of these
	Oldest      time.Time // of the waiting; zero if there is none
	Parked      int       // refused by the relay: parked_reason says why
}

// Status reads the status of the outbox, for metrics and alerts.
func (o *Outbox) Status(ctx context.Context) (OutboxStatus, error) {
	var status OutboxStatus
	var oldest *time.Time
	err := o.queryRow(ctx, `
		select count(*) filter (where parked_at is null),
		       count(*) filter (where parked_at is null and priority = 0),
		       min(occurred_at) filter (where parked_at is null),
		       count(parked_at)
		from relay_outbox`, nil, &status.Waiting, &status.Revocations, &oldest, &status.Parked)
	if oldest != nil {
		status.Oldest = *oldest
	}
	return status, wrap("reading the status of the outbox", err)
}

// Unpark sends the parked events again, after their cause is fixed.
func (o *Outbox) Unpark(ctx context.Context) error {
	return wrap("unparking events", o.db.Exec(ctx, `
		update relay_outbox set parked_at = null, parked_reason = null where parked_at is not null`))
}

// Events returns every event in the outbox, oldest first. It is for tests.
func (o *Outbox) Events(ctx context.Context) ([]Event, error) {
	var events []Event
	err := o.db.Query(ctx, `select event_id, type, occurred_at, data::text from relay_outbox order by id`,
		nil, func(scan Scan) error {
			event, err := scanEvent(scan)
			events = append(events, event)
			return err
		})
	return events, wrap("reading the outbox", err)
}

// Record records an event in a transaction. It is for drivers; their Sync and Delete functions call it.
func Record(ctx context.Context, transaction DB, data Data) (Event, error) {
	if err := data.Validate(); err != nil {
		return Event{}, err
	}
	encoded, err := json.Marshal(data)
	if err != nil {
		return Event{}, wrap("encoding an event", err)
	}
	return readRecorded(ctx, transaction, `
		insert into relay_outbox (type, data) values ($1::text, $2::text::jsonb)
		returning pg_current_xact_id()::text, xmin::text, event_id, type, occurred_at, data::text`,
		string(data.EventType()), string(encoded))
}

// LastRecorded returns the last event that the triggers of sql/relay_triggers.sql have recorded in a
// transaction. It is for drivers.
func LastRecorded(ctx context.Context, transaction DB) (Event, error) {
	return readRecorded(ctx, transaction, `
		select pg_current_xact_id()::text, xmin::text, event_id, type, occurred_at, data::text
		from relay_outbox where event_id = current_setting('relay.last_recorded', true)`)
}

// readRecorded reads an event with the transaction that recorded it.
func readRecorded(ctx context.Context, transaction DB, statement string, arguments ...any) (Event, error) {
	var top, row, data string
	var event Event
	outbox := Outbox{transaction}
	err := outbox.queryRow(ctx, statement, arguments,
		&top, &row, &event.ID, &event.Type, &event.Timestamp, &data)
	if err != nil {
		return Event{}, wrap("reading a recorded event", err)
	}
	event.Data = json.RawMessage(data)
	event.transaction, err = fullTransactionID(top, row)
	return event, err
}

// fullTransactionID completes the 32 bits in a row: those of a savepoint's transaction follow the
// 64 bits of the whole one's.
func fullTransactionID(top, row string) (uint64, error) {
	whole, err := strconv.ParseUint(top, 10, 64)
	if err != nil {
		return 0, err
	}
	part, err := strconv.ParseUint(row, 10, 32)
	if err != nil {
		return 0, err
	}
	full := whole&^0xffffffff | part
	if full < whole {
		full += 1 << 32
	}
	return full, nil
}

func (o *Outbox) queryRow(ctx context.Context, statement string, arguments []any, into ...any) error {
	found := false
	err := o.db.Query(ctx, statement, arguments, func(scan Scan) error {
		found = true
		return scan(into...)
	})
	if err == nil && !found {
		return errNoRow
	}
	return err
}

func scanEvent(scan Scan) (Event, error) {
	var event Event
	var data string
	err := scan(&event.ID, &event.Type, &event.Timestamp, &data)
	event.Data = json.RawMessage(data)
	return event, err
}
