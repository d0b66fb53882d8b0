package supabasesync

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

const (
	anaID  = "123e4567-e89b-12d3-a456-426614174000"
	tripID = "456e7890-e89b-12d3-a456-426614174001"
)

// The relay's own tests read the same files.
func TestEvent_GoldenEvents_HaveTheSameJSON(t *testing.T) {
	paths, err := filepath.Glob("testdata/events/*.json")
	if err != nil || len(paths) != 9 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var file struct{ Body json.RawMessage }
		var body struct {
			Type      Type
			Timestamp time.Time
			Data      json.RawMessage
		}
		if err := json.Unmarshal(content, &file); err != nil {
			t.Fatal(path, err)
		}
		if err := json.Unmarshal(file.Body, &body); err != nil {
			t.Fatal(path, err)
		}
		data := dataOf(t, body.Type)
		decoder := json.NewDecoder(strings.NewReader(string(body.Data)))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(data.Interface()); err != nil {
			t.Fatal(path, err)
		}
		event := NewEvent(data.Elem().Interface().(Data), body.Timestamp)
		if family(event.Type) != family(body.Type) {
			t.Errorf("%s: %s has the data of %s", path, body.Type, event.Type)
		}
		event.Type = body.Type
		encoded, err := event.encode("")
		if err != nil {
			t.Fatal(path, err)
		}
		if !equalJSON(t, encoded, file.Body) {
			t.Errorf("%s: %s, want %s", path, encoded, file.Body)
		}
	}
}

// family maps created to updated: both set the row.
func family(kind Type) string { return strings.Replace(string(kind), "created", "updated", 1) }

func dataOf(t *testing.T, kind Type) reflect.Value {
	for _, data := range []Data{
		UserData{}, TripData{}, MembershipData{}, DeletedUser{}, DeletedTrip{}, DeletedMembership{},
	} {
		if family(data.EventType()) == family(kind) {
			return reflect.New(reflect.TypeOf(data))
		}
	}
	t.Fatalf("no data for %s", kind)
	return reflect.Value{}
}

func equalJSON(t *testing.T, one, two []byte) bool {
	t.Helper()
	var left, right any
	if json.Unmarshal(one, &left) != nil || json.Unmarshal(two, &right) != nil {
		t.Fatalf("no JSON: %s %s", one, two)
	}
	return reflect.DeepEqual(left, right)
}

func TestEvent_NewIDs_GrowWithTime(t *testing.T) {
	now := time.Now()
	first, second := newID(now), newID(now.Add(time.Millisecond))
	if first >= second || len(first) != len("evt_")+32 || newID(now) == first {
		t.Fatal(first, second)
	}
}

func TestData_ExtraFields_AreInTheSameObject(t *testing.T) {
	trip := TripData{ID: tripID, Name: "Lisbon", Extra: map[string]any{"start_date": "2026-05-01", "id": "no"}}
	encoded, err := json.Marshal(trip)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id": "` + tripID + `", "name": "Lisbon", "created_by": "` + unknownCreator +
		`", "start_date": "2026-05-01"}`
	if !equalJSON(t, encoded, []byte(want)) {
		t.Fatalf("%s, want %s", encoded, want)
	}
}

func TestData_IDThatIsNoUUID_IsNamed(t *testing.T) {
	for field, data := range map[string]Data{
		"UserData.ID":              UserData{},
		"TripData.ID":              TripData{ID: "7"},
		"TripData.CreatedBy":       TripData{ID: tripID, CreatedBy: strings.Replace(anaID, "-", "0", 1)},
		"MembershipData.TripID":    MembershipData{UserID: anaID},
		"MembershipData.UserID":    MembershipData{TripID: tripID, UserID: anaID + " "},
		"DeletedUser.ID":           DeletedUser{ID: "{" + anaID + "}"},
		"DeletedTrip.ID":           DeletedTrip{ID: strings.Replace(tripID, "e", "g", 1)},
		"DeletedMembership.TripID": DeletedMembership{UserID: anaID},
		"DeletedMembership.UserID": DeletedMembership{TripID: tripID},
	} {
		if err := data.Validate(); err == nil || !strings.Contains(err.Error(), field+" is not a UUID") {
			t.Errorf("%s: %v", field, err)
		}
	}
	if err := (DeletedUser{ID: strings.ToUpper(anaID)}).Validate(); err != nil {
		t.Error(err)
	}
}
