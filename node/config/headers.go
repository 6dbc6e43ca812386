package config

import (
	"net/http"
	"strings"
)

// framing reports whether a header frames a message or belongs to one connection, or is
// perfgate's own: it never reaches a reader as it was sent.
func framing(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Host", "Content-Length", "Transfer-Encoding", "Connection", "Proxy-Connection", "Keep-Alive",
		"Te", "Trailer", "Upgrade", "Expect", "X-Request-Id":
		return true
	}
	return strings.HasPrefix(strings.ToLower(name), "x-perf-")
}

// taken reports whether clients and proxies send a header with other content than a key.
func taken(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Content-Encoding", "Content-Type", "Cookie", "Date",
		"Forwarded", "Idempotency-Key", "If-Match", "If-None-Match", "Origin", "Range", "Referer", "User-Agent", "Via", "X-Real-Ip":
		return true
	}
	return strings.HasPrefix(strings.ToLower(name), "x-forwarded-")
}
