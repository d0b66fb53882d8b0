package relaytest

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"time"

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
	uuidFields  = []string{"id", "trip_id", "user_id", "created_by"}
)

// readEvent reads an event as the relay does, and says what is invalid.
func readEvent(id string, body []byte) (supabasesync.Event, []supabasesync.FieldError) {
	var read struct {
		Type      supabasesync.Type
		Timestamp string
		Data      json.RawMessage
	}
	var problems []supabasesync.FieldError
	add := func(pointer, detail string) {
		problems = append(problems, supabasesync.FieldError{Pointer: pointer, Detail: detail})
	}
	if !idPattern.MatchString(id) {
		id = ""
		add("/id", "must be 1 to 255 visible ASCII characters")
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
	names, ok := fields[read.Type]
	if !ok {
		add("/type", "is not a known type")
	}
	var data map[string]any
	_ = json.Unmarshal(read.Data, &data)
	for _, name := range names {
		text, ok := data[name].(string)
		switch {
		case !ok || text == "":
			add("/data/"+name, "must be a non-empty string")
		case slices.Contains(uuidFields, name) && !uuidPattern.MatchString(text):
			add("/data/"+name, "must be a UUID")
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
