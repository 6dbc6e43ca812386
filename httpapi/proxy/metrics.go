package proxy

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/h1"
)

// metrics are the metrics of the proxy. Labels are bounded: route is a path as
// configured ("" if none matched), upstream a URL as configured, class 1xx to 5xx,
// code a fault's code.
type metrics struct {
	requests    *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	denied      *prometheus.CounterVec
	upstream    *prometheus.CounterVec
	cut         *prometheus.CounterVec
	badCosts    *prometheus.CounterVec
	wouldRefuse *prometheus.CounterVec
	attempts    *prometheus.CounterVec
	answers     *prometheus.HistogramVec
}

// buckets bound the times of requests and of answers, in seconds.
var buckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

func newMetrics(reg prometheus.Registerer, p *Proxy) *metrics {
	const space, sub = "perfgate", "proxy"
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: space, Subsystem: sub, Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, f func() int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: space, Subsystem: sub, Name: name, Help: help},
			func() float64 { return float64(f()) })
	}
	m := &metrics{
		requests:    counter("requests_total", "Requests by route and class of the status that they were answered with.", "route", "class"),
		denied:      counter("refused_total", "Requests that perfgate answered itself, by route and code.", "route", "code"),
		upstream:    counter("upstream_errors_total", "Attempts at an upstream that failed, by route and kind.", "route", "kind"),
		badCosts:    counter("cost_errors_total", "Responses whose cost is no amount, an absurd one, or above the bound on the call, by route.", "route"),
		wouldRefuse: counter("would_refuse_total", "Requests that a shadow limit rule would have refused, by route.", "route"),
		cut:         counter("streams_cut_total", "Long requests ended because their key lost its right, or a reload their route, by code.", "code"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: space, Subsystem: sub, Name: "request_duration_seconds",
			Help:    "Time from a request's arrival to the end of its response, tunnels left out.",
			Buckets: buckets,
		}, []string{"route"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: space, Subsystem: "upstream", Name: "requests_total",
			Help: "Attempts at an upstream, by the class of the status that it answered with; \"none\" without an answer.",
		}, []string{"route", "upstream", "class"}),
		answers: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: space, Subsystem: "upstream", Name: "response_seconds",
			Help:    "Time from the beginning of an attempt at an upstream to the head of its answer.",
			Buckets: buckets,
		}, []string{"route", "upstream"}),
	}
	if reg != nil {
		reg.MustRegister(m.requests, m.denied, m.upstream, m.cut, m.badCosts, m.wouldRefuse, m.duration, m.attempts, m.answers,
			upstreamStates{p},
			gauge("in_flight_requests", "Requests under way, tunnels among them.", p.inFlight.Load),
			gauge("spliced_bodies", "Bodies that the kernel moves without copying them, at most 32.", h1.Splicing),
			gauge("tunnels", "Connections that have switched protocols.", p.tunnels.Load))
	}
	return m
}

// classes are the classes of statuses by their first digit.
var classes = [...]string{"", "1xx", "2xx", "3xx", "4xx", "5xx"}

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
	for i, class := range classes {
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

// upstreamCounts are the metrics of one upstream of one route, looked up once.
type upstreamCounts struct {
	byClass [6]prometheus.Counter // by the status's first digit
	failed  prometheus.Counter
	head    prometheus.Observer
}

func (m *metrics) ofUpstream(route, upstream string) *upstreamCounts {
	c := &upstreamCounts{
		failed: m.attempts.WithLabelValues(route, upstream, "none"),
		head:   m.answers.WithLabelValues(route, upstream),
	}
	for i, class := range classes {
		if i > 0 {
			c.byClass[i] = m.attempts.WithLabelValues(route, upstream, class)
		}
	}
	return c
}

// answered counts an attempt that the upstream has answered after took.
func (c *upstreamCounts) answered(status int, took time.Duration) {
	if class := status / 100; class >= 1 && class < len(c.byClass) {
		c.byClass[class].Inc()
	}
	c.head.Observe(took.Seconds())
}

// forget drops the metrics of upstreams that are in old and not in next: however
// often the configuration is reloaded, there are those of one.
func (m *metrics) forget(old, next *live) {
	kept := map[[2]string]bool{}
	for _, l := range next.lanes {
		for _, u := range l.upstreams {
			kept[[2]string{l.route.rule.Route, u.name}] = true
		}
	}
	for _, l := range old.lanes {
		for _, u := range l.upstreams {
			if route := l.route.rule.Route; !kept[[2]string{route, u.name}] {
				labels := prometheus.Labels{"route": route, "upstream": u.name}
				m.attempts.DeletePartialMatch(labels)
				m.answers.DeletePartialMatch(labels)
			}
		}
	}
}

// upstreamStates collects which of the upstreams in use are up. Routes that differ
// in host or method alone have the same label: there, one that is down counts.
type upstreamStates struct{ p *Proxy }

var upstreamUp = prometheus.NewDesc("perfgate_upstream_up",
	"0 after three failed attempts in a row, until the upstream answers again; otherwise 1.", []string{"route", "upstream"}, nil)

// Describe implements [prometheus.Collector].
func (s upstreamStates) Describe(out chan<- *prometheus.Desc) { out <- upstreamUp }

// Collect implements [prometheus.Collector].
func (s upstreamStates) Collect(out chan<- prometheus.Metric) {
	up := map[[2]string]float64{}
	for _, l := range s.p.live.Load().lanes {
		for _, u := range l.upstreams {
			key := [2]string{l.route.rule.Route, u.name}
			if _, known := up[key]; !known {
				up[key] = 1
			}
			if u.isDown() {
				up[key] = 0
			}
		}
	}
	for key, v := range up {
		out <- prometheus.MustNewConstMetric(upstreamUp, prometheus.GaugeValue, v, key[0], key[1])
	}
}
