package supabasesync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// What the relay accepts.
const (
	maximumBatchEvents = 1000
	maximumBatchBytes  = 1 << 20
	maximumEventBytes  = 64 << 10
	longestWait        = 30 * time.Second
)

// ClientConfig configures a [Client]. URL and Secret are required.
type ClientConfig struct {
	// URL of the relay, such as https://relay.example.com.
	URL string
	// Secret shared with the relay: whsec_…, or the private key whsk_….
	Secret string
	// Transport sends the requests; nil uses one with short timeouts that verifies TLS.
	Transport http.RoundTripper
	// Logger receives a warning for each failed attempt; nil uses [slog.Default].
	Logger *slog.Logger
}

// Client sends events to one relay. It is safe for concurrent use; create one and keep it.
type Client struct {
	url    string
	signer *Signer
	http   *http.Client
	logger *slog.Logger
	sleep  func(ctx context.Context, wait time.Duration) bool
}

// NewClient checks the configuration. It sends nothing.
func NewClient(config ClientConfig) (*Client, error) {
	parsed, err := url.Parse(strings.TrimSpace(config.URL))
	if err != nil || parsed.Host == "" || (parsed.Scheme != "https" && parsed.Scheme != "http") ||
		parsed.User != nil || parsed.RawQuery != "" || parsed.Fragment != "" {
		return nil, errors.New("supabasesync: ClientConfig.URL is not like https://relay.example.com;" +
			" it has no user, query or fragment")
	}
	signer, err := NewSigner(config.Secret)
	if err != nil {
		return nil, err
	}
	transport := config.Transport
	if transport == nil {
		transport = newTransport()
	}
	logger := config.Logger
	if logger == nil {
		logger = slog.Default()
	}
	return &Client{
		url:    strings.TrimRight(parsed.String(), "/"),
		signer: signer,
		http: &http.Client{
			Transport: transport,
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse // never send a signed body elsewhere
			},
		},
		logger: logger,
		sleep:  sleep,
	}, nil
}

// newTransport verifies certificates and honours HTTPS_PROXY, as the standard library's does.
func newTransport() *http.Transport {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = (&net.Dialer{Timeout: 2 * time.Second}).DialContext
	transport.TLSHandshakeTimeout = 3 * time.Second
	transport.MaxIdleConnsPerHost = 16
	transport.IdleConnTimeout = 60 * time.Second // the relay closes after 75
	return transport
}

// Send sends one event, and returns Accepted or Duplicate once it is on the relay's disk.
//
// It retries with backoff and full jitter. The error is [*Rejected], [*Unavailable] or that of ctx.
func (c *Client) Send(ctx context.Context, event Event) (Status, error) {
	return c.send(ctx, event, 0)
}

// SendAndWait is Send that also waits until Supabase holds the change, in whole seconds, at most 30.
//
// It returns Applied, Superseded or Dead; or Accepted or Duplicate if the time ran out.
func (c *Client) SendAndWait(ctx context.Context, event Event, wait time.Duration) (Status, error) {
	return c.send(ctx, event, min(max(wait, time.Second), longestWait))
}

func (c *Client) send(ctx context.Context, event Event, wait time.Duration) (Status, error) {
	body, err := event.encode("")
	if err != nil {
		return "", fmt.Errorf("supabasesync: event %s cannot be encoded: %w", event.ID, err)
	}
	message := message{path: "/webhooks", id: event.ID, body: body, wait: wait}
	var confirmed Status
	err = c.post(ctx, message, func(answer []byte) error {
		var result Result
		if json.Unmarshal(answer, &result) != nil || result.EventID != event.ID || !result.Status.isStored() {
			return fmt.Errorf("it does not name event %s", event.ID)
		}
		confirmed = result.Status
		return nil
	})
	return confirmed, err
}

// SendBatch sends up to 1,000 events and 1 MiB, and returns one result for each, in order.
//
// An event that the relay rejects has the status Conflict or Invalid, and does not affect the others.
func (c *Client) SendBatch(ctx context.Context, events []Event) ([]Result, error) {
	if len(events) == 0 {
		return nil, nil
	}
	documents := make([]json.RawMessage, len(events))
	for i, event := range events {
		encoded, err := event.encode(event.ID)
		if err != nil {
			return nil, fmt.Errorf("supabasesync: event %s cannot be encoded: %w", event.ID, err)
		}
		documents[i] = encoded
	}
	body, err := json.Marshal(map[string]any{"events": documents})
	if err != nil {
		return nil, err
	}
	if len(events) > maximumBatchEvents || len(body) > maximumBatchBytes {
		return nil, fmt.Errorf("supabasesync: a batch of %d events and %d bytes exceeds %d events or %d bytes",
			len(events), len(body), maximumBatchEvents, maximumBatchBytes)
	}
	var results []Result
	message := message{path: "/webhooks/batch", id: newID(time.Now()), body: body}
	err = c.post(ctx, message, func(answer []byte) (err error) {
		results, err = readResults(answer, events)
		return err
	})
	return results, err
}

const (
	attempts         = 4
	firstBackoff     = 200 * time.Millisecond
	longestPause     = 5 * time.Second // give up if Retry-After is longer; the outbox keeps the event
	attemptTimeout   = 10 * time.Second
	maximumBodyBytes = 4 << 20
)

// message is a request to send, as often as necessary.
type message struct {
	path string
	id   string
	body []byte
	wait time.Duration
}

func (m message) prefer() string {
	return "wait=" + strconv.Itoa(int((m.wait+time.Second-1)/time.Second))
}

// post retries until the relay responds, the attempts are used up or ctx ends. A success counts only
// if confirm accepts its body: a proxy can return its own response, or that to another request.
func (c *Client) post(ctx context.Context, message message, confirm func(answer []byte) error) error {
	backoff := firstBackoff
	for attempt := 1; ; attempt++ {
		err := c.postOnce(ctx, message, confirm)
		var unavailable *Unavailable
		if err == nil || !errors.As(err, &unavailable) {
			return err
		}
		wait := max(jitter(backoff), unavailable.RetryAfter)
		if attempt == attempts || wait > longestPause || ctx.Err() != nil {
			return err
		}
		c.logger.WarnContext(ctx, "request to the relay failed; retrying",
			"webhook_id", message.id, "attempt", attempt, "wait", wait, "error", err)
		if !c.sleep(ctx, wait) {
			return err
		}
		backoff *= 2
	}
}
