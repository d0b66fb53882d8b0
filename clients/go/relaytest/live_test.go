package relaytest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	supabasesync "github.com/nomadcrew/supabase-sync"
	"github.com/nomadcrew/supabase-sync/relaytest"
)

const trip = "456e7890-e89b-12d3-a456-426614174001"

// The in-memory relay answers as the real one, which RELAY_URL and RELAY_WEBHOOK_SECRET name.
func TestLiveServer_SameRequests_GetTheSameAnswers(t *testing.T) {
	if os.Getenv("RELAY_URL") == "" {
		t.Skip("RELAY_URL is not set")
	}
	real, err := supabasesync.NewClient(supabasesync.ClientConfig{
		URL: os.Getenv("RELAY_URL"), Secret: os.Getenv("RELAY_WEBHOOK_SECRET"),
	})
	if err != nil {
		t.Fatal(err)
	}
	fake := relaytest.NewServer(t).Client(t)
	cases := events()
	for _, each := range cases {
		if got, want := answerTo(fake, each), answerTo(real, each); got != want {
			t.Errorf("%s %s %s: %s, want %s", each.ID, each.Type, each.Data, got, want)
		}
	}
	conflict := cases[0]
	conflict.Timestamp = conflict.Timestamp.Add(-time.Second)
	batch := append(events(), cases[0], conflict)
	got, want := answersTo(t, fake, batch), answersTo(t, real, batch)
	for i, event := range batch {
		if got[i] != want[i] {
			t.Errorf("in a batch, %s %s %s: %s, want %s", event.ID, event.Type, event.Data, got[i], want[i])
		}
	}
}

// events returns new events with every kind of data, and of mistake.
func events() []supabasesync.Event {
	now := time.Now()
	make := func(kind supabasesync.Type, data string) supabasesync.Event {
		event := supabasesync.NewEvent(supabasesync.DeletedUser{}, now)
		event.Type, event.Data = kind, json.RawMessage(data)
		return event
	}
	late, unset, unnamed := make("trip.deleted", `{"id": "`+trip+`"}`), make("trip.deleted", `{"id": "`+trip+`"}`),
		make("trip.deleted", `{"id": "`+trip+`"}`)
	late.Timestamp, unset.Timestamp, unnamed.ID = now.Add(6*time.Minute), time.Time{}, "with spaces"
	return []supabasesync.Event{
		make("user.created", `{"id": "`+ana+`", "email": "a", "username": "ana", "bio": [1, {"x": null}]}`),
		make("user.updated", `{"id": "`+strings.ToUpper(ana)+`", "email": "a", "username": "ana"}`),
		make("user.updated", `{"id": "`+ana+`", "email": "", "username": 7}`),
		make("user.updated", `{"id": "7", "email": null}`),
		make("user.deleted", `{}`),
		make("user.deleted", `null`),
		make("user.deleted", `[]`),
		make("user.renamed", `{"id": "`+ana+`"}`),
		make("trip.updated", `{"id": "`+trip+`", "name": "Lisbon", "created_by": "`+ana+`"}`),
		make("trip.updated", `{"id": "`+trip+`", "name": "Lisbon", "created_by": "ana"}`),
		make("trip.updated", `{"id": "`+trip+`", "name": ""}`),
		make("membership.created", `{"trip_id": "`+trip+`", "user_id": "`+ana+`", "role": "MEMBER", "status": "ACTIVE"}`),
		make("membership.updated", `{"trip_id": "`+trip+`", "user_id": "`+ana+`", "role": "KING", "status": "GONE"}`),
		make("membership.deleted", `{"trip_id": "`+trip+`"}`),
		late, unset, unnamed,
	}
}

func answerTo(client *supabasesync.Client, event supabasesync.Event) string {
	status, err := client.Send(ctx, event)
	var rejected *supabasesync.Rejected
	if errors.As(err, &rejected) {
		return fmt.Sprint(rejected.Status, " ", rejected.Code, " ", pointers(rejected.Errors))
	}
	return fmt.Sprint(status, err)
}

func answersTo(t *testing.T, client *supabasesync.Client, events []supabasesync.Event) []string {
	t.Helper()
	results, err := client.SendBatch(ctx, events)
	if err != nil {
		t.Fatal(err)
	}
	var answers []string
	for _, result := range results {
		answers = append(answers, fmt.Sprint(result.EventID, " ", result.Status, " ", pointers(result.Errors)))
	}
	return answers
}

func pointers(problems []supabasesync.FieldError) string {
	var pointers []string
	for _, problem := range problems {
		pointers = append(pointers, problem.Pointer)
	}
	slices.Sort(pointers)
	return strings.Join(pointers, " ")
}
