package supabasesync_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	supabasesync "github.com/nomadcrew/supabase-sync"
)

// These tests need a running relay: RELAY_URL and RELAY_WEBHOOK_SECRET.

const ana = "123e4567-e89b-12d3-a456-426614174000"

func liveClient(t *testing.T, secret string) *supabasesync.Client {
	if os.Getenv("RELAY_URL") == "" {
		t.Skip("RELAY_URL is not set")
	}
	client, err := supabasesync.NewClient(supabasesync.ClientConfig{URL: os.Getenv("RELAY_URL"), Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func liveSecret() string { return os.Getenv("RELAY_WEBHOOK_SECRET") }

func user(name string) supabasesync.Event {
	return supabasesync.NewEvent(
		supabasesync.UserData{ID: ana, Email: "ana@example.com", Username: name}, time.Now())
}

func TestLiveSend_SameEventTwice_IsADuplicate(t *testing.T) {
	client, event := liveClient(t, liveSecret()), user("ana <&> ü")
	for _, want := range []supabasesync.Status{supabasesync.Accepted, supabasesync.Duplicate} {
		if status, err := client.Send(context.Background(), event); err != nil || status != want {
			t.Fatal(status, err)
		}
	}
}

func TestLiveSend_Refused_SaysWhy(t *testing.T) {
	client := liveClient(t, liveSecret())
	first, late, unset := user("ana"), user("ana"), user("ana")
	if _, err := client.Send(context.Background(), first); err != nil {
		t.Fatal(err)
	}
	first.Data = user("bo").Data
	late.Timestamp = time.Now().Add(6 * time.Minute)
	unset.Timestamp = time.Time{}
	for _, each := range []struct {
		event   supabasesync.Event
		status  int
		pointer string
	}{{first, 409, ""}, {late, 422, "/timestamp"}, {unset, 422, "/timestamp"}} {
		_, err := client.Send(context.Background(), each.event)
		var rejected *supabasesync.Rejected
		if !errors.As(err, &rejected) || rejected.Status != each.status {
			t.Fatal(err)
		}
		if each.pointer != "" && rejected.Errors[0].Pointer != each.pointer {
			t.Error(err)
		}
	}
}

func TestLiveSend_WrongSecret_IsRejected(t *testing.T) {
	client := liveClient(t, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	var rejected *supabasesync.Rejected
	if _, err := client.Send(context.Background(), user("ana")); !errors.As(err, &rejected) || rejected.Status != 401 {
		t.Fatal(err)
	}
}

func TestLiveSendBatch_OneOfEachKind_GivesEachItsResult(t *testing.T) {
	client := liveClient(t, liveSecret())
	known, conflict, invalid, unnamed := user("ana"), user("ana"), user("ana"), user("ana")
	unnamed.ID = "evt with spaces"
	for _, event := range []supabasesync.Event{known, conflict} {
		if _, err := client.Send(context.Background(), event); err != nil {
			t.Fatal(err)
		}
	}
	conflict.Type = supabasesync.UserCreated
	invalid.Data = supabasesync.DeletedUser{ID: "no UUID"}
	events := []supabasesync.Event{user("ana"), known, conflict, invalid, unnamed}
	results, err := client.SendBatch(context.Background(), events)
	if err != nil {
		t.Fatal(err)
	}
	var statuses []string
	for _, result := range results {
		statuses = append(statuses, string(result.Status))
	}
	if got := strings.Join(statuses, " "); got != "accepted duplicate conflict invalid invalid" {
		t.Fatal(got)
	}
	if results[3].Errors[0].Pointer == "" {
		t.Fatal(results[3])
	}
}
