package httpapi

import (
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"registry-node/events"
	"registry-node/node"
	"registry-node/node/access"
)

// routeIdentities adds the routes about users, groups, rules and tokens.
func (s *Server) routeIdentities(e *echo.Echo) {
	get(e, "/api/v1/whoami", s.whoAmI)
	get(e, "/api/v1/users", s.listUsers)
	get(e, "/api/v1/users/:name", s.showUser)
	e.PUT("/api/v1/users/:name", s.putUser)
	e.DELETE("/api/v1/users/:name", s.deleteUser)
	get(e, "/api/v1/groups", s.listGroups)
	e.PUT("/api/v1/groups/:name", s.putGroup)
	e.DELETE("/api/v1/groups/:name", s.deleteGroup)
	get(e, "/api/v1/permissions", s.listPermissions)
	get(e, "/api/v1/permissions/check", s.checkAccess)
	get(e, "/api/v1/permissions/:name", s.showPermission)
	e.PUT("/api/v1/permissions/:name", s.putPermission)
	e.DELETE("/api/v1/permissions/:name", s.deletePermission)
	get(e, "/api/v1/tokens", s.listTokens)
	e.POST("/api/v1/tokens", s.issueToken)
	e.DELETE("/api/v1/tokens/:id", s.revokeToken)
}

// whoAmI answers who the caller is.
func (s *Server) whoAmI(c echo.Context) error {
	return reply(c, http.StatusOK, s.node.WhoAmI(caller(c)))
}

// listUsers answers with a page of the users that the caller may manage.
func (s *Server) listUsers(c echo.Context) error {
	_, page, err := paged(c)
	if err != nil {
		return err
	}
	users, next, err := s.node.Users(caller(c), page)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, struct {
		Users []node.UserInfo `json:"users"`
		Next  string          `json:"next,omitempty"`
	}{some(users), next})
}

// paged returns the parameters of a request for a list that comes in pages: those
// known, and where the page is.
func paged(c echo.Context, known ...string) (params map[string]string, p node.Page, err error) {
	if params, err = query(c, append(known, "after", "limit")...); err != nil {
		return nil, p, err
	}
	p.After = params["after"]
	if limit, ok := params["limit"]; ok {
		if p.Limit, err = strconv.Atoi(limit); err != nil || p.Limit < 1 {
			return nil, p, fail(node.ErrInvalid, "limit is "+quote(limit)+", not a number from 1 on")
		}
	}
	return params, p, nil
}

// showUser answers with one user.
func (s *Server) showUser(c echo.Context) error {
	info, err := s.node.User(caller(c), c.Param("name"))
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, info)
}

// putUser makes a user, or changes what the body names of one.
func (s *Server) putUser(c echo.Context) error {
	var change node.UserChange
	if err := decode(c, &change); err != nil {
		return err
	}
	info, made, err := s.node.PutUser(c.Request().Context(), caller(c), c.Param("name"), change)
	return put(c, info, made, err)
}

// put answers with what was made, or changed.
func put(c echo.Context, v any, made bool, err error) error {
	switch {
	case err != nil:
		return err
	case made:
		return reply(c, http.StatusCreated, v)
	}
	return reply(c, http.StatusOK, v)
}

// deleteUser ends a user.
func (s *Server) deleteUser(c echo.Context) error {
	if err := s.node.DeleteUser(c.Request().Context(), caller(c), c.Param("name")); err != nil {
		return err
	}
	return noContent(c)
}

// listGroups answers with the groups that the caller may manage or is in.
func (s *Server) listGroups(c echo.Context) error {
	groups, err := s.node.Groups(caller(c))
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, struct {
		Groups []node.Group `json:"groups"`
	}{some(groups)})
}

// putGroup makes a group, or changes who is in it.
func (s *Server) putGroup(c echo.Context) error {
	var change node.GroupChange
	if err := decode(c, &change); err != nil {
		return err
	}
	if change.Members == nil && len(change.Add)+len(change.Remove) == 0 {
		return fail(node.ErrInvalid, "the body names no members, and nobody to add or to remove")
	}
	group, made, err := s.node.PutGroup(c.Request().Context(), caller(c), c.Param("name"), change)
	return put(c, group, made, err)
}

// deleteGroup ends a group.
func (s *Server) deleteGroup(c echo.Context) error {
	if err := s.node.DeleteGroup(c.Request().Context(), caller(c), c.Param("name")); err != nil {
		return err
	}
	return noContent(c)
}

// listPermissions answers with the rules that the caller may manage.
func (s *Server) listPermissions(c echo.Context) error {
	rules, err := s.node.Permissions(caller(c))
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, struct {
		Permissions []events.Rule `json:"permissions"`
	}{some(rules)})
}

// showPermission answers with one rule.
func (s *Server) showPermission(c echo.Context) error {
	rule, err := s.node.Permission(caller(c), c.Param("name"))
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, rule)
}

// putPermission makes a rule, or replaces it.
func (s *Server) putPermission(c echo.Context) error {
	var g events.Grant
	if err := decode(c, &g); err != nil {
		return err
	}
	rule, made, err := s.node.PutPermission(c.Request().Context(), caller(c), c.Param("name"), g)
	return put(c, rule, made, err)
}

// deletePermission ends a rule.
func (s *Server) deletePermission(c echo.Context) error {
	if err := s.node.DeletePermission(c.Request().Context(), caller(c), c.Param("name")); err != nil {
		return err
	}
	return noContent(c)
}

// checkAccess answers whether somebody may do something, and by which rule.
func (s *Server) checkAccess(c echo.Context) error {
	params, err := query(c, "user", "action", "repo", "module")
	if err != nil {
		return err
	}
	action, err := access.ParseAction(params["action"])
	if err != nil {
		return invalid(err)
	}
	a, err := s.node.CheckAccess(caller(c), node.AccessQuestion{User: params["user"], Action: action, Repo: params["repo"], Module: params["module"]})
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, a)
}

// listTokens answers with a page of tokens.
func (s *Server) listTokens(c echo.Context) error {
	params, page, err := paged(c, "user", "all")
	if err != nil {
		return err
	}
	q := node.TokenQuery{User: params["user"], Page: page}
	if all, ok := params["all"]; ok {
		if q.All, err = strconv.ParseBool(all); err != nil {
			return fail(node.ErrInvalid, "all is "+quote(all)+", neither true nor false")
		}
	}
	tokens, next, err := s.node.Tokens(caller(c), q)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, struct {
		Tokens []node.TokenInfo `json:"tokens"`
		Next   string           `json:"next,omitempty"`
	}{some(tokens), next})
}

// issueToken issues a token. The answer holds a secret.
func (s *Server) issueToken(c echo.Context) error {
	var t node.NewToken
	if err := decode(c, &t); err != nil {
		return err
	}
	issued, err := s.node.IssueToken(c.Request().Context(), caller(c), t)
	if err != nil {
		return err
	}
	auditOf(c).issued(issued.User, issued.ID)
	return reply(c, http.StatusCreated, issued)
}

// revokeToken ends a token for ever.
func (s *Server) revokeToken(c echo.Context) error {
	params, err := query(c, "reason")
	if err != nil {
		return err
	}
	if err := s.node.RevokeToken(c.Request().Context(), caller(c), c.Param("id"), params["reason"]); err != nil {
		return err
	}
	return noContent(c)
}
