package httpapi

import (
	"fmt"
	"net/http"
	"strings"

	"registry-node/node"
)

const (
	maxURL    = 4 << 10 // bytes of a request target
	maxParams = 32      // parameters after the ?
)

// checkForm refuses what no client of a registry sends, before anything is made of
// it. net/http has refused what is malformed: a Host that is missing, malformed or
// there twice, lengths that differ, transfer codings other than chunked, headers
// larger than maxHeader.
func checkForm(r *http.Request) error {
	switch target := r.RequestURI; {
	case r.Method == http.MethodConnect, r.Method == http.MethodTrace:
		return fail(errMethod, "this server takes no "+r.Method)
	case len(target) > maxURL:
		return fail(errLongURL, fmt.Sprintf("the URL has more than %d KiB", maxURL>>10))
	case r.URL.Scheme != "", r.URL.Host != "":
		return fail(node.ErrInvalid, "this server is no proxy: the request line has a path and no host")
	case !strings.HasPrefix(r.URL.Path, "/"):
		return fail(node.ErrInvalid, "the request line has no path")
	case strings.Count(r.URL.RawQuery, "&") >= maxParams:
		return fail(node.ErrInvalid, fmt.Sprintf("the URL has more than %d parameters", maxParams))
	}
	// HTTP/2 has the host in a field of its own, and may have the other one, too.
	if hosts := r.Header["Host"]; len(hosts) > 1 || len(hosts) == 1 && hosts[0] != r.Host {
		return fail(node.ErrInvalid, "the request names two hosts")
	}
	return nil
}
