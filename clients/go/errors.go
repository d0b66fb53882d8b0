package supabasesync

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Rejected means that the relay refused the request. Sending it again does not help, except after a
// 401 or 403, whose cause is a setting.
type Rejected struct {
	Status int          `json:"status"`
	Code   string       `json:"code"`
	Detail string       `json:"detail"`
	Errors []FieldError `json:"errors"`
}

// FieldError says why a field is invalid.
type FieldError struct {
	Pointer string `json:"pointer"` // a JSON pointer
	Detail  string `json:"detail"`
}

// Error says which status the relay answered, and why.
func (r *Rejected) Error() string {
	text := fmt.Sprintf("the relay rejected the request: %d %s: %s", r.Status, r.Code, r.Detail)
	if len(r.Errors) > 0 {
		text += " (" + joinErrors(r.Errors) + ")"
	}
	return text
}

// concernsContent tells whether the body is the cause, not a setting or the URL.
func (r *Rejected) concernsContent() bool {
	switch r.Status {
	case 400, 409, 413, 422:
		return true
	}
	return false
}

// Unavailable means no response, 408, 429, 5xx, or a success that does not name the event. The event
// may be stored or not: send it again later.
type Unavailable struct {
	RetryAfter time.Duration // 0 if the relay did not say
	Cause      error
}

// Error says why.
func (u *Unavailable) Error() string { return "the relay is unavailable: " + u.Cause.Error() }

// Unwrap returns the cause.
func (u *Unavailable) Unwrap() error { return u.Cause }

func joinErrors(problems []FieldError) string {
	parts := make([]string, len(problems))
	for i, each := range problems {
		parts[i] = each.Pointer + " " + each.Detail
	}
	return strings.Join(parts, "; ")
}

var errNoRow = errors.New("the statement returned no row")

// wrap names the operation that failed.
func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("supabasesync: %s: %w", doing, err)
}
