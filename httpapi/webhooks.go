package httpapi

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"registry-node/events"
)

// WebhookEvents says how many events a request about those that a receiver refused
// was about.
type WebhookEvents struct {
	Events int `json:"events"`
}

// routeWebhooks adds the routes about webhooks. All are for administrators.
func (s *Server) routeWebhooks(e *echo.Echo) {
	get(e, "/api/v1/webhooks", s.listWebhooks)
	get(e, "/api/v1/webhooks/:name", s.showWebhook)
	e.PUT("/api/v1/webhooks/:name", s.putWebhook)
	e.DELETE("/api/v1/webhooks/:name", s.deleteWebhook)
	get(e, "/api/v1/webhooks/:name/deliveries", s.webhookDeliveries)
	e.DELETE("/api/v1/webhooks/:name/deliveries", s.dropDeadLetters)
	e.POST("/api/v1/webhooks/:name/retry", s.retryWebhook)
	e.POST("/api/v1/webhooks/:name/test", s.testWebhook)
}

func (s *Server) listWebhooks(c echo.Context) error {
	all, err := s.node.Webhooks(caller(c))
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, struct {
		Webhooks []events.ActiveWebhook `json:"webhooks"`
	}{some(all)})
}

func (s *Server) showWebhook(c echo.Context) error {
	w, err := s.node.Webhook(caller(c), c.Param("name"))
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, w)
}

// putWebhook makes or replaces a webhook: 201 if it is a new one.
func (s *Server) putWebhook(c echo.Context) error {
	var in events.Webhook
	if err := decode(c, &in); err != nil {
		return err
	}
	w, made, err := s.node.PutWebhook(c.Request().Context(), caller(c), c.Param("name"), in)
	return put(c, w, made, err)
}

func (s *Server) deleteWebhook(c echo.Context) error {
	if err := s.node.DeleteWebhook(c.Request().Context(), caller(c), c.Param("name")); err != nil {
		return err
	}
	return noContent(c)
}

// webhookDeliveries answers for this site alone.
func (s *Server) webhookDeliveries(c echo.Context) error {
	d, err := s.node.Deliveries(caller(c), c.Param("name"))
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, d)
}

func (s *Server) dropDeadLetters(c echo.Context) error {
	n, err := s.node.DropDeadLetters(caller(c), c.Param("name"))
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, WebhookEvents{n})
}

// retryWebhook has what waits and what was refused sent again, which is under way
// when the answer is out: 202.
func (s *Server) retryWebhook(c echo.Context) error {
	n, err := s.node.RetryWebhook(caller(c), c.Param("name"))
	if err != nil {
		return err
	}
	return reply(c, http.StatusAccepted, WebhookEvents{n})
}

// testWebhook sends an event and answers with what came of it: 200, also if the
// receiver did not take it.
func (s *Server) testWebhook(c echo.Context) error {
	t, err := s.node.TestWebhook(c.Request().Context(), caller(c), c.Param("name"))
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, t)
}
