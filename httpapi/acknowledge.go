package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"registry-node/events"
	"registry-node/node"
)

const (
	defaultWait = 30 * time.Second
	maxWait     = 10 * time.Minute
	// positionHeader has the entry that holds what was published, as
	// site/epoch/entry: what goes between /at-least/ and /go/ to read it anywhere.
	positionHeader = "Registry-Position"
)

// acknowledgement is how many sites have to hold what is published before it is
// answered, and for how long to wait for them. The zero one waits for none.
type acknowledgement struct {
	sites   int // < 0: all members
	timeout time.Duration
}

// published is the answer to a publication.
type published struct {
	node.Published
	// SitesHave is how many sites hold it, the node's own included; nil if nobody
	// asked to wait for them.
	SitesHave *int `json:"sites_have,omitempty"`
}

// parseAcknowledgement parses the parameters sites and timeout.
func (s *Server) parseAcknowledgement(sites, timeout string) (a acknowledgement, err error) {
	switch sites {
	case "":
		if timeout != "" {
			return a, fail(node.ErrInvalid, "the parameter timeout says how long to wait for sites, and the parameter sites is missing")
		}
		return a, nil
	case "all":
		a.sites = -1
	default:
		n, err := strconv.ParseUint(sites, 10, 16)
		if err != nil || n == 0 {
			return a, fail(node.ErrInvalid, "the parameter sites is "+quote(sites)+", neither all nor a number from 1 on")
		}
		if have := s.node.Members(); int(n) > have {
			return a, fail(node.ErrInvalid, fmt.Sprintf("the parameter sites is %d, and the registry has %d", n, have))
		}
		a.sites = int(n)
	}
	a.timeout = defaultWait
	if timeout != "" {
		if a.timeout, err = time.ParseDuration(timeout); err != nil || a.timeout <= 0 || a.timeout > maxWait {
			return a, fail(node.ErrInvalid, "the parameter timeout is "+quote(timeout)+", not a time like 30s, which is more than none and at most "+maxWait.String())
		}
	}
	return a, nil
}

// acknowledge waits as a says for the sites to hold what was published, and
// returns the answer with its status: 202 if it is decided, but not yet where it
// was asked to be.
func (s *Server) acknowledge(ctx context.Context, p node.Published, a acknowledgement) (published, int) {
	status := http.StatusCreated
	if p.Existed {
		status = http.StatusOK
	}
	if p.Pending {
		status = http.StatusAccepted
	}
	if a.sites == 0 {
		return published{Published: p}, status
	}
	have, ok := s.reached(ctx, p.At, a)
	if !ok {
		status = http.StatusAccepted
	}
	return published{p, &have}, status
}

// reached waits as a says for the sites to hold what an entry says, and reports how
// many do and whether they are enough.
func (s *Server) reached(ctx context.Context, at events.Position, a acknowledgement) (have int, ok bool) {
	if a.sites == 0 {
		return 0, true
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	return s.node.WaitSites(ctx, at, a.sites)
}
