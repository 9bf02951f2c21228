package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"registry-node/events"
	"registry-node/node/upstream"
)

const (
	// webhookTimeout bounds a request to a receiver, its answer included.
	webhookTimeout = 30 * time.Second
	// answerTime bounds the wait for the body of an answer, which changes nothing.
	answerTime = 2 * time.Second
	// maxAnswer is how much is read of it, in bytes, and maxAnswerText how much is
	// kept.
	maxAnswer, maxAnswerText = 4 << 10, 500
	// maxAnswerHeader bounds the header of an answer, in bytes.
	maxAnswerHeader = 64 << 10
	// maxRetryAfter bounds for how long a receiver may have a webhook wait.
	maxRetryAfter = time.Hour
)

// webhookOptions are those of tests.
type webhookOptions struct {
	roots   *x509.CertPool // that receivers may be certified by
	backoff time.Duration  // before the second try, in place of a second
	timeout time.Duration  // in place of webhookTimeout
}

// newWebhookClient returns what speaks to receivers. It follows no redirects and
// goes through no proxy. The address is judged when it is dialed: a receiver may be
// inside the network, as who names it is an administrator of the registry, but is
// no address at which clouds hand out the keys of a machine.
func newWebhookClient(o webhookOptions) *http.Client {
	d := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	d.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err == nil && upstream.Inside(nil).CheckConfigured(ap.Addr()) != nil {
			err = fmt.Errorf("no webhook is sent to %s: it is link-local, a metadata service of a cloud, or no address of a machine", ap.Addr())
		}
		return err
	}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: d.DialContext, ForceAttemptHTTP2: true, DisableCompression: true,
			TLSClientConfig:     &tls.Config{RootCAs: o.roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 90 * time.Second,
			MaxIdleConns: 2 * maxWebhooks, MaxIdleConnsPerHost: hookTurns, MaxResponseHeaderBytes: maxAnswerHeader,
		},
	}
}

// hookVerdict is what an answer means for the event that was sent.
type hookVerdict int

const (
	again    hookVerdict = iota // it is to be sent again, for as long as it takes
	taken                       // the receiver has it
	unwanted                    // the receiver does not want it
)

// attempt is what came of sending an event once.
type attempt struct {
	verdict hookVerdict
	status  int           // of the answer; 0 if there was none
	problem string        // why it was not taken; with nothing that the receiver said, and nothing of the URL
	answer  string        // what the receiver said, for administrators only
	wait    time.Duration // how long the receiver asks to be left alone
	unasked bool          // the receiver was not asked, for want of the secret
}

// send sends an event to a receiver, signed with the secret that this site has for
// it.
func (w *webhooks) send(ctx context.Context, to events.Webhook, id string, body []byte) attempt {
	key, err := w.node.secrets.webhookKey(to.Secret)
	if err != nil {
		return attempt{problem: err.Error(), unasked: true}
	}
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.URL, bytes.NewReader(body))
	if err != nil {
		return attempt{problem: "its URL can't be used"} // the error would show it
	}
	now := time.Now()
	for name, value := range map[string]string{
		"Content-Type": "application/cloudevents+json", "User-Agent": "registry-node/" + w.node.opts.Version,
		"webhook-id": id, "webhook-timestamp": strconv.FormatInt(now.Unix(), 10), "webhook-signature": key.sign(id, now, body),
	} {
		req.Header.Set(name, value)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return attempt{problem: "the receiver gave no answer: " + withoutURL(err, req.URL)}
	}
	defer resp.Body.Close()
	s := attempt{verdict: judge(resp.StatusCode), status: resp.StatusCode, wait: retryAfterOf(resp.Header, now)}
	stop := time.AfterFunc(answerTime, cancel)
	defer stop.Stop()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // the status counts, whatever comes of the body
	s.answer = clip(printable(string(text)), maxAnswerText)
	if s.verdict != taken {
		s.problem = strings.TrimSpace(fmt.Sprintf("the receiver answered %d %s", s.status, http.StatusText(s.status)))
	}
	return s
}

// judge says what the status of an answer means. Those that a later try may change
// are tried again; redirects are not followed, and refuse it.
func judge(status int) hookVerdict {
	switch {
	case status >= 200 && status < 300:
		return taken
	case status >= 500, status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests:
		return again
	}
	return unwanted
}

// retryAfterOf returns how long a receiver asks to be left alone (RFC 9110, 10.2.3).
func retryAfterOf(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	wait := time.Duration(0)
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}

// withoutURL returns why a request failed without its URL, of which path and query
// may hold what only administrators may see, also where the receiver repeats them.
func withoutURL(err error, u *url.URL) string {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	text := err.Error()
	switch secret := func(s string) bool { return len(s) > 1 && strings.Contains(text, s) }; {
	case errors.Is(err, context.DeadlineExceeded):
		return "it took too long"
	case secret(u.Path), secret(u.EscapedPath()), secret(u.RawQuery):
		return "what it sent is no HTTP"
	}
	return clip(printable(text), maxAnswerText)
}
