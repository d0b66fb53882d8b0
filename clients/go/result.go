package supabasesync

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// Status is how the relay answered an event.
type Status string

// The statuses of events.
const (
	Accepted   Status = "accepted"   // new, and on the relay's disk
	Duplicate  Status = "duplicate"  // on the relay's disk before
	Conflict   Status = "conflict"   // refused: this id was sent before with another body
	Invalid    Status = "invalid"    // refused: see the errors
	Pending    Status = "pending"    // not yet in Supabase; it will be without further action
	Applied    Status = "applied"    // Supabase holds the change
	Superseded Status = "superseded" // a newer change of the same row won
	Dead       Status = "dead"       // Supabase or the relay refused the change: an operator has to look
)

// isStored tells whether the relay keeps the event.
func (s Status) isStored() bool {
	switch s {
	case Accepted, Duplicate, Applied, Superseded, Dead:
		return true
	}
	return false
}

// Result is the relay's answer to one event of a batch.
type Result struct {
	EventID string       `json:"event_id"`
	Status  Status       `json:"status"` // Accepted, Duplicate, Conflict or Invalid
	Errors  []FieldError `json:"errors"`
}

// reason explains why the relay refused the event.
func (r Result) reason() string {
	if r.Status == Conflict {
		return "conflict: this event id was sent before with another body"
	}
	problems := make([]FieldError, len(r.Errors))
	for i, each := range r.Errors {
		// The position in the batch means nothing to the reader.
		problems[i] = FieldError{positionPattern.ReplaceAllString(each.Pointer, ""), each.Detail}
	}
	return "invalid: " + joinErrors(problems)
}

var positionPattern = regexp.MustCompile(`^/events/\d+`)

// readResults reads the answer to a batch, and checks that it is about exactly these events.
func readResults(answer []byte, events []Event) ([]Result, error) {
	var read struct {
		Results []Result `json:"results"`
	}
	if err := json.Unmarshal(answer, &read); err != nil {
		return nil, err
	}
	if len(read.Results) != len(events) {
		return nil, fmt.Errorf("it has %d results for %d events", len(read.Results), len(events))
	}
	for i, result := range read.Results {
		if !result.isOf(events[i]) {
			return nil, fmt.Errorf("its result %d is not that of event %s", i+1, events[i].ID)
		}
	}
	return read.Results, nil
}

func (r Result) isOf(event Event) bool {
	if !isUsableID(event.ID) {
		return r.EventID == "" && r.Status == Invalid // the relay does not repeat an invalid id
	}
	switch r.Status {
	case Accepted, Duplicate, Conflict, Invalid:
		return r.EventID == event.ID
	}
	return false
}

func isUsableID(id string) bool {
	isInvisible := func(r rune) bool { return r < '!' || r > '~' }
	return id != "" && len(id) <= 255 && strings.IndexFunc(id, isInvisible) < 0
}
