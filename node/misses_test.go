package node

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestMisses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMisses(60, 3)
		for range 3 {
			if m.spent() {
				t.Fatal("it is spent before its burst is")
			}
			m.take()
		}
		if !m.spent() {
			t.Error("it is not spent after its burst")
		}
		m.giveBack()
		if m.spent() {
			t.Error("what was given back is gone")
		}
		m.take()
		time.Sleep(time.Second)
		if m.spent() {
			t.Error("it is spent for good")
		}
		time.Sleep(time.Hour)
		for range 3 {
			m.take()
		}
		if !m.spent() {
			t.Error("an hour fills it beyond its burst")
		}
		m = nil
		m.take()
		m.giveBack()
		if m.spent() {
			t.Error("none is spent")
		}
	})
}
