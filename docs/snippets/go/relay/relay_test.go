package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

const testSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func TestSign_PublishedVector_GivesItsSignature(t *testing.T) {
	path := os.Getenv("STANDARD_WEBHOOKS_VECTORS")
	if path == "" {
		path = "../../../../tests/golden/standard-webhooks.json"
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Defaults struct {
			ID   string
			Body string
			Now  int64
		}
		Vectors []struct {
			Name          string
			Signature     string
			SigningSecret string `json:"signing_secret"`
		}
	}
	if err := json.Unmarshal(content, &file); err != nil {
		t.Fatal(err)
	}
	for _, vector := range file.Vectors {
		if vector.Name != "v1 published" {
			continue
		}
		key, err := ReadSecret(vector.SigningSecret)
		if err != nil {
			t.Fatal(err)
		}
		signature := Sign(key, file.Defaults.ID, time.Unix(file.Defaults.Now, 0), []byte(file.Defaults.Body))
		if signature != vector.Signature {
			t.Fatalf("%s, want %s", signature, vector.Signature)
		}
		return
	}
	t.Fatal("the published vector is not in the file")
}

func TestReadSecret_Unusable_IsRefused(t *testing.T) {
	for _, secret := range []string{"", "whsec_", "whpk_AAAA", "whsec_c2hvcnQ=", "whsec_!!!"} {
		if _, err := ReadSecret(secret); err == nil {
			t.Errorf("%q was taken", secret)
		}
	}
}

// answers serves one response after the other and records the requests.
func answers(t *testing.T, statuses ...int) (*Client, *[]http.Header) {
	var seen []http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := statuses[len(statuses)-1]
		if len(seen) < len(statuses) {
			status = statuses[len(seen)]
		}
		seen = append(seen, r.Header.Clone())
		switch status {
		case 0: // the connection breaks
			connection, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			connection.Close()
			return
		case http.StatusTooManyRequests:
			w.Header().Set("Retry-After", "1")
		case http.StatusServiceUnavailable:
			w.Header().Set("Retry-After", "3600")
		case http.StatusFound:
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
		if status == http.StatusOK || status == http.StatusAccepted {
			fmt.Fprintf(w, `{"event_id": %q, "status": "accepted"}`, r.Header.Get("webhook-id"))
		} else {
			_, _ = w.Write([]byte(`{"code": "some-code"}`))
		}
	}))
	t.Cleanup(server.Close)
	client, err := NewClient(server.URL, testSecret)
	if err != nil {
		t.Fatal(err)
	}
	return client, &seen
}

func testEvent() Event {
	return Event{ID: NewID(), Type: UserDeleted, Timestamp: time.Now(), Data: Removed{ID: "1"}}
}

func TestSend_OutageThatEnds_IsRetriedWithTheSameID(t *testing.T) {
	client, seen := answers(t, 0, http.StatusBadGateway, http.StatusAccepted)
	event := testEvent()
	if err := client.Send(context.Background(), event); err != nil {
		t.Fatal(err)
	}
	if len(*seen) != 3 {
		t.Fatalf("%d requests", len(*seen))
	}
	for _, header := range *seen {
		if header.Get("webhook-id") != event.ID {
			t.Errorf("webhook-id %s, want %s", header.Get("webhook-id"), event.ID)
		}
	}
}

func TestSend_Duplicate_IsSuccess(t *testing.T) {
	client, seen := answers(t, http.StatusOK)
	if err := client.Send(context.Background(), testEvent()); err != nil || len(*seen) != 1 {
		t.Fatal(err, len(*seen))
	}
}

// attempt is a received request.
type attempt struct{ remote, id, body string }

// confused serves wrong responses, then the correct one if it is not nil.
func confused(t *testing.T, status int, wrong string, right func(id, body string) string) (*Client, *[]attempt) {
	var seen []attempt
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		id := r.Header.Get("webhook-id")
		seen = append(seen, attempt{r.RemoteAddr, id, string(body)})
		if len(seen) > 1 && right != nil {
			w.WriteHeader(http.StatusAccepted)
			fmt.Fprint(w, right(id, string(body)))
			return
		}
		w.WriteHeader(status)
		fmt.Fprint(w, wrong)
	}))
	t.Cleanup(server.Close)
	client, err := NewClient(server.URL, testSecret)
	if err != nil {
		t.Fatal(err)
	}
	return client, &seen
}

func assertSentAgainOnANewConnection(t *testing.T, seen []attempt) {
	t.Helper()
	if len(seen) != 2 || seen[0].id != seen[1].id || seen[0].body != seen[1].body {
		t.Fatalf("not sent twice alike: %v", seen)
	}
	if seen[0].remote == seen[1].remote {
		t.Error("sent again on the same connection")
	}
}

func TestSend_SuccessThatDoesNotNameTheEvent_IsNoDelivery(t *testing.T) {
	for _, wrong := range []struct {
		status int
		body   string
	}{
		{200, `{"status":"ok"}`},
		{202, `{"event_id":"evt_another","status":"accepted"}`},
		{202, ``},
		{204, ``},
		{200, `<html>Welcome</html>`},
		{200, `[]`},
		{200, `{"event_id":"evt_mine","status":"ok"}`},
		{201, `{"event_id":"evt_mine","status":"accepted"}`},
		{200, `{"event_id":null,"status":"accepted"}`},
		{200, `{"results":[{"event_id":"evt_mine","status":"accepted"}]}`},
	} {
		event := testEvent()
		event.ID = "evt_mine"
		client, seen := confused(t, wrong.status, wrong.body, func(id, _ string) string {
			return fmt.Sprintf(`{"event_id": %q, "status": "duplicate"}`, id)
		})
		if err := client.Send(context.Background(), event); err != nil {
			t.Errorf("%v: %v", wrong, err)
		}
		assertSentAgainOnANewConnection(t, *seen)

		client, seen = confused(t, wrong.status, wrong.body, nil)
		err := client.Send(context.Background(), event)
		var unavailable *Unavailable
		if !errors.As(err, &unavailable) || len(*seen) != attempts {
			t.Fatalf("%v: %v after %d attempts", wrong, err, len(*seen))
		}
		said := fmt.Sprintf("answered %d", wrong.status)
		if !strings.Contains(err.Error(), said) || !strings.Contains(err.Error(), "proxy") {
			t.Errorf("%v: %v", wrong, err)
		}
	}
}

func TestSendBatch_ResultsThatAreNotTheEvents_AreNoDelivery(t *testing.T) {
	one, two, invalid := testEvent(), testEvent(), testEvent()
	one.ID, two.ID, invalid.ID = "evt_1", "evt_2", "evt 3"
	right := `{"results":[{"event_id":"evt_1","status":"accepted"},` +
		`{"event_id":"evt_2","status":"conflict"},{"event_id":null,"status":"invalid"}]}`
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
		client, seen := confused(t, http.StatusAccepted, wrong, func(string, string) string { return right })
		results, err := client.SendBatch(context.Background(), []Event{one, two, invalid})
		if err != nil || len(results) != 3 || results[1].Status != "conflict" {
			t.Fatalf("%s: %v %v", name, results, err)
		}
		if len(*seen) != 2 || (*seen)[0].remote == (*seen)[1].remote {
			t.Errorf("%s: not sent again on a new connection: %v", name, *seen)
		}
	}
}

func TestSend_OtherStatus_IsRejectedAtOnce(t *testing.T) {
	for _, status := range []int{302, 400, 401, 403, 404, 409, 413, 415, 422} {
		client, seen := answers(t, status)
		err := client.Send(context.Background(), testEvent())
		var rejected *Rejected
		if !errors.As(err, &rejected) || rejected.Status != status || rejected.Code != "some-code" {
			t.Errorf("%d: %v", status, err)
		}
		if len(*seen) != 1 {
			t.Errorf("%d was sent %d times", status, len(*seen))
		}
	}
}

func TestSend_LastingOutage_GivesUpAfterAllAttempts(t *testing.T) {
	client, seen := answers(t, http.StatusInternalServerError)
	err := client.Send(context.Background(), testEvent())
	var unavailable *Unavailable
	if !errors.As(err, &unavailable) || len(*seen) != attempts {
		t.Fatal(err, len(*seen))
	}
}

func TestSend_RetryAfter_IsObeyed(t *testing.T) {
	client, seen := answers(t, http.StatusTooManyRequests, http.StatusAccepted)
	started := time.Now()
	err := client.Send(context.Background(), testEvent())
	if err != nil || len(*seen) != 2 || time.Since(started) < time.Second {
		t.Fatal(err, len(*seen), time.Since(started))
	}
}

func TestSend_RetryAfterTooLong_IsHandedOn(t *testing.T) {
	client, seen := answers(t, http.StatusServiceUnavailable)
	err := client.Send(context.Background(), testEvent())
	var unavailable *Unavailable
	if !errors.As(err, &unavailable) || unavailable.RetryAfter != time.Hour || len(*seen) != 1 {
		t.Fatal(err, len(*seen))
	}
}

func TestSend_ContextThatEnds_StopsTheRetries(t *testing.T) {
	client, _ := answers(t, http.StatusTooManyRequests)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	started := time.Now()
	err := client.Send(ctx, testEvent())
	if err == nil || time.Since(started) > 900*time.Millisecond {
		t.Fatal(err, time.Since(started))
	}
}

func TestReadRetryAfter_EitherForm_IsRead(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                              0,
		"7":                             7 * time.Second,
		"-7":                            0,
		"soon":                          0,
		"Fri, 02 Jan 2026 03:04:15 GMT": 10 * time.Second,
		"Fri, 02 Jan 2026 03:04:00 GMT": 0,
	} {
		if got := readRetryAfter(value, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

// The tests below need a running relay: RELAY_URL and RELAY_WEBHOOK_SECRET.

func liveClient(t *testing.T) *Client {
	if os.Getenv("RELAY_URL") == "" {
		t.Skip("RELAY_URL is not set")
	}
	client, err := NewClient(os.Getenv("RELAY_URL"), os.Getenv("RELAY_WEBHOOK_SECRET"))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func liveEvent(username string) Event {
	return Event{
		ID: NewID(), Type: UserCreated, Timestamp: time.Now(),
		Data: User{ID: "123e4567-e89b-12d3-a456-426614174000", Email: "a@example.com", Username: username},
	}
}

func TestLiveSend_SameEventTwice_IsTakenTwice(t *testing.T) {
	client, event := liveClient(t), liveEvent("ana <&> ü")
	for i := 0; i < 2; i++ {
		if err := client.Send(context.Background(), event); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLiveSend_SameIDOtherBody_IsAConflict(t *testing.T) {
	client, event := liveClient(t), liveEvent("ana")
	if err := client.Send(context.Background(), event); err != nil {
		t.Fatal(err)
	}
	event.Data = liveEvent("bo").Data
	var rejected *Rejected
	if err := client.Send(context.Background(), event); !errors.As(err, &rejected) || rejected.Status != 409 {
		t.Fatal(err)
	}
}

func TestLiveSend_FutureTimestamp_NamesTheField(t *testing.T) {
	client, event := liveClient(t), liveEvent("ana")
	event.Timestamp = time.Now().Add(6 * time.Minute)
	var rejected *Rejected
	err := client.Send(context.Background(), event)
	if !errors.As(err, &rejected) || rejected.Status != 422 || rejected.Errors[0].Pointer != "/timestamp" {
		t.Fatal(err)
	}
}

func TestLiveSend_ZeroTimestamp_NamesTheField(t *testing.T) {
	client, event := liveClient(t), liveEvent("ana")
	event.Timestamp = time.Time{}
	var rejected *Rejected
	err := client.Send(context.Background(), event)
	if !errors.As(err, &rejected) || rejected.Status != 422 || rejected.Errors[0].Pointer != "/timestamp" {
		t.Fatal(err)
	}
}

func TestLiveSend_WrongSecret_IsRejected(t *testing.T) {
	liveClient(t)
	client, err := NewClient(os.Getenv("RELAY_URL"), testSecret)
	if err != nil {
		t.Fatal(err)
	}
	var rejected *Rejected
	err = client.Send(context.Background(), liveEvent("ana"))
	if !errors.As(err, &rejected) || rejected.Status != 401 {
		t.Fatal(err)
	}
}

func TestLiveSendBatch_OneOfEachKind_GivesEachItsResult(t *testing.T) {
	client := liveClient(t)
	known, conflict, invalid := liveEvent("ana"), liveEvent("ana"), liveEvent("ana")
	unnamed := liveEvent("ana")
	unnamed.ID = "evt with spaces"
	for _, event := range []Event{known, conflict} {
		if err := client.Send(context.Background(), event); err != nil {
			t.Fatal(err)
		}
	}
	conflict.Type = UserUpdated
	invalid.Data = Removed{ID: "no UUID"}
	events := []Event{liveEvent("ana"), known, conflict, invalid, unnamed}
	results, err := client.SendBatch(context.Background(), events)
	if err != nil {
		t.Fatal(err)
	}
	var statuses []string
	for _, result := range results {
		statuses = append(statuses, result.Status)
	}
	if got := strings.Join(statuses, " "); got != "accepted duplicate conflict invalid invalid" {
		t.Fatal(got)
	}
}
