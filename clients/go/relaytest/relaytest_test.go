package relaytest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	supabasesync "github.com/nomadcrew/supabase-sync"
	"github.com/nomadcrew/supabase-sync/relaytest"
)

const ana = "123e4567-e89b-12d3-a456-426614174000"

var ctx = context.Background()

func deletion() supabasesync.Event {
	return supabasesync.NewEvent(supabasesync.DeletedUser{ID: ana}, time.Now())
}

func TestServer_Event_IsAcceptedThenADuplicateThenAConflict(t *testing.T) {
	relay := relaytest.NewServer(t)
	client, event := relay.Client(t), deletion()
	for _, want := range []supabasesync.Status{supabasesync.Accepted, supabasesync.Duplicate} {
		if status, err := client.Send(ctx, event); err != nil || status != want {
			t.Fatal(status, err)
		}
	}
	event.Type = supabasesync.TripDeleted
	requireRejected(t, client, event, http.StatusConflict, "")
	if stored, ok := relay.Event(event.ID); !ok || stored.Type != supabasesync.UserDeleted || relay.Count() != 1 {
		t.Fatal(stored, ok)
	}
}

func TestServer_InvalidEvent_NamesTheField(t *testing.T) {
	client := relaytest.NewServer(t).Client(t)
	for pointer, change := range map[string]func(event *supabasesync.Event){
		"/type":       func(event *supabasesync.Event) { event.Type = "user.renamed" },
		"/timestamp":  func(event *supabasesync.Event) { event.Timestamp = time.Time{} },
		"/data/id":    func(event *supabasesync.Event) { event.Data = supabasesync.DeletedUser{ID: "7"} },
		"/data/email": func(event *supabasesync.Event) { event.Type = supabasesync.UserUpdated },
	} {
		event := deletion()
		change(&event)
		requireRejected(t, client, event, http.StatusUnprocessableEntity, pointer)
	}
	late := deletion()
	late.Timestamp = time.Now().Add(6 * time.Minute)
	requireRejected(t, client, late, http.StatusUnprocessableEntity, "/timestamp")
}

func requireRejected(
	t *testing.T, client *supabasesync.Client, event supabasesync.Event, status int, pointer string,
) {
	t.Helper()
	_, err := client.Send(ctx, event)
	var rejected *supabasesync.Rejected
	if !errors.As(err, &rejected) || rejected.Status != status {
		t.Fatal(err)
	}
	if pointer != "" && rejected.Errors[0].Pointer != pointer {
		t.Errorf("%v, want %s", rejected.Errors, pointer)
	}
}

func TestServer_Batch_GivesEachEventItsResult(t *testing.T) {
	relay := relaytest.NewServer(t)
	client, known, conflict, invalid, unnamed := relay.Client(t), deletion(), deletion(), deletion(), deletion()
	for _, event := range []supabasesync.Event{known, conflict} {
		if _, err := client.Send(ctx, event); err != nil {
			t.Fatal(err)
		}
	}
	conflict.Type, invalid.Data, unnamed.ID = supabasesync.TripDeleted, supabasesync.DeletedUser{}, "with spaces"
	results, err := client.SendBatch(ctx, []supabasesync.Event{deletion(), known, conflict, invalid, unnamed})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, result := range results {
		got = append(got, string(result.Status))
	}
	if strings.Join(got, " ") != "accepted duplicate conflict invalid invalid" {
		t.Fatal(got)
	}
}

func TestServer_WrongSecret_IsUnauthenticated(t *testing.T) {
	relay := relaytest.NewServer(t)
	client, err := supabasesync.NewClient(supabasesync.ClientConfig{
		URL: relay.URL, Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
	})
	if err != nil {
		t.Fatal(err)
	}
	requireRejected(t, client, deletion(), http.StatusUnauthorized, "")
}

func TestServer_Wait_GivesTheSettledStatus(t *testing.T) {
	relay := relaytest.NewServer(t)
	client := relay.Client(t)
	if status, err := client.SendAndWait(ctx, deletion(), time.Second); err != nil || status != supabasesync.Applied {
		t.Fatal(status, err)
	}
	relay.Settle(supabasesync.Pending)
	if status, err := client.SendAndWait(ctx, deletion(), time.Second); err != nil || status != supabasesync.Accepted {
		t.Fatal(status, err)
	}
}

// failing records whether it has failed.
type failing struct {
	testing.TB
	message string
}

func (f *failing) Fatalf(format string, arguments ...any) {
	f.message = fmt.Sprintf(format, arguments...)
}
func (f *failing) Helper() {}

// rows is a database with one event.
type rows struct{ supabasesync.DB }

func (rows) Query(_ context.Context, _ string, _ []any, read func(scan supabasesync.Scan) error) error {
	return read(func(into ...any) error {
		*into[0].(*string) = "evt_1"
		*into[1].(*supabasesync.Type) = supabasesync.UserCreated
		*into[3].(*string) = `{"username": "ana", "email": "a", "id": "` + ana + `"}`
		return nil
	})
}

func TestRequireRecorded_OtherEvents_FailWithBoth(t *testing.T) {
	outbox := supabasesync.NewOutbox(rows{})
	user := supabasesync.UserData{ID: ana, Email: "a", Username: "ana"}
	relaytest.RequireRecorded(t, outbox, user)
	for _, want := range [][]supabasesync.Data{
		nil, {user, user}, {supabasesync.DeletedUser{ID: ana}}, {supabasesync.UserData{ID: ana, Email: "b", Username: "ana"}},
	} {
		watched := &failing{TB: t}
		relaytest.RequireRecorded(watched, outbox, want...)
		if !strings.Contains(watched.message, `user.updated {"email":"a"`) {
			t.Errorf("%v: %q", want, watched.message)
		}
	}
}
