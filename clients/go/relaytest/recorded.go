package relaytest

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	supabasesync "github.com/nomadcrew/supabase-sync"
)

// RequireRecorded fails the test unless the outbox holds exactly these events, in this order. Give it
// the outbox of the test's transaction, such as relaypgx.NewOutbox(tx), after the code under test:
// nothing has to be committed.
func RequireRecorded(t testing.TB, outbox *supabasesync.Outbox, want ...supabasesync.Data) {
	t.Helper()
	events, err := outbox.Events(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var recorded, expected []string
	for _, event := range events {
		recorded = append(recorded, describe(event.Type, event.Data))
	}
	for _, data := range want {
		expected = append(expected, describe(data.EventType(), data))
	}
	if !slices.Equal(recorded, expected) {
		t.Fatalf("recorded events:\n  %s\nwant:\n  %s",
			strings.Join(recorded, "\n  "), strings.Join(expected, "\n  "))
	}
}

// describe returns one text for events that mean the same: created and updated both set the row.
func describe(kind supabasesync.Type, data any) string {
	encoded, _ := json.Marshal(normalise(data))
	return strings.Replace(string(kind), "created", "updated", 1) + " " + string(encoded)
}
