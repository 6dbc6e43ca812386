package rest

import (
	"net/http"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/fault"
)

// SetHeaders sets the headers that every answer of the API carries.
func SetHeaders(h http.Header, r *http.Request) {
	h.Set(fault.RequestIDHeader, admit.RequestID(r.Header[fault.RequestIDHeader]))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	if r.TLS != nil {
		h.Set(fault.StrictTransport, fault.StrictTransportValue)
	}
}
