package httpapi

import (
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"registry-node/node"
)

// invalid makes an ErrInvalid of an error whose text is fit to be told.
func invalid(err error) error {
	return &node.Error{Kind: node.ErrInvalid, Text: err.Error(), Err: err}
}

// query returns the parameters after the ? of a request. Others than the known
// ones, and the same one twice, are errors.
func query(c echo.Context, known ...string) (map[string]string, error) {
	values, err := url.ParseQuery(c.Request().URL.RawQuery)
	if err != nil {
		return nil, invalid(err)
	}
	params := map[string]string{}
	for name, v := range values {
		if !slices.Contains(known, name) {
			return nil, fail(node.ErrInvalid, "unknown parameter "+quote(name)+"; known are: "+strings.Join(known, ", "))
		}
		if len(v) > 1 {
			return nil, fail(node.ErrInvalid, "the parameter "+name+" is given more than once")
		}
		params[name] = v[0]
	}
	auditOf(c).asked(params)
	return params, nil
}
