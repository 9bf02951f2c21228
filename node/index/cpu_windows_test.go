package index_test

import (
	"testing"
	"time"
)

// cpuTime is not known here: the figure made of it is then zero.
func cpuTime(testing.TB) time.Duration { return 0 }
