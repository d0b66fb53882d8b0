package supabasesync

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// postOnce makes one attempt. The timestamp and the signature are new each time; id and body stay.
func (c *Client) postOnce(ctx context.Context, message message, confirm func(answer []byte) error) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout+message.wait)
	defer cancel()
	url := c.url + message.path
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(message.body))
	if err != nil {
		return err
	}
	now := time.Now()
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Webhook-Id", message.id)
	request.Header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	request.Header.Set("Webhook-Signature", c.signer.Sign(message.id, now, message.body))
	if message.wait > 0 {
		request.Header.Set("Prefer", message.prefer())
	}
	response, err := c.http.Do(request)
	if err != nil {
		return &Unavailable{Cause: err}
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maximumBodyBytes))
	status := response.StatusCode
	switch {
	case status >= 200 && status < 300:
		if err == nil && status != http.StatusOK && status != http.StatusAccepted {
			err = errors.New("the relay never answers so")
		}
		if err == nil {
			err = confirm(answer)
		}
		if err == nil {
			return nil
		}
		// This connection may be one response behind: the next attempt uses a new one.
		c.http.CloseIdleConnections()
		return &Unavailable{Cause: fmt.Errorf("%s answered %s with %.200q, not confirmed: %w;"+
			" check the URL and every proxy before the relay", url, response.Status, answer, err)}
	case status == http.StatusRequestTimeout || status == http.StatusTooManyRequests || status >= 500:
		return &Unavailable{
			RetryAfter: readRetryAfter(response.Header.Get("Retry-After"), now),
			Cause:      fmt.Errorf("%s answered %s", url, response.Status),
		}
	default:
		rejected := &Rejected{}
		if json.Unmarshal(answer, rejected) != nil {
			*rejected = Rejected{Detail: http.StatusText(status)} // a proxy's page, not the relay's problem
		}
		rejected.Status = status
		return rejected
	}
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

// jitter returns a random part of a backoff (full jitter).
func jitter(backoff time.Duration) time.Duration {
	return time.Duration(rand.Float64() * float64(backoff))
}

// sleep waits, and returns false if ctx ends first, at once if its deadline says so.
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
