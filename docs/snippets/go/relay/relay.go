// Package relay sends signed change events to the Supabase relay.
//
// Standard library only. Copy the folder into the backend; docs/guides/integrate.md explains it.
package relay

import (
	"bytes"
	"context"
	"crypto/hmac"
	crand "crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Type is the kind of change.
type Type string

// The nine types of the relay.
const (
	UserCreated       Type = "user.created"
	UserUpdated       Type = "user.updated"
	UserDeleted       Type = "user.deleted"
	TripCreated       Type = "trip.created"
	TripUpdated       Type = "trip.updated"
	TripDeleted       Type = "trip.deleted"
	MembershipCreated Type = "membership.created"
	MembershipUpdated Type = "membership.updated"
	MembershipDeleted Type = "membership.deleted"
)

// User is the data of user.created and user.updated: the whole row, never a patch.
type User struct {
	ID       string `json:"id"`
	Email    string `json:"email"`
	Username string `json:"username"`
}

// Trip is the data of trip.created and trip.updated.
type Trip struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	CreatedBy string `json:"created_by"`
}

// Membership is the data of membership.created and membership.updated.
type Membership struct {
	TripID string `json:"trip_id"`
	UserID string `json:"user_id"`
	Role   string `json:"role"`
	Status string `json:"status"`
}

// Removed is the data of user.deleted and trip.deleted.
type Removed struct {
	ID string `json:"id"`
}

// RemovedMembership is the data of membership.deleted.
type RemovedMembership struct {
	TripID string `json:"trip_id"`
	UserID string `json:"user_id"`
}

// Event is one change.
type Event struct {
	ID        string    // The webhook-id: made once with NewID, the same on every retry.
	Type      Type      // The kind of change.
	Timestamp time.Time // The time of the change, by the database's clock, read while the row was locked.
	Data      any       // One of the structs above.
}

// NewID returns a new webhook-id: the time in milliseconds, then random bits, like a UUIDv7.
// Ids that grow with time share pages of the relay's index.
func NewID() string {
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:], uint64(time.Now().UnixMilli())<<16)
	if _, err := crand.Read(raw[6:]); err != nil {
		panic(err) // the operating system has no randomness
	}
	return "evt_" + hex.EncodeToString(raw[:])
}

// ReadSecret decodes a whsec_ secret.
func ReadSecret(secret string) ([]byte, error) {
	encoded := strings.TrimSpace(secret)
	if !strings.HasPrefix(encoded, "whsec_") {
		return nil, errors.New("relay: the secret does not begin with whsec_")
	}
	encoded = strings.TrimRight(strings.TrimPrefix(encoded, "whsec_"), "=")
	key, err := base64.RawStdEncoding.DecodeString(encoded)
	if err != nil || len(key) < 24 {
		return nil, errors.New("relay: the secret is not 24 bytes or more in base64")
	}
	return key, nil
}

// Sign returns the webhook-signature header (Standard Webhooks 1.0.0, v1).
func Sign(key []byte, id string, sentAt time.Time, body []byte) string {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%d.", id, sentAt.Unix())
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

const (
	attempts      = 4
	firstBackoff  = 200 * time.Millisecond
	longestWait   = 5 * time.Second // give up if Retry-After is longer; the outbox keeps the event
	responseBytes = 4 << 20
)

// Rejected means that the relay refused the request. Sending it again does not help.
type Rejected struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Errors []struct {
		Pointer string `json:"pointer"`
		Detail  string `json:"detail"`
	} `json:"errors"`
}

func (r *Rejected) Error() string {
	return fmt.Sprintf("relay: %d %s: %s %v", r.Status, r.Code, r.Detail, r.Errors)
}

// Unavailable means no response, 408, 429, 5xx, or a success that does not name the event. The event
// may be stored or not: send it again later.
type Unavailable struct {
	RetryAfter time.Duration // 0 if the relay did not say
	Cause      error
}

func (u *Unavailable) Error() string { return "relay: unavailable: " + u.Cause.Error() }
func (u *Unavailable) Unwrap() error { return u.Cause }

// Client posts to one relay. It is safe for concurrent use; create one and keep it.
type Client struct {
	url  string
	key  []byte
	http *http.Client
}

// NewClient creates a client. url is the relay's, such as https://relay.example.com.
func NewClient(url, secret string) (*Client, error) {
	key, err := ReadSecret(secret)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = (&net.Dialer{Timeout: 2 * time.Second}).DialContext
	transport.TLSHandshakeTimeout = 3 * time.Second
	transport.ResponseHeaderTimeout = 5 * time.Second
	transport.MaxIdleConnsPerHost = 16
	transport.IdleConnTimeout = 60 * time.Second // the relay closes after 75
	return &Client{
		url: strings.TrimRight(url, "/"),
		key: key,
		http: &http.Client{
			Transport: transport,
			Timeout:   10 * time.Second, // one attempt, body included
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse // never send a signed body elsewhere
			},
		},
	}, nil
}

// Send posts one event. nil means that the relay confirmed that this event is on its disk.
func (c *Client) Send(ctx context.Context, event Event) error {
	body, err := json.Marshal(event.document(""))
	if err != nil {
		return err
	}
	return c.post(ctx, "/webhooks", event.ID, body, func(answer []byte) error {
		var read Result
		if json.Unmarshal(answer, &read) != nil || read.EventID != event.ID || !isOneOf(read.Status,
			"accepted", "duplicate", "applied", "superseded", "dead") {
			return fmt.Errorf("it does not name event %s", event.ID)
		}
		return nil
	})
}

// post retries until the relay responds, the attempts are used up or ctx ends. A success counts only
// if confirm accepts its body: a proxy can return its own response, or that to another request.
func (c *Client) post(
	ctx context.Context, path, id string, body []byte, confirm func(answer []byte) error,
) error {
	backoff := firstBackoff
	for attempt := 1; ; attempt++ {
		err := c.postOnce(ctx, path, id, body, confirm)
		var unavailable *Unavailable
		if err == nil || !errors.As(err, &unavailable) {
			return err
		}
		wait := time.Duration(random() * float64(backoff)) // full jitter
		if wait < unavailable.RetryAfter {
			wait = unavailable.RetryAfter
		}
		if attempt == attempts || wait > longestWait || !sleep(ctx, wait) {
			return err
		}
		backoff *= 2
	}
}

func (c *Client) postOnce(
	ctx context.Context, path, id string, body []byte, confirm func(answer []byte) error,
) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	now := time.Now() // the time of sending: signed anew for every attempt
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("webhook-id", id)
	request.Header.Set("webhook-timestamp", strconv.FormatInt(now.Unix(), 10))
	request.Header.Set("webhook-signature", Sign(c.key, id, now, body))
	response, err := c.http.Do(request)
	if err != nil {
		return &Unavailable{Cause: err}
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, responseBytes))
	status := response.StatusCode
	switch {
	case status >= 200 && status < 300:
		if err == nil && status != http.StatusOK && status != http.StatusAccepted {
			err = errors.New("the relay never answers so")
		}
		if err == nil {
			err = confirm(answer)
		}
		if err != nil {
			// This connection may be one response behind: the next attempt uses a new one.
			c.http.CloseIdleConnections()
			return &Unavailable{Cause: fmt.Errorf("%s answered %s with %.200q, not confirmed: %w;"+
				" check the URL and every proxy before the relay", request.URL, response.Status, answer, err)}
		}
		return nil
	case status == http.StatusRequestTimeout || status == http.StatusTooManyRequests || status >= 500:
		return &Unavailable{
			RetryAfter: readRetryAfter(response.Header.Get("Retry-After"), now),
			Cause:      errors.New(response.Status),
		}
	default:
		rejected := &Rejected{}
		if json.Unmarshal(answer, rejected) != nil {
			rejected.Detail = http.StatusText(status) // a proxy's page, not the relay's problem
		}
		rejected.Status = status
		return rejected
	}
}

// Result is the relay's result for one event of a batch.
type Result struct {
	EventID string          `json:"event_id"`
	Status  string          `json:"status"` // accepted, duplicate, conflict or invalid
	Errors  json.RawMessage `json:"errors"`
}

// SendBatch posts up to 1,000 events and 1 MiB and returns one result for each, in order.
func (c *Client) SendBatch(ctx context.Context, events []Event) ([]Result, error) {
	documents := make([]document, len(events))
	for i, event := range events {
		documents[i] = event.document(event.ID)
	}
	body, err := json.Marshal(map[string]any{"events": documents})
	if err != nil {
		return nil, err
	}
	var read struct {
		Results []Result `json:"results"`
	}
	err = c.post(ctx, "/webhooks/batch", NewID(), body, func(answer []byte) error {
		read.Results = nil
		if err := json.Unmarshal(answer, &read); err != nil {
			return err
		}
		if len(read.Results) != len(events) {
			return fmt.Errorf("it has %d results for %d events", len(read.Results), len(events))
		}
		for i, result := range read.Results {
			if !result.isOf(events[i]) {
				return fmt.Errorf("its result %d is not that of event %s", i+1, events[i].ID)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return read.Results, nil
}

func (r Result) isOf(event Event) bool {
	id := event.ID
	isInvisible := func(r rune) bool { return r < '!' || r > '~' }
	if len(id) > 255 || strings.IndexFunc(id, isInvisible) >= 0 {
		id = "" // the relay does not repeat an invalid id
	}
	return r.EventID == id && isOneOf(r.Status, "accepted", "duplicate", "conflict", "invalid") &&
		(id != "" || r.Status == "invalid")
}

func isOneOf(status string, known ...string) bool {
	for _, each := range known {
		if status == each {
			return true
		}
	}
	return false
}

// document returns the JSON form of an event. Only in a batch does it contain the id.
type document struct {
	ID        string `json:"id,omitempty"`
	Type      Type   `json:"type"`
	Timestamp string `json:"timestamp"`
	Data      any    `json:"data"`
}

func (e Event) document(id string) document {
	// The same instant must always give the same text: another body under the same id is a conflict.
	return document{id, e.Type, e.Timestamp.UTC().Format(time.RFC3339Nano), e.Data}
}

func readRetryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}

// sleep waits, and returns false if ctx ends first.
func sleep(ctx context.Context, wait time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// random returns a number in [0, 1). math/rand is unseeded before Go 1.20.
func random() float64 {
	var raw [8]byte
	if _, err := crand.Read(raw[:]); err != nil {
		panic(err)
	}
	return float64(binary.LittleEndian.Uint64(raw[:])>>11) / (1 << 53)
}
