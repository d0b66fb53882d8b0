// Package relaytest has an in-memory relay, and assertions about the events that a transaction records.
package relaytest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	supabasesync "github.com/nomadcrew/supabase-sync"
)

// Secret is the secret of every [Server].
const Secret = "whsec_cmVsYXl0ZXN0LXJlbGF5dGVzdC1yZWxheXRlc3Q="

// Server is a relay in memory. It verifies signatures, and answers as a relay with default settings.
type Server struct {
	// URL of the server.
	URL string

	lock     sync.Mutex
	signer   *supabasesync.Signer
	events   map[string]supabasesync.Event
	bodies   map[string]string // of the events, in one form
	requests []Request
	handler  func(w http.ResponseWriter, r *http.Request) bool
	settled  supabasesync.Status
}

// Request is a request that a [Server] has received.
type Request struct {
	Path   string
	Events []supabasesync.Event // with their Data as json.RawMessage
	Wait   time.Duration        // of Prefer: wait
}

// NewServer starts a relay on a loopback port. It ends with the test.
func NewServer(t testing.TB) *Server {
	t.Helper()
	signer, err := supabasesync.NewSigner(Secret)
	if err != nil {
		t.Fatal(err)
	}
	server := &Server{
		signer:  signer,
		events:  map[string]supabasesync.Event{},
		bodies:  map[string]string{},
		settled: supabasesync.Applied,
	}
	listener := httptest.NewServer(http.HandlerFunc(server.serve))
	t.Cleanup(listener.Close)
	server.URL = listener.URL
	return server
}

// Client returns a client of the server.
func (s *Server) Client(t testing.TB) *supabasesync.Client {
	t.Helper()
	client, err := supabasesync.NewClient(supabasesync.ClientConfig{URL: s.URL, Secret: Secret})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// Intercept gives each request to a handler first, which returns whether it has answered: to fail, to
// delay or to count requests. nil ends it.
func (s *Server) Intercept(handler func(w http.ResponseWriter, r *http.Request) bool) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.handler = handler
}

// Settle sets the status of waits: Applied, Superseded or Dead; Pending for a time that ran out, which
// the server answers at once.
func (s *Server) Settle(status supabasesync.Status) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.settled = status
}

// Requests returns the verified requests, in order.
func (s *Server) Requests() []Request {
	s.lock.Lock()
	defer s.lock.Unlock()
	return append([]Request(nil), s.requests...)
}

// Event returns an event that the server has accepted.
func (s *Server) Event(id string) (supabasesync.Event, bool) {
	s.lock.Lock()
	defer s.lock.Unlock()
	event, ok := s.events[id]
	return event, ok
}

// Count returns how many events the server has accepted.
func (s *Server) Count() int {
	s.lock.Lock()
	defer s.lock.Unlock()
	return len(s.events)
}

const maximumBytes = 1 << 20

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.lock.Lock()
	handler := s.handler
	s.lock.Unlock()
	if handler != nil && handler(w, r) {
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maximumBytes+1))
	switch {
	case err != nil:
		return
	case len(body) > maximumBytes:
		answerProblem(w, http.StatusRequestEntityTooLarge, "body-too-large", nil)
	case r.Header.Get("Content-Type") != "application/json":
		answerProblem(w, http.StatusUnsupportedMediaType, "media-type-unsupported", nil)
	case !s.isAuthentic(r, body):
		answerProblem(w, http.StatusUnauthorized, "unauthenticated", nil)
	case r.URL.Path == "/webhooks":
		s.receiveEvent(w, r, body)
	case r.URL.Path == "/webhooks/batch":
		s.receiveBatch(w, r, body)
	default:
		answerProblem(w, http.StatusNotFound, "path-not-found", nil)
	}
}

func (s *Server) isAuthentic(r *http.Request, body []byte) bool {
	seconds, err := strconv.ParseInt(r.Header.Get("Webhook-Timestamp"), 10, 64)
	sentAt := time.Unix(seconds, 0)
	if err != nil || time.Since(sentAt).Abs() > 300*time.Second {
		return false
	}
	return r.Header.Get("Webhook-Signature") == s.signer.Sign(r.Header.Get("Webhook-Id"), sentAt, body)
}

func (s *Server) receiveEvent(w http.ResponseWriter, r *http.Request, body []byte) {
	event, problems := readEvent(r.Header.Get("Webhook-Id"), body, "")
	wait := readWait(r.Header.Get("Prefer"))
	if len(problems) > 0 {
		answerProblem(w, http.StatusUnprocessableEntity, "input-invalid", problems)
		return
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	s.requests = append(s.requests, Request{r.URL.Path, []supabasesync.Event{event}, wait})
	status := s.store(event)
	if status == supabasesync.Conflict {
		answerProblem(w, http.StatusConflict, "event-id-conflict", nil)
		return
	}
	code := http.StatusAccepted
	if status == supabasesync.Duplicate {
		code = http.StatusOK
	}
	if wait > 0 && s.settled != supabasesync.Pending {
		code, status = http.StatusOK, s.settled
	}
	answer(w, code, map[string]any{"event_id": event.ID, "status": status})
}

func (s *Server) receiveBatch(w http.ResponseWriter, r *http.Request, body []byte) {
	var batch struct{ Events []json.RawMessage }
	if json.Unmarshal(body, &batch) != nil || len(batch.Events) == 0 || len(batch.Events) > 1000 {
		answerProblem(w, http.StatusUnprocessableEntity, "input-invalid",
			[]supabasesync.FieldError{{Pointer: "/events", Detail: "must hold 1 to 1000 events"}})
		return
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	request := Request{Path: r.URL.Path}
	results, code := make([]map[string]any, len(batch.Events)), http.StatusOK
	for i, raw := range batch.Events {
		var identified struct{ ID string }
		_ = json.Unmarshal(raw, &identified)
		event, problems := readEvent(identified.ID, raw, "/events/"+strconv.Itoa(i))
		request.Events = append(request.Events, event)
		results[i] = map[string]any{"event_id": event.ID, "status": supabasesync.Invalid, "errors": problems}
		if len(problems) == 0 {
			status := s.store(event)
			if status == supabasesync.Accepted {
				code = http.StatusAccepted
			}
			results[i] = map[string]any{"event_id": event.ID, "status": status}
		}
	}
	s.requests = append(s.requests, request)
	answer(w, code, map[string]any{"results": results})
}

// store accepts an event, unless its id is known.
func (s *Server) store(event supabasesync.Event) supabasesync.Status {
	body := canonical(event)
	if known, ok := s.bodies[event.ID]; ok {
		if known == body {
			return supabasesync.Duplicate
		}
		return supabasesync.Conflict
	}
	s.bodies[event.ID], s.events[event.ID] = body, event
	return supabasesync.Accepted
}

var waitPattern = regexp.MustCompile(`^wait=(\d{1,9})$`)

func readWait(prefer string) time.Duration {
	if match := waitPattern.FindStringSubmatch(prefer); match != nil {
		seconds, _ := strconv.Atoi(match[1])
		return time.Duration(seconds) * time.Second
	}
	return 0
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

func answerProblem(w http.ResponseWriter, status int, code string, problems []supabasesync.FieldError) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"type": "/docs/problems#" + code, "status": status, "code": code,
		"title": http.StatusText(status), "detail": http.StatusText(status), "errors": problems,
	})
}
