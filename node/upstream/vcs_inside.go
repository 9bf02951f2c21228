package upstream

import (
	"errors"
	"fmt"
	"net"
)

// insideError refuses the address that a name resolves to. Its text does not
// show it: who may ask for modules may not ask what is inside. The cause does.
type insideError struct {
	addr string // host and port, as asked for
	err  error
}

func (e *insideError) Error() string {
	return fmt.Sprintf("%v: %s leads to an address that is not reached from here; an administrator may look it up and allow it with --allow-inside", errPolicy, clip(e.addr))
}

// Unwrap returns the cause, which is for operators.
func (e *insideError) Unwrap() error { return e.err }

// withoutAddresses returns a dialer's error without the addresses in it: that of
// the host, and those of this node and of its name servers.
func withoutAddresses(err error) error {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok {
		return err
	}
	bare := *op // others may share the error
	bare.Addr, bare.Source = nil, nil
	if dns, ok := errors.AsType[*net.DNSError](op.Err); ok {
		unnamed := *dns
		unnamed.Server = ""
		bare.Err = &unnamed
	}
	return &bare
}
