package access

import "fmt"

// Action is what somebody may do.
type Action uint8

// The actions. None includes another.
const (
	Read    Action = iota + 1 // modules, and what is known of them
	Publish                   // versions
	Delete                    // versions, which hides them
	Block                     // versions, in all repositories
	Manage                    // repositories, users, groups and rules, by their names
)

var actionNames = [...]string{Read: "read", Publish: "publish", Delete: "delete", Block: "block", Manage: "manage"}

// ParseAction returns the action of this name.
func ParseAction(s string) (Action, error) {
	for a, name := range actionNames {
		if a > 0 && name == s {
			return Action(a), nil
		}
	}
	return 0, fmt.Errorf("action %q is none of read, publish, delete, block, manage", s)
}

// String returns the name of the action, as it stands in rules.
func (a Action) String() string {
	if int(a) < len(actionNames) && a > 0 {
		return actionNames[a]
	}
	return fmt.Sprintf("action(%d)", uint8(a))
}

// actions is a set of them.
type actions uint8

// parseActions returns the actions of these names; those of a later version of
// this program, which means something else by them, are left out.
func parseActions(names []string) (set actions) {
	for _, s := range names {
		if a, err := ParseAction(s); err == nil {
			set |= 1 << a
		}
	}
	return set
}

func (set actions) has(a Action) bool { return set&(1<<a) != 0 }
