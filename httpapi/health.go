package httpapi

import (
	_ "embed"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// openAPI describes the API; it is served as it is.
//
//go:embed openapi.yaml
var openAPI []byte

// OpenAPI returns the description of the API (OpenAPI 3.1, YAML).
func OpenAPI() []byte { return openAPI }

// health is the answer of the probes.
type health struct {
	Status string  `json:"status"` // ok, unavailable
	Reason *string `json:"reason"`
}

// livez says that the process answers, and nothing else.
func livez(c *call) error { return c.answer(health{Status: "ok"}) }

// Starting answers for a node that is still being assembled: the probes in
// their own words, everything else with 503. why is told too; "" is nothing.
func Starting(w http.ResponseWriter, r *http.Request, why string) {
	stamp(w.Header(), r)
	reason, message := "starting", "The node is starting."
	if why != "" {
		reason, message = "starting: "+why, "The node is starting: "+why+"."
	}
	answer, status := health{"unavailable", &reason}, http.StatusServiceUnavailable
	switch r.URL.Path {
	case "/livez":
		answer, status = health{Status: "ok"}, http.StatusOK
	case "/readyz":
	default:
		fault.Write(w, r, &fault.Error{Code: fault.Unavailable, RetryAfter: 1, Message: message})
		return
	}
	fault.Linger(w, r)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.MarshalWrite(w, answer) // a client that has gone needs no answer
}

// readyz says whether this node should get traffic.
func readyz(c *call) error {
	err := c.Backend.Ready()
	if err == nil {
		return c.answer(health{Status: "ok"})
	}
	c.status = http.StatusServiceUnavailable
	return c.answer(health{"unavailable", new(err.Error())})
}

// namesLoopback holds for a Host that no DNS server can have answered for.
func namesLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || strings.EqualFold(host, "localhost")
}

func describe(c *call) error {
	c.w.Header().Set("Content-Type", "application/yaml")
	c.w.Write(openAPI)
	return nil
}

// readMetrics serves them to anybody on loopback, if that is the name that was
// asked: a page in a browser on this machine can have its own name lead here, and
// read the answer as its own (DNS rebinding).
func readMetrics(c *call) error {
	if c.MetricsOpen && !namesLoopback(c.r.Host) && c.operator() == "" {
		return fault.Newf(fault.MissingKey, "Ask for /metrics at localhost or at an IP address, or send an operator token.")
	}
	c.prom.ServeHTTP(c.w, c.r)
	return nil
}
