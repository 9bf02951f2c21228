// Package httpapi is a node's HTTP side: it turns requests into calls of
// node.Node and what they return into answers. It holds no rules of the
// registry.
//
// # Paths
//
//	/go/<repository>/…      GOPROXY: GET and HEAD; errors are text/plain
//	/at-least/<position>/go/<repository>/…
//	                        the same, of a state that holds that position
//	/api/v1/…               management and status: JSON
//	/artifactory/…          what the JFrog CLI, and clients of an Artifactory, ask;
//	                        errors have the shape that those expect
//	/livez /readyz          text/plain
//	/metrics                Prometheus
//
// The GOPROXY namespace is parsed, not routed: see ParsePath. The path is
// percent-decoded exactly once. What is malformed there is 404 with a reason,
// never 400, which would end the go command's list of proxies.
//
// # Answers
//
// What belongs to an exact version never changes: it is "immutable" for caches
// and has a strong ETag, which for a zip is the SHA-256 of its bytes and for
// everything else a hash of the body, the same at all sites. Lists and queries
// are fresh for a minute. A list of which an upstream could not be asked has the
// header "Warning: 110 - "Response is Stale"" (RFC 7234, section 5.5.1); it is
// what is known, and nobody should wait for more. Errors of ours, of upstreams
// and of policy are never stored by caches.
//
// Zips go from the file to the socket in the kernel; see writer.ReadFrom.
//
// # Errors
//
// Handlers return errors; the table in errors.go, and nothing else, says which
// status they have. Only node.ErrNotFound is a 404 below /go/. Below /at-least/
// there is a 404 only if the position has been applied here.
//
// # Who may do what
//
// A listener decides: see Trust.
//
// # Slow clients
//
// A request body and an answer must move at least paceBytes in each paceTime, or
// the connection is cut. The time that this node takes to think doesn't count,
// nor that for which a zip has to be waited for that comes from elsewhere.
//
// # The end
//
// A server that is told to stop lets requests finish; but what only waits ends
// at once: streams, and publications that wait for other sites.
package httpapi
