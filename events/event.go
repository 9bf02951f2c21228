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

// Level is the highest level of event types that this version of the code knows.
// A level is a set of event types that came together; each holds those below it.
//
// A site writes an event of a type only if LevelOf it is not above the Level of
// its Directory, which the registry's home raises once all members know the types
// of that level: else those who don't could apply the log no further. No entry
// holds a type above its writer's Directory.Level, but for the reader that is no
// reason to refuse it: what is not known here is kept and not applied, what is
// known is applied, so that all sites hold the same logs.
const Level = 1

// LevelOf returns the level that an event type came with, or Level+1 for a type
// that this version of the code doesn't know.
func LevelOf(t Type) int {
	if known, ok := bodies[t]; ok {
		return known.level
	}
	return Level + 1
}

// bodies has of each event type the level that it came with, and how its data is
// read.
var bodies = map[Type]struct {
	level  int
	decode func(json.RawMessage) (Body, error)
}{
	RepoCreated{}.Type():       {1, decode[RepoCreated]},
	RepoChanged{}.Type():       {1, decode[RepoChanged]},
	RepoDeleted{}.Type():       {1, decode[RepoDeleted]},
	RepoRestored{}.Type():      {1, decode[RepoRestored]},
	VersionPublished{}.Type():  {1, decode[VersionPublished]},
	VersionHidden{}.Type():     {1, decode[VersionHidden]},
	VersionFilled{}.Type():     {1, decode[VersionFilled]},
	VersionSeen{}.Type():       {1, decode[VersionSeen]},
	VersionBlocked{}.Type():    {1, decode[VersionBlocked]},
	VersionUnblocked{}.Type():  {1, decode[VersionUnblocked]},
	VersionSettled{}.Type():    {1, decode[VersionSettled]},
	VersionPurged{}.Type():     {1, decode[VersionPurged]},
	VersionDated{}.Type():      {1, decode[VersionDated]},
	UserCreated{}.Type():       {1, decode[UserCreated]},
	UserChanged{}.Type():       {1, decode[UserChanged]},
	UserDeleted{}.Type():       {1, decode[UserDeleted]},
	GroupChanged{}.Type():      {1, decode[GroupChanged]},
	GroupDeleted{}.Type():      {1, decode[GroupDeleted]},
	PermissionChanged{}.Type(): {1, decode[PermissionChanged]},
	PermissionDeleted{}.Type(): {1, decode[PermissionDeleted]},
	IssuerChanged{}.Type():     {1, decode[IssuerChanged]},
	IssuerDeleted{}.Type():     {1, decode[IssuerDeleted]},
	WebhookChanged{}.Type():    {1, decode[WebhookChanged]},
	WebhookDeleted{}.Type():    {1, decode[WebhookDeleted]},
	PropertiesChanged{}.Type(): {1, decode[PropertiesChanged]},
	BuildRecorded{}.Type():     {1, decode[BuildRecorded]},
	BuildDeleted{}.Type():      {1, decode[BuildDeleted]},
	TokenIssued{}.Type():       {1, decode[TokenIssued]},
	TokenRevoked{}.Type():      {1, decode[TokenRevoked]},
	SiteInvited{}.Type():       {1, decode[SiteInvited]},
	SiteJoined{}.Type():        {1, decode[SiteJoined]},
	SiteChanged{}.Type():       {1, decode[SiteChanged]},
	SiteKey{}.Type():           {1, decode[SiteKey]},
	SiteLeft{}.Type():          {1, decode[SiteLeft]},
	FeatureRaised{}.Type():     {1, decode[FeatureRaised]},
	HomeCeded{}.Type():         {1, decode[HomeCeded]},
	HomeForced{}.Type():        {1, decode[HomeForced]},
	LogContinued{}.Type():      {1, decode[LogContinued]},
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
	known, ok := bodies[t]
	if !ok {
		return nil, nil
	}
	b, err := known.decode(data)
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
