package httpapi

import (
	_ "embed"
	"net/http"
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

// readyz says whether this node should get traffic.
func readyz(c *call) error {
	err := c.Backend.Ready()
	if err == nil {
		return c.answer(health{Status: "ok"})
	}
	c.status = http.StatusServiceUnavailable
	return c.answer(health{"unavailable", new(err.Error())})
}

func readCluster(c *call) (any, error) {
	if q := c.query(); q.err != nil {
		return nil, q.err
	}
	s := c.Backend.Cluster()
	return s, nil
}

func describe(c *call) error {
	c.w.Header().Set("Content-Type", "application/yaml")
	c.w.Write(openAPI)
	return nil
}

func readMetrics(c *call) error {
	c.prom.ServeHTTP(c.w, c.r)
	return nil
}
