package blob

// A Hook stands in for one system call that changes the disk; see [hook].
type Hook = func(call, name string, do func() error) error

// CreateHooked is Create with h around every call that changes the disk.
func CreateHooked(dir string, h Hook) error { return create(dir, h) }

// OpenHooked is Open with h around every call that changes the disk.
func OpenHooked(dir string, h Hook) (*Store, error) { return open(dir, h) }
