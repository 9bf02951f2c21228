package httpapi

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net"
	"net/http"

	"github.com/labstack/echo/v4"
	"golang.org/x/mod/module"

	"registry-node/node"
)

// actions are the names under which the audit log has the requests to the routes
// that change something. There is one for each.
var actions = map[string]string{
	"POST /api/v1/repos":                    "repo.create",
	"PATCH /api/v1/repos/:repo":             "repo.change",
	"DELETE /api/v1/repos/:repo":            "repo.delete",
	"POST /api/v1/repos/:repo/restore":      "repo.restore",
	"POST /api/v1/repos/:repo/refresh":      "repo.refresh",
	"DELETE /api/v1/repos/:repo/cached":     "repo.clean",
	"POST /api/v1/repos/:repo/times":        "repo.dates",
	"POST /api/v1/repos/:repo/settle":       "settle",
	"PUT /api/v1/repos/:repo/modules/*":     "publish",
	"POST /api/v1/repos/:repo/publications": "publish",
	"POST /api/v1/blocks":                   "block",
	"DELETE /api/v1/blocks":                 "unblock",
	"POST /api/v1/purges":                   "purge",
	"POST /api/v1/sites":                    "invite",
	"DELETE /api/v1/sites/:site":            "site.remove",
	"POST /api/v1/leave":                    "leave",
	"POST /api/v1/homes":                    "home.move",
	"POST /api/v1/epoch":                    "epoch",
	"PUT /api/v1/offline":                   "offline",
	"POST /api/v1/verify":                   "verify",
	"POST /api/v1/rebuild":                  "rebuild",
	"PUT /api/v1/users/:name":               "user.put",
	"DELETE /api/v1/users/:name":            "user.delete",
	"PUT /api/v1/groups/:name":              "group.put",
	"DELETE /api/v1/groups/:name":           "group.delete",
	"PUT /api/v1/permissions/:name":         "permission.put",
	"DELETE /api/v1/permissions/:name":      "permission.delete",
	"POST /api/v1/tokens":                   "token.issue",
	"DELETE /api/v1/tokens/:id":             "token.revoke",
	"POST /api/v1/oidc/exchange":            "token.exchange",
	"PUT /api/v1/issuers/:name":             "issuer.put",
	"DELETE /api/v1/issuers/:name":          "issuer.delete",
	"DELETE /api/v1/repos/:repo/modules/*":  "hide",
	"PUT /artifactory/api/storage/*":        "properties.set",
	"DELETE /artifactory/api/storage/*":     "properties.remove",
	"PUT /artifactory/api/build":            "build.record",
	"POST /artifactory/api/build/delete":    "build.delete",

	"POST /artifactory/api/build/retention/*": "build.discard",

	// As an Artifactory has them.
	"POST /artifactory/api/security/token": "token.exchange",
	"PUT /artifactory/api/go/*":            "publish",
	"PUT /artifactory/*":                   "publish",
	"DELETE /artifactory/*":                "hide",

	"PUT /api/v1/repos/:repo/imports/*":        "import",
	"POST /api/v1/repos/:repo/imports/missing": "import.missing",

	"PUT /api/v1/webhooks/:name":               "webhook.put",
	"DELETE /api/v1/webhooks/:name":            "webhook.delete",
	"POST /api/v1/webhooks/:name/retry":        "webhook.retry",
	"POST /api/v1/webhooks/:name/test":         "webhook.test",
	"DELETE /api/v1/webhooks/:name/deliveries": "webhook.drop",
}

// audited has what a route changes written into the audit log. The line is begun
// here, filled by handlers and by failed, and written when the answer is out.
func (s *Server) audited(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		action, ok := actions[r.Method+" "+c.Path()]
		if !ok {
			return next(c)
		}
		w := c.Response().Writer.(*writer)
		a := &Audit{Request: rand.Text(), Action: action, Repo: c.Param("repo"), Name: cmp.Or(c.Param("site"), c.Param("name"), c.Param("id"))}
		w.audit, w.begun = a, *a
		w.Header()[RequestHeader] = []string{a.Request}
		ctx, receipt := node.WithReceipt(r.Context(), a.Request)
		w.receipt = receipt
		c.SetRequest(r.WithContext(ctx))
		return next(c)
	}
}

// auditOf returns the line of the audit log that a handler may fill. It is written
// only if the route has an action.
func auditOf(c echo.Context) *Audit {
	if a := c.Response().Writer.(*writer).audit; a != nil {
		return a
	}
	return &Audit{}
}

// said takes from the JSON of a body what a line says of what it is about, and
// nothing else of it.
func (a *Audit) said(body []byte) {
	var b struct {
		Name    string `json:"name"`
		User    string `json:"user"`
		Issuer  string `json:"issuer"`
		To      string `json:"to"`
		Repo    string `json:"repository"`
		Module  string `json:"module"`
		Version string `json:"version"`
		Reason  string `json:"reason"`
	}
	if a.Action == "" {
		return
	}
	_ = json.Unmarshal(body, &b) // a field of another type stays empty
	a.Name, a.Repo = cmp.Or(a.Name, b.Name, b.User, b.Issuer, b.To), cmp.Or(a.Repo, b.Repo)
	a.Module, a.Version, a.Reason = b.Module, b.Version, b.Reason
	if a.Action == "repo.create" {
		a.Name, a.Repo = "", b.Name
	}
}

// issued says which token of whom was made: by its id.
func (a *Audit) issued(user, id string) { a.Name = user + "/" + id }

// about says which version a line is about.
func (a *Audit) about(v module.Version) { a.Module, a.Version = v.Path, v.Version }

// asked takes the same from the parameters of a request.
func (a *Audit) asked(params map[string]string) {
	a.Module, a.Version = cmp.Or(a.Module, params["module"]), cmp.Or(a.Version, params["version"])
	a.Reason = cmp.Or(a.Reason, params["reason"])
}

// loginFailed makes the request one that is written as a failed login, and as
// nothing else, if that is what err says.
func (s *Server) loginFailed(c echo.Context, err error) {
	if !errors.Is(err, node.ErrUnauthorized) && !errors.Is(err, errThrottled) {
		return
	}
	w, r := c.Response().Writer.(*writer), c.Request()
	a := &Audit{Action: loginFailed, Name: r.Method + " " + c.Path()} // the path as it is routed, not as it is asked for
	if w.audit != nil {
		a.Request = w.audit.Request
	}
	w.audit = a
	shown, _ := credential(r)
	if t, ok := shown.Token(); ok {
		a.Token = t.ID()
	}
	if user, _, ok := shown.Password(); ok && s.node.HasUser(user) {
		a.Name = user + loginUserEnd + a.Name
	}
	w.begun = *a
}

// noteAudit writes the line of a request whose answer is out, or was cut.
func (s *Server) noteAudit(w *writer, r *http.Request, cut bool) {
	a := w.audit
	if a == nil {
		return
	}
	a.Status = cmp.Or(w.status, http.StatusOK)
	a.Outcome = outcomeOf(a.Status)
	if cut || a.Code != "" && a.Outcome == outcomeDone { // the answer had begun when it failed
		a.Outcome = outcomeFailed
	}
	if a.Code == throttledCode { // below /go/ the status is a 503
		a.Outcome = outcomeRefused
	}
	if at := w.receipt.At(); !at.Mark.IsZero() {
		a.Position = at.String()
	}
	s.whoAndWhere(a, w, r)
	if !a.isSummed(w.who) {
		s.noteEach(a, w.versions)
		return
	}
	// What anybody wrote into a body or parameters is not repeated.
	a.Repo, a.Name, a.Module, a.Version, a.Reason = w.begun.Repo, w.begun.Name, "", "", ""
	s.audit.summed(*a)
}

// noteEach writes the line, or one for each of versions.
func (s *Server) noteEach(a *Audit, versions []module.Version) {
	if len(versions) == 0 {
		s.audit.note(*a)
	}
	for _, v := range versions {
		a.about(v)
		s.audit.note(*a)
	}
}

// whoAndWhere says who asked, from where, and which node.
func (s *Server) whoAndWhere(a *Audit, w *writer, r *http.Request) {
	a.Site = s.node.Site().String()
	if w.who != nil {
		a.Actor, a.Token = w.who.Name(), w.who.TokenID()
	}
	a.Client = clientName(w.client)
	if addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && addr.Network() == "tcp" {
		a.Node = addr.String()
	}
}
