//go:build race

package events_test

// The race detector slows histories down tenfold.
func init() { histories = 50 }
