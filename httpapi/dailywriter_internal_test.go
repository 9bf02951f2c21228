package httpapi

import (
	"os"
	"path/filepath"
	"testing"
)

// TestSyncIsTriedAgain: lines whose sync failed are not taken for synced.
func TestSyncIsTriedAgain(t *testing.T) {
	name := filepath.Join(t.TempDir(), "day")
	closed, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	w := &dailyWriter[Audit]{log: newDailyLog(dailyConfig[Audit]{what: "test", sync: true}), file: closed, unsynced: true}
	if again := w.flush(); !again || !w.unsynced {
		t.Errorf("after a sync that failed: again %t, unsynced %t", again, w.unsynced)
	}
	if w.file, err = os.OpenFile(name, os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	defer w.file.Close()
	if again := w.flush(); again || w.unsynced {
		t.Errorf("after one that did not: again %t, unsynced %t", again, w.unsynced)
	}
}
