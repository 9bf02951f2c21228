package upstream

import (
	"context"
	"fmt"

	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"
)

// toolchainPath is the module of the go command's own releases. It is always
// verified, as in the go command.
const toolchainPath = "golang.org/toolchain"

// toolchainMod returns the go.mod of a toolchain that an upstream has only as a
// zip. The go command asks for no other file of a toolchain that it was told to
// use, so there is no other in a module cache that serves as an upstream. The
// text is that of all releases, and the checksum database vouches for it.
func (c *Client) toolchainMod(ctx context.Context, mv module.Version) ([]byte, error) {
	rq, err := canonicalRequest("zip", mv, ".zip", modzip.MaxZipFile)
	if err != nil {
		return nil, err
	}
	rq.exact = true
	return walk(ctx, c, rq.op, func(e entry) ([]byte, error) {
		a, err := c.open(ctx, e, rq)
		if err != nil {
			return nil, err
		}
		a.close()
		return fmt.Appendf(nil, "module %s\n", toolchainPath), nil
	})
}
