package proxy

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// metrics are what the proxy tells of itself. Labels are bounded: route is a
// path as configured ("" if none matched), class 1xx to 5xx, code a fault's code.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	denied   *prometheus.CounterVec
	upstream *prometheus.CounterVec
	cut      *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, inFlight, tunnels func() int64) *metrics {
	const space, sub = "perfgate", "proxy"
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: space, Subsystem: sub, Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, f func() int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: space, Subsystem: sub, Name: name, Help: help},
			func() float64 { return float64(f()) })
	}
	m := &metrics{
		requests: counter("requests_total", "Requests by route and class of the status that they were answered with.", "route", "class"),
		denied:   counter("refused_total", "Requests that perfgate answered itself, by route and code.", "route", "code"),
		upstream: counter("upstream_errors_total", "Attempts at an upstream that failed, by route and kind.", "route", "kind"),
		cut:      counter("streams_cut_total", "Long requests ended because their key lost its right, by code.", "code"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: space, Subsystem: sub, Name: "request_duration_seconds",
			Help:    "Time from a request's arrival to the end of its response, tunnels left out.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"route"}),
	}
	if reg != nil {
		reg.MustRegister(m.requests, m.denied, m.upstream, m.cut, m.duration,
			gauge("in_flight_requests", "Requests under way, tunnels among them.", inFlight),
			gauge("tunnels", "Connections that have switched protocols.", tunnels))
	}
	return m
}

// routeCounts are the metrics of one route, looked up once.
type routeCounts struct {
	byClass  [6]prometheus.Counter // by the status's first digit
	duration prometheus.Observer
	timeout  prometheus.Counter
	connect  prometheus.Counter
	broken   prometheus.Counter
}

func (m *metrics) of(route string) *routeCounts {
	c := &routeCounts{
		duration: m.duration.WithLabelValues(route),
		timeout:  m.upstream.WithLabelValues(route, "timeout"),
		connect:  m.upstream.WithLabelValues(route, "connect"),
		broken:   m.upstream.WithLabelValues(route, "broken"),
	}
	for i, class := range []string{"", "1xx", "2xx", "3xx", "4xx", "5xx"} {
		if i > 0 {
			c.byClass[i] = m.requests.WithLabelValues(route, class)
		}
	}
	return c
}

func (c *routeCounts) request(status int, took time.Duration, tunnel bool) {
	if class := status / 100; class >= 1 && class < len(c.byClass) {
		c.byClass[class].Inc()
	}
	if !tunnel {
		c.duration.Observe(took.Seconds())
	}
}

func (c *routeCounts) upstreamError(err error) {
	switch {
	case isTimeout(err):
		c.timeout.Inc()
	case dialing(err):
		c.connect.Inc()
	default:
		c.broken.Inc()
	}
}

func (m *metrics) refused(route string, code fault.Code) {
	m.denied.WithLabelValues(route, string(code)).Inc()
}
