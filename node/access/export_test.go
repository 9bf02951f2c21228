package access

import "time"

// SetClock has v take now for the time.
func (v *Verifier) SetClock(now func() time.Time) { v.keys.now = now }
