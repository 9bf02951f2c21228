package events

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Type is the name of an event type, such as "version.published".
type Type string

// Body is what an event states, as a value of one of this package's types; the
// set is closed. A Body that came out of this package is well-formed.
type Body interface {
	// Type returns the event type.
	Type() Type
	// Key returns the one record that the event with this id contributes to.
	Key(id EventID) Key

	// check reports why the body is not well-formed. It knows nothing but the
	// body: whether the event was right to happen is for who appends it.
	check() error
	// adds reports whether the body says what kept, the facts of its site about
	// its record so far, do not say yet.
	adds(kept Contribution) bool
}

// Event is one fact as its site stated it. Body is nil if this version of the
// code doesn't know the type.
type Event struct {
	ID   EventID
	Time time.Time // of its entry: the appending node's clock, UTC
	Type Type
	Data json.RawMessage // as it stands in the log
	Body Body
}

// Types returns the event types that this version of the code knows, sorted.
func Types() []Type { return slices.Sorted(maps.Keys(bodies)) }

var bodies = map[Type]func(json.RawMessage) (Body, error){
	RepoCreated{}.Type():       decode[RepoCreated],
	RepoChanged{}.Type():       decode[RepoChanged],
	RepoDeleted{}.Type():       decode[RepoDeleted],
	RepoRestored{}.Type():      decode[RepoRestored],
	VersionPublished{}.Type():  decode[VersionPublished],
	VersionHidden{}.Type():     decode[VersionHidden],
	VersionFilled{}.Type():     decode[VersionFilled],
	VersionSeen{}.Type():       decode[VersionSeen],
	VersionBlocked{}.Type():    decode[VersionBlocked],
	VersionUnblocked{}.Type():  decode[VersionUnblocked],
	VersionSettled{}.Type():    decode[VersionSettled],
	UserCreated{}.Type():       decode[UserCreated],
	UserChanged{}.Type():       decode[UserChanged],
	UserDeleted{}.Type():       decode[UserDeleted],
	GroupChanged{}.Type():      decode[GroupChanged],
	GroupDeleted{}.Type():      decode[GroupDeleted],
	PermissionChanged{}.Type(): decode[PermissionChanged],
	PermissionDeleted{}.Type(): decode[PermissionDeleted],
	TokenIssued{}.Type():       decode[TokenIssued],
	TokenRevoked{}.Type():      decode[TokenRevoked],
	SiteInvited{}.Type():       decode[SiteInvited],
	SiteJoined{}.Type():        decode[SiteJoined],
	SiteChanged{}.Type():       decode[SiteChanged],
	SiteKey{}.Type():           decode[SiteKey],
	SiteLeft{}.Type():          decode[SiteLeft],
	FeatureRaised{}.Type():     decode[FeatureRaised],
	HomeCeded{}.Type():         decode[HomeCeded],
	HomeForced{}.Type():        decode[HomeForced],
}

// A fieldReader is a body that reads its own fields: what those do that come by
// the million, since encoding/json takes four times as long. The others go
// through encoding/json, behind a scanner.
type fieldReader interface {
	// readField reads the value of the field called key. known is false, and
	// nothing read, if the body has none of that name.
	readField(key []byte, s *scanner) (known bool, err error)
}

func decode[B Body](data json.RawMessage) (Body, error) {
	var b B
	var err error
	if r, ok := any(&b).(fieldReader); ok {
		err = readFields(data, r)
	} else {
		err = json.Unmarshal(data, &b)
	}
	if err == nil {
		err = b.check()
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

func readFields(data []byte, r fieldReader) error {
	return scan(data, func(s *scanner) error {
		return s.object(func(key []byte) error {
			known, err := r.readField(key, s)
			if !known && err == nil {
				return s.skip()
			}
			return err
		})
	})
}

// decodeBody returns the body that data, which passed a scanner, holds: nil for a type that this version
// of the code doesn't know, or an error if a known type's data is not
// well-formed.
func decodeBody(t Type, data json.RawMessage) (Body, error) {
	dec, ok := bodies[t]
	if !ok {
		return nil, nil
	}
	b, err := dec(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t, err)
	}
	return b, nil
}

// checkType reports why t can't be the name of an event type.
func checkType(t Type) error {
	if len(t) == 0 || len(t) > 64 {
		return fmt.Errorf("event type %q is empty or longer than 64 characters", t)
	}
	for _, c := range []byte(t) {
		if (c < 'a' || c > 'z') && c != '.' && c != '_' {
			return fmt.Errorf("event type %q may only have a-z, . and _", t)
		}
	}
	return nil
}
