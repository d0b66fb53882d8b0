package supabasesync

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"time"
)

// Event is one change.
type Event struct {
	// ID is the webhook-id: made once, the same on every retry.
	ID string
	// Type is the kind of change.
	Type Type
	// Timestamp orders the changes of one row. It is the time of the change, by the database's clock,
	// read while the row was locked.
	Timestamp time.Time
	// Data is a [Data], or a [json.RawMessage] of an event that was read from an outbox.
	Data any

	transaction uint64 // that recorded it; 0 if none did
}

// NewEvent makes an event with a new id. Outboxes make their own events.
func NewEvent(data Data, at time.Time) Event {
	return Event{ID: newID(time.Now()), Type: data.EventType(), Timestamp: at, Data: data}
}

// newID returns the time in milliseconds, then random bits, like a UUIDv7. Ids that grow with time
// share pages of the relay's index.
func newID(now time.Time) string {
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:], uint64(now.UnixMilli())<<16)
	rand.Read(raw[6:]) // it never fails: it ends the program first
	return "evt_" + hex.EncodeToString(raw[:])
}

// document is the JSON form of an event. Only in a batch does it contain the id.
type document struct {
	ID        string `json:"id,omitempty"`
	Type      Type   `json:"type"`
	Timestamp string `json:"timestamp"`
	Data      any    `json:"data"`
}

func (e Event) encode(id string) (json.RawMessage, error) {
	// The same instant must always give the same text: another body under the same id is a conflict.
	timestamp := e.Timestamp.UTC().Format(time.RFC3339Nano)
	return json.Marshal(document{id, e.Type, timestamp, e.Data})
}
