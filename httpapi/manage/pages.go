package manage

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
)

// Pages serves the probes and the well-known pages.
type Pages struct {
	Ready       func() error // nil when the node should get traffic; see [Node]
	SecurityTxt SecurityTxt
	OpenAPI     []byte // the description of the API, YAML
	Metrics     http.Handler
	MetricsOpen bool // metrics need no credential: the admin listener is on loopback
}

// health is the answer of the probes.
type health struct {
	Status string  `json:"status"` // ok, unavailable
	Reason *string `json:"reason"`
}

// Livez reports that the process answers, and nothing else.
func (h *Pages) Livez(c *rest.Call) error { return c.Answer(health{Status: "ok"}) }

// Readyz reports whether this node should get traffic.
func (h *Pages) Readyz(c *rest.Call) error {
	err := h.Ready()
	if err == nil {
		return c.Answer(health{Status: "ok"})
	}
	c.Status = http.StatusServiceUnavailable
	return c.Answer(health{"unavailable", new(err.Error())})
}

// Starting answers for a node that is still being assembled: the probes as ever,
// everything else with 503. The answers give why as the reason, unless it is "": then the node
// waits for other nodes to form or join a cluster, and a write lacks a leader. Only clients of
// the admin listener are told.
func Starting(w http.ResponseWriter, r *http.Request, why string) {
	rest.SetHeaders(w.Header(), r)
	reason, message, code := "starting", "The node is starting.", fault.Unavailable
	if why = apikey.Mask(why); why != "" {
		reason, message = "starting: "+why, "The node is starting: "+why+"."
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			code = fault.NoLeader
		}
	}
	answer, status := health{"unavailable", &reason}, http.StatusServiceUnavailable
	switch r.URL.Path {
	case "/livez":
		answer, status = health{Status: "ok"}, http.StatusOK
	case "/readyz":
	default:
		admit.WriteFault(w, r, &fault.Error{Code: code, RetryAfter: 1, Message: message})
		return
	}
	fault.Linger(w, r)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.MarshalWrite(w, answer) // a client that has gone needs no answer
}

// Security shows security.txt, where there is one.
func (h *Pages) Security(c *rest.Call) error {
	text, ok := h.SecurityTxt.text(c.Now)
	if !ok {
		return fault.New(fault.NotFound)
	}
	return c.AnswerAs("text/plain; charset=utf-8", []byte(text))
}

// Description shows the description of the API.
func (h *Pages) Description(c *rest.Call) error {
	return c.AnswerAs("application/yaml", h.OpenAPI)
}

// ReadMetrics serves every client on loopback that asked for a loopback name: a
// page in a browser on this machine can have its own name resolve to loopback, and
// read the answer as its own (DNS rebinding).
func (h *Pages) ReadMetrics(c *rest.Call) error {
	if h.MetricsOpen && !namesLoopback(c.Request.Host) && c.Operator().ID == "" {
		return fault.Newf(fault.MissingKey, "Ask for /metrics at localhost or at an IP address, or send an operator token.")
	}
	h.Metrics.ServeHTTP(c.Writer(), c.Request)
	return nil
}

// namesLoopback holds for a Host that no DNS server can have answered for.
func namesLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || strings.EqualFold(host, "localhost")
}
