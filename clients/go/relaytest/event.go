package relaytest

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"time"
	"unicode/utf8"

	supabasesync "github.com/nomadcrew/supabase-sync"
)

// fields are those that the data of each type must have.
var fields = map[supabasesync.Type][]string{
	supabasesync.UserCreated:       {"id", "email", "username"},
	supabasesync.UserUpdated:       {"id", "email", "username"},
	supabasesync.UserDeleted:       {"id"},
	supabasesync.TripCreated:       {"id", "name", "created_by"},
	supabasesync.TripUpdated:       {"id", "name", "created_by"},
	supabasesync.TripDeleted:       {"id"},
	supabasesync.MembershipCreated: {"trip_id", "user_id", "role", "status"},
	supabasesync.MembershipUpdated: {"trip_id", "user_id", "role", "status"},
	supabasesync.MembershipDeleted: {"trip_id", "user_id"},
}

var (
	uuidPattern = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	idPattern   = regexp.MustCompile(`^[!-~]{1,255}$`)
)

// problemOf describes the problem of a field of the data, by the relay's default settings; empty: none.
func problemOf(field string, value any) string {
	text, isText := value.(string)
	switch field {
	case "id", "trip_id", "user_id", "created_by":
		if !uuidPattern.MatchString(text) {
			return "must be a UUID"
		}
	case "role":
		if !slices.Contains([]string{"OWNER", "ADMIN", "MEMBER"}, text) {
			return "must be OWNER, ADMIN or MEMBER"
		}
	case "status":
		if text != "ACTIVE" && text != "INACTIVE" {
			return "must be ACTIVE or INACTIVE"
		}
	case "email":
		if text == "" || utf8.RuneCountInString(text) > 320 {
			return "must have 1 to 320 characters"
		}
	default:
		if !isText || utf8.RuneCountInString(text) > 1000 {
			return "must have at most 1000 characters"
		}
	}
	return ""
}

// readEvent reads an event as the relay does, and lists its problems. In a batch, pointers have
// a prefix.
func readEvent(id string, body []byte, prefix string) (supabasesync.Event, []supabasesync.FieldError) {
	var read struct {
		Type      supabasesync.Type
		Timestamp string
		Data      json.RawMessage
	}
	var problems []supabasesync.FieldError
	add := func(pointer, detail string) {
		problems = append(problems, supabasesync.FieldError{Pointer: prefix + pointer, Detail: detail})
	}
	if !idPattern.MatchString(id) {
		id = ""
		if prefix != "" {
			add("/id", "must be 1 to 255 visible ASCII characters")
		} else {
			add("", "the header webhook-id must be 1 to 255 visible ASCII characters")
		}
	}
	if json.Unmarshal(body, &read) != nil {
		add("", "must be an event")
	}
	timestamp, err := time.Parse(time.RFC3339Nano, read.Timestamp)
	switch {
	case err != nil:
		add("/timestamp", "must be an RFC 3339 timestamp with an offset")
	case timestamp.Year() < 2000:
		add("/timestamp", "is before the year 2000")
	case time.Until(timestamp) > 5*time.Minute:
		add("/timestamp", "is more than 5 minutes in the future")
	}
	names, isKnown := fields[read.Type]
	if !isKnown {
		add("/type", "is not a known type")
	}
	var data map[string]any
	if json.Unmarshal(read.Data, &data) != nil || data == nil {
		if isKnown {
			add("/data", "must be an object")
		}
		names = nil
	}
	for _, name := range names {
		if problem := problemOf(name, data[name]); problem != "" {
			add("/data/"+name, problem)
		}
	}
	return supabasesync.Event{ID: id, Type: read.Type, Timestamp: timestamp, Data: read.Data}, problems
}

// canonical returns one text for events that mean the same.
func canonical(event supabasesync.Event) string {
	encoded, _ := json.Marshal([]any{event.Type, event.Timestamp.UTC(), normalise(event.Data)})
	return string(encoded)
}

// normalise returns data with the fields in one order.
func normalise(data any) any {
	encoded, err := json.Marshal(data)
	if err != nil {
		return err.Error()
	}
	decoder := json.NewDecoder(bytes.NewReader(encoded))
	decoder.UseNumber()
	var read any
	if err := decoder.Decode(&read); err != nil {
		return err.Error()
	}
	return read
}
