package supabasesync

import (
	"encoding/json"
	"fmt"
)

// Type is the kind of change.
type Type string

// The types of events. Created and updated both set the whole row.
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

// Data is the content of an event: [UserData], [TripData], [MembershipData], [DeletedUser],
// [DeletedTrip] or [DeletedMembership].
type Data interface {
	// EventType returns the type of the event that carries this data.
	EventType() Type
	// Validate returns an error if an id is not a UUID. The relay checks the rest.
	Validate() error
}

// UserData is the whole row of a user, after the change.
type UserData struct {
	ID       string `json:"id"`
	Email    string `json:"email"`
	Username string `json:"username"`

	// Extra has the fields that the relay's TARGET_USERS names as "extra", if any.
	Extra map[string]any `json:"-"`
}

// TripData is the whole row of a trip, after the change.
type TripData struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// CreatedBy is empty if the creator's account no longer exists. It gives no access.
	CreatedBy string `json:"created_by"`

	// Extra has the fields that the relay's TARGET_TRIPS names as "extra", if any.
	Extra map[string]any `json:"-"`
}

// MembershipData is the whole row of a membership, after the change. Only the status ACTIVE gives
// access; any other one is a revocation.
type MembershipData struct {
	TripID string `json:"trip_id"`
	UserID string `json:"user_id"`
	Role   string `json:"role"`
	Status string `json:"status"`

	// Extra has the fields that the relay's TARGET_MEMBERSHIPS names as "extra", if any.
	Extra map[string]any `json:"-"`
}

// DeletedUser removes a user and their memberships.
type DeletedUser struct {
	ID string `json:"id"`
}

// DeletedTrip removes a trip and its memberships.
type DeletedTrip struct {
	ID string `json:"id"`
}

// DeletedMembership removes a membership.
type DeletedMembership struct {
	TripID string `json:"trip_id"`
	UserID string `json:"user_id"`
}

// unknownCreator stands for a creator whose account no longer exists.
const unknownCreator = "00000000-0000-0000-0000-000000000000"

// EventType returns UserUpdated.
func (UserData) EventType() Type { return UserUpdated }

// EventType returns TripUpdated.
func (TripData) EventType() Type { return TripUpdated }

// EventType returns MembershipUpdated.
func (MembershipData) EventType() Type { return MembershipUpdated }

// EventType returns UserDeleted.
func (DeletedUser) EventType() Type { return UserDeleted }

// EventType returns TripDeleted.
func (DeletedTrip) EventType() Type { return TripDeleted }

// EventType returns MembershipDeleted.
func (DeletedMembership) EventType() Type { return MembershipDeleted }

// Validate checks the id.
func (d UserData) Validate() error { return requireUUID("UserData.ID", d.ID) }

// Validate checks the ids.
func (d TripData) Validate() error {
	if d.CreatedBy != "" {
		if err := requireUUID("TripData.CreatedBy", d.CreatedBy); err != nil {
			return err
		}
	}
	return requireUUID("TripData.ID", d.ID)
}

// Validate checks the ids.
func (d MembershipData) Validate() error {
	if err := requireUUID("MembershipData.TripID", d.TripID); err != nil {
		return err
	}
	return requireUUID("MembershipData.UserID", d.UserID)
}

// Validate checks the id.
func (d DeletedUser) Validate() error { return requireUUID("DeletedUser.ID", d.ID) }

// Validate checks the id.
func (d DeletedTrip) Validate() error { return requireUUID("DeletedTrip.ID", d.ID) }

// Validate checks the ids.
func (d DeletedMembership) Validate() error {
	if err := requireUUID("DeletedMembership.TripID", d.TripID); err != nil {
		return err
	}
	return requireUUID("DeletedMembership.UserID", d.UserID)
}

// MarshalJSON adds the extra fields.
func (d UserData) MarshalJSON() ([]byte, error) {
	type plain UserData
	return marshalWith(d.Extra, plain(d))
}

// MarshalJSON adds the extra fields, and writes an empty CreatedBy as the unknown user.
func (d TripData) MarshalJSON() ([]byte, error) {
	if d.CreatedBy == "" {
		d.CreatedBy = unknownCreator
	}
	type plain TripData
	return marshalWith(d.Extra, plain(d))
}

// MarshalJSON adds the extra fields.
func (d MembershipData) MarshalJSON() ([]byte, error) {
	type plain MembershipData
	return marshalWith(d.Extra, plain(d))
}

// marshalWith writes one JSON object of both; the fields of the contract win.
func marshalWith(extra map[string]any, contract any) ([]byte, error) {
	encoded, err := json.Marshal(contract)
	if err != nil || len(extra) == 0 {
		return encoded, err
	}
	fields := make(map[string]any, len(extra)+4)
	for name, value := range extra {
		fields[name] = value
	}
	if err := json.Unmarshal(encoded, &fields); err != nil {
		return nil, err
	}
	return json.Marshal(fields)
}

// requireUUID checks for the form that PostgreSQL writes, in either case.
func requireUUID(field, id string) error {
	isValid := len(id) == len(unknownCreator)
	for i := 0; isValid && i < len(id); i++ {
		c := id[i]
		if i == 8 || i == 13 || i == 18 || i == 23 {
			isValid = c == '-'
		} else {
			isValid = '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
		}
	}
	if !isValid {
		return fmt.Errorf("supabasesync: %s is not a UUID: %q", field, id)
	}
	return nil
}
