package supabasesync

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
)

// wrongSuccesses do not say that event evt_mine is stored.
var wrongSuccesses = map[string]http.HandlerFunc{
	"health":        say(200, `{"status":"ok"}`),
	"another event": say(202, `{"event_id":"evt_another","status":"accepted"}`),
	"no body":       say(202, ``),
	"no content":    say(204, ``),
	"HTML":          say(200, `<html>Welcome</html>`),
	"list":          say(200, `[]`),
	"other word":    say(200, `{"event_id":"evt_mine","status":"ok"}`),
	"other status":  say(201, `{"event_id":"evt_mine","status":"accepted"}`),
	"null":          say(200, `{"event_id":null,"status":"accepted"}`),
	"batch":         say(200, `{"results":[{"event_id":"evt_mine","status":"accepted"}]}`),
	"refusal":       say(200, `{"event_id":"evt_mine","status":"conflict"}`),
	"nested deeply": say(200, strings.Repeat("[", 100_000)),
}

func TestSend_SuccessThatDoesNotNameTheEvent_IsRetriedOnANewConnection(t *testing.T) {
	event := testEvent()
	event.ID = "evt_mine"
	for name, wrong := range wrongSuccesses {
		relay, client := newFakeRelay(t, wrong, confirm(200, "duplicate"))
		status, err := client.Send(context.Background(), event)
		if err != nil || status != Duplicate {
			t.Errorf("%s: %s %v", name, status, err)
		}
		assertRetriedOnANewConnection(t, name, relay.seen)

		relay, client = newFakeRelay(t, wrong)
		_, err = client.Send(context.Background(), event)
		var unavailable *Unavailable
		if !errors.As(err, &unavailable) || len(relay.seen) != attempts {
			t.Fatalf("%s: %v after %d attempts", name, err, len(relay.seen))
		}
		if !strings.Contains(err.Error(), "answered 20") || !strings.Contains(err.Error(), "proxy") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func assertRetriedOnANewConnection(t *testing.T, name string, seen []received) {
	t.Helper()
	if len(seen) != 2 || seen[0].id != seen[1].id || seen[0].body != seen[1].body {
		t.Fatalf("%s: not sent twice alike: %v", name, seen)
	}
	if seen[0].remote == seen[1].remote {
		t.Errorf("%s: sent again on the same connection", name)
	}
}

func TestSendBatch_ResultsThatAreNotTheEvents_AreRetried(t *testing.T) {
	one, two, invalid := testEvent(), testEvent(), testEvent()
	one.ID, two.ID, invalid.ID = "evt_1", "evt_2", "evt 3"
	right := `{"results":[{"event_id":"evt_1","status":"accepted"},` +
		`{"event_id":"evt_2","status":"conflict"},` +
		`{"event_id":null,"status":"invalid","errors":[{"pointer":"/events/2/id","detail":"has spaces"}]}]}`
	for name, wrong := range map[string]string{
		"one missing":  strings.Replace(right, `{"event_id":"evt_2","status":"conflict"},`, ``, 1),
		"swapped":      strings.NewReplacer("evt_1", "evt_2", "evt_2", "evt_1").Replace(right),
		"another":      strings.Replace(right, "evt_2", "evt_9", 1),
		"null":         strings.Replace(right, `"evt_2"`, "null", 1),
		"unknown":      strings.Replace(right, "accepted", "ok", 1),
		"invalid kept": strings.Replace(right, `"invalid"`, `"accepted"`, 1),
		"none":         `{"status":"ok"}`,
		"single":       `{"event_id":"evt_1","status":"accepted"}`,
		"HTML":         `<html>`,
		"empty":        ``,
	} {
		relay, client := newFakeRelay(t, say(202, wrong), say(202, right))
		results, err := client.SendBatch(context.Background(), []Event{one, two, invalid})
		if err != nil || len(results) != 3 || results[1].Status != Conflict {
			t.Fatalf("%s: %v %v", name, results, err)
		}
		if reason := results[2].reason(); reason != "invalid: /id has spaces" {
			t.Errorf("%s: %s", name, reason)
		}
		assertRetriedOnANewConnection(t, name, relay.seen)
	}
}
