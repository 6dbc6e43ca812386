package rest

import (
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the management API's own. Labels are bounded: call is an
// operationId of openapi.yaml or "none", code a status class.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "perfgate_api_requests_total",
			Help: "Calls of the management API, probes and well-known pages, by call and status class.",
		}, []string{"call", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "perfgate_api_request_duration_seconds",
			Help:    "Time from the head of a management call to its answer.",
			Buckets: []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10},
		}, []string{"call"}),
	}
	return m, errors.Join(r.Register(m.requests), r.Register(m.duration))
}

// untimed stands for a time that is not counted: of a request of no route, or
// of an answer that was cut off.
const untimed = time.Duration(-1)

// count notes one answered call.
func (m *metrics) count(call string, status int, took time.Duration) {
	m.requests.WithLabelValues(call, strconv.Itoa(status/100)+"xx").Inc()
	if took != untimed {
		m.duration.WithLabelValues(call).Observe(took.Seconds())
	}
}
