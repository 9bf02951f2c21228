package httpapi

import "net/http"

// Values of headers that never change. A header map may hold one slice for many
// answers, as nobody changes it in place.
var (
	nosniff    = []string{"nosniff"}
	noReferrer = []string{"no-referrer"}
	// nothingRuns is for everything that is no page: a browser that is led here
	// runs nothing, loads nothing and shows it in no frame.
	nothingRuns = []string{"default-src 'none'; frame-ancestors 'none'"}
	sameOrigin  = []string{"same-origin"}
	onlyTLS     = []string{"max-age=15552000"} // 180 days
	attachment  = []string{"attachment"}
	hangUp      = []string{"close"}
	readsOnly   = []string{"GET, HEAD"}
)

// harden sets the headers that each answer has. Handlers may set others instead.
func (s *Server) harden(h http.Header, r *http.Request) {
	h["X-Content-Type-Options"] = nosniff
	h["Referrer-Policy"] = noReferrer
	h["Content-Security-Policy"] = nothingRuns
	h["Cross-Origin-Resource-Policy"] = sameOrigin
	if r.TLS != nil && s.hsts() || s.proxiedTLS(r) {
		h["Strict-Transport-Security"] = onlyTLS
	}
	if r.TransferEncoding != nil {
		// It may have had a Content-Length, too, which net/http drops without a word:
		// somebody between might have taken that for the end of the request. So what
		// follows on this connection is nobody's (RFC 9112, section 6.1).
		h["Connection"] = hangUp
	}
}
