package supabasesync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

const testSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// received is a request that a fake relay has seen.
type received struct {
	remote, id, body string
	header           http.Header
}

// fakeRelay answers each request with the next handler; the last one repeatedly.
type fakeRelay struct {
	lock    sync.Mutex
	answers []http.HandlerFunc
	seen    []received
	waits   []time.Duration // that the client made between its attempts
}

func newFakeRelay(t *testing.T, answers ...http.HandlerFunc) (*fakeRelay, *Client) {
	t.Helper()
	relay := &fakeRelay{answers: answers}
	server := httptest.NewServer(relay)
	t.Cleanup(server.Close)
	client := newTestClient(t, ClientConfig{URL: server.URL})
	client.sleep = func(ctx context.Context, wait time.Duration) bool {
		relay.waits = append(relay.waits, wait)
		return ctx.Err() == nil
	}
	return relay, client
}

func newTestClient(t *testing.T, config ClientConfig) *Client {
	t.Helper()
	if config.Secret == "" {
		config.Secret = testSecret
	}
	config.Logger = slog.New(slog.DiscardHandler)
	client, err := NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (f *fakeRelay) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.lock.Lock()
	answer := f.answers[min(len(f.seen), len(f.answers)-1)]
	f.seen = append(f.seen, received{r.RemoteAddr, r.Header.Get("webhook-id"), string(body), r.Header.Clone()})
	f.lock.Unlock()
	answer(w, r)
}

func say(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func confirm(status int, word string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"event_id": %q, "status": %q}`, r.Header.Get("webhook-id"), word)
	}
}

func breakConnection(w http.ResponseWriter, _ *http.Request) {
	connection, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		connection.Close()
	}
}

func testEvent() Event { return NewEvent(DeletedUser{ID: anaID}, time.Now()) }

func TestNewClient_UnusableURL_IsRefused(t *testing.T) {
	for _, url := range []string{"", "relay.example.com", "ftp://relay", "https://", "http://me:pw@relay", "https://relay?x=1"} {
		_, err := NewClient(ClientConfig{URL: url, Secret: testSecret})
		if err == nil || strings.Contains(err.Error(), "pw") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestSend_OutageThatEnds_IsRetriedWithTheSameIDAndBody(t *testing.T) {
	relay, client := newFakeRelay(t, breakConnection, say(502, ""), confirm(202, "accepted"))
	event := testEvent()
	status, err := client.Send(context.Background(), event)
	if err != nil || status != Accepted || len(relay.seen) != 3 {
		t.Fatal(status, err, len(relay.seen))
	}
	for _, each := range relay.seen {
		if each.id != event.ID || each.body != relay.seen[0].body {
			t.Error(each)
		}
	}
	for i, wait := range relay.waits {
		if limit := firstBackoff << i; wait >= limit {
			t.Errorf("wait %d is %s, want less than %s", i, wait, limit)
		}
	}
}

func TestSend_Success_GivesItsStatus(t *testing.T) {
	for _, want := range []Status{Accepted, Duplicate, Applied, Superseded, Dead} {
		relay, client := newFakeRelay(t, confirm(200, string(want)))
		if got, err := client.Send(context.Background(), testEvent()); err != nil || got != want {
			t.Error(got, err)
		}
		if relay.seen[0].header.Get("Prefer") != "" {
			t.Error("it asked the relay to wait")
		}
	}
}

func TestSendAndWait_Time_IsPreferredInWholeSeconds(t *testing.T) {
	for wait, want := range map[time.Duration]string{
		0:                       "wait=1",
		1500 * time.Millisecond: "wait=2",
		2 * time.Second:         "wait=2",
		time.Hour:               "wait=30",
	} {
		relay, client := newFakeRelay(t, confirm(200, "applied"))
		if status, err := client.SendAndWait(context.Background(), testEvent(), wait); err != nil || status != Applied {
			t.Error(status, err)
		}
		if got := relay.seen[0].header.Get("Prefer"); got != want {
			t.Errorf("%s: %q, want %q", wait, got, want)
		}
	}
}

func TestSendBatch_MoreThanTheRelayAccepts_IsNotSent(t *testing.T) {
	relay, client := newFakeRelay(t, say(500, ""))
	large := make([]Event, 1001)
	for i := range large {
		large[i] = testEvent()
	}
	if _, err := client.SendBatch(context.Background(), large); err == nil || len(relay.seen) != 0 {
		t.Fatal(err)
	}
	if results, err := client.SendBatch(context.Background(), nil); err != nil || results != nil || len(relay.seen) != 0 {
		t.Fatal(results, err)
	}
}

func TestSend_OtherStatus_IsRejectedAtOnce(t *testing.T) {
	for _, status := range []int{302, 400, 401, 403, 404, 409, 413, 415, 422} {
		relay, client := newFakeRelay(t, say(status,
			`{"code":"some-code","errors":[{"pointer":"/data/id","detail":"is no UUID"}]}`, "Location", "/elsewhere"))
		_, err := client.Send(context.Background(), testEvent())
		var rejected *Rejected
		if !errors.As(err, &rejected) || rejected.Status != status || rejected.Code != "some-code" {
			t.Fatalf("%d: %v", status, err)
		}
		if !strings.Contains(err.Error(), "/data/id is no UUID") || len(relay.seen) != 1 {
			t.Errorf("%d: %v after %d requests", status, err, len(relay.seen))
		}
	}
}

func TestSend_LastingOutage_GivesUpAfterAllAttempts(t *testing.T) {
	relay, client := newFakeRelay(t, say(500, ""))
	_, err := client.Send(context.Background(), testEvent())
	var unavailable *Unavailable
	if !errors.As(err, &unavailable) || len(relay.seen) != attempts || len(relay.waits) != attempts-1 {
		t.Fatal(err, len(relay.seen), relay.waits)
	}
}

func TestSend_RetryAfter_IsObeyedUpToALimit(t *testing.T) {
	relay, client := newFakeRelay(t, say(429, "", "Retry-After", "3"), confirm(202, "accepted"))
	if _, err := client.Send(context.Background(), testEvent()); err != nil || relay.waits[0] != 3*time.Second {
		t.Fatal(err, relay.waits)
	}
	relay, client = newFakeRelay(t, say(503, "", "Retry-After", "3600"))
	_, err := client.Send(context.Background(), testEvent())
	var unavailable *Unavailable
	if !errors.As(err, &unavailable) || unavailable.RetryAfter != time.Hour || len(relay.seen) != 1 {
		t.Fatal(err, len(relay.seen))
	}
}

func TestSend_ContextThatEnds_StopsTheRequestAndTheRetries(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	relay, client := newFakeRelay(t, func(w http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	if _, err := client.Send(ctx, testEvent()); !errors.Is(err, context.Canceled) || len(relay.seen) != 1 {
		t.Fatal(err, len(relay.seen))
	}
	ctx, cancel = context.WithDeadline(context.Background(), time.Now().Add(time.Minute))
	defer cancel()
	if sleep(ctx, time.Hour) {
		t.Fatal("it waits although the deadline is earlier")
	}
}

func TestSend_CertificateOfAnUnknownIssuer_IsNotTrusted(t *testing.T) {
	relay := &fakeRelay{answers: []http.HandlerFunc{confirm(202, "accepted")}}
	server := httptest.NewTLSServer(relay)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	t.Cleanup(server.Close)
	client := newTestClient(t, ClientConfig{URL: server.URL})
	client.sleep = func(context.Context, time.Duration) bool { return false }
	if _, err := client.Send(context.Background(), testEvent()); err == nil || len(relay.seen) != 0 {
		t.Fatal(err, len(relay.seen))
	}
	client = newTestClient(t, ClientConfig{URL: server.URL, Transport: server.Client().Transport})
	if _, err := client.Send(context.Background(), testEvent()); err != nil {
		t.Fatal(err)
	}
}

func TestSend_EndlessAnswer_IsCut(t *testing.T) {
	_, client := newFakeRelay(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnprocessableEntity)
		chunk := []byte(strings.Repeat(" ", 1<<16))
		for r.Context().Err() == nil {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	_, err := client.Send(context.Background(), testEvent())
	var rejected *Rejected
	if !errors.As(err, &rejected) || rejected.Status != http.StatusUnprocessableEntity {
		t.Fatal(err)
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
