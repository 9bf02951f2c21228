package replication

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"registry-node/events"
)

const (
	subjectReq   = "rn1.req."   // SENDER.NAME
	subjectTo    = "rn1.to."    // RECEIVER.NAME
	subjectInbox = "rn1.inbox." // ASKER.ID

	// maxPending is how many bytes may wait for a connection that doesn't take
	// them; then the server closes it.
	maxPending = 64 << 20
	// maxInterim is how many interim answers to one request are passed on.
	maxInterim = 8192
	// maxHeader bounds the headers of a message, which count as payload.
	maxHeader = 4 << 10
)

// A hub is the mesh's own NATS server. Peers reach it only through their TLS
// sessions, each with its own rights.
type hub struct {
	srv *server.Server

	mu     sync.Mutex
	logins map[string]events.Site // guarded by mu; tokens that are good for one login each
	self   events.Site
}

func startHub(self events.Site, log *slog.Logger) (*hub, error) {
	h := &hub{logins: make(map[string]events.Site), self: self}
	var err error
	h.srv, err = server.NewServer(&server.Options{
		ServerName:      "registry-node-mesh-" + self.String(),
		DontListen:      true,
		NoSigs:          true,
		NoSystemAccount: true,
		MaxPayload:      MaxMessage + maxHeader, // headers count
		MaxPending:      maxPending,
		MaxSubs:         1 << 14, // this site's own: a few of each member
		MaxControlLine:  1 << 10,
		AuthTimeout:     helloTimeout.Seconds(),
		// A peer that takes nothing is cut by its pending bytes, one that is gone by
		// its silence; a slow link has a minute for what was once begun.
		WriteDeadline: time.Minute,
		PingInterval:  time.Minute,
		MaxPingsOut:   2,

		CustomClientAuthentication: h,
	})
	if err != nil {
		return nil, fmt.Errorf("mesh server: %w", err)
	}
	sl := &serverLog{log: log}
	h.srv.SetLoggerV2(sl, false, false, false)
	h.srv.Start()
	if !h.srv.ReadyForConnections(startTimeout) {
		h.stop()
		return nil, fmt.Errorf("mesh server: %w", sl.failure())
	}
	return h, nil
}

func (h *hub) stop() {
	h.srv.Shutdown()
	h.srv.WaitForShutdown()
}

// allow makes token good for one login of site.
func (h *hub) allow(token string, site events.Site) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.logins[token] = site
}

// forbid takes back what allow gave, if it wasn't used.
func (h *hub) forbid(token string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.logins, token)
}

// allowSelf returns a token with which this site itself can log in once.
func (h *hub) allowSelf() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	token := hex.EncodeToString(b)
	h.allow(token, h.self)
	return token
}

// Check is for the server: it admits a connection by its token.
func (h *hub) Check(c server.ClientAuthentication) bool {
	token := c.GetOpts().Token
	h.mu.Lock()
	site, ok := h.logins[token]
	delete(h.logins, token)
	h.mu.Unlock()
	if !ok || c.Kind() != server.CLIENT {
		return false
	}
	c.RegisterUser(&server.User{Username: site.String(), Permissions: h.rights(site)})
	return true
}

// rights are what a member may do here. This site itself may do what the mesh
// does.
func (h *hub) rights(site events.Site) *server.Permissions {
	if site == h.self {
		return &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{subjectTo + ">", subjectInbox + ">"}},
			Subscribe: &server.SubjectPermission{Allow: []string{subjectReq + ">", inboxOf(h.self) + "*"}},
		}
	}
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{subjectReq + site.String() + ".*"}},
		Subscribe: &server.SubjectPermission{Allow: []string{subjectTo + site.String() + ".*", inboxOf(site) + "*"}},
		Response:  &server.ResponsePermission{MaxMsgs: maxInterim + 1, Expires: maxCall + time.Minute},
	}
}

func inboxOf(site events.Site) string { return subjectInbox + site.String() + "." }

// checkReply refuses a reply that does not go to the inbox of the site that
// asks: otherwise a member could have this site send its answer to a subject
// which only this site may use, such as another member's.
func checkReply(reply string, from events.Site) error {
	id, ok := strings.CutPrefix(reply, inboxOf(from))
	if !ok || len(id) > 20 || strings.Trim(id, "0123456789") != "" {
		return errors.New("the reply is not to go to the asker's inbox")
	}
	return nil
}
