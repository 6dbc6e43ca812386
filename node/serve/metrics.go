package serve

import "github.com/prometheus/client_golang/prometheus"

// Collectors are the metrics of the listener's connections, labelled with its name.
func (s *Server) Collectors() []prometheus.Collector {
	labels := func(reason string) prometheus.Labels {
		l := prometheus.Labels{"listener": s.cfg.Name}
		if reason != "" {
			l["reason"] = reason
		}
		return l
	}
	closed := func(reason string, of func(connCounts) int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: "perfgate", Subsystem: "listener", Name: "connections_closed_total", ConstLabels: labels(reason),
			Help: "Connections that were closed for newcomers (address: theirs was at its bound; idlest: all were taken; request: all had a request under way, theirs without a valid key and from an address with many), and newcomers that found none to be closed (refused).",
		}, func() float64 {
			_, counts := s.conns.open()
			return float64(of(counts))
		})
	}
	return []prometheus.Collector{
		s.malformed,
		s.http2.faults,
		s.http2.ended,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "perfgate", Subsystem: "listener", Name: "connections", Help: "Open connections of clients.", ConstLabels: labels(""),
		}, func() float64 {
			open, _ := s.conns.open()
			return float64(open)
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "perfgate", Subsystem: "listener", Name: "connections_max", Help: "Bound of open connections of clients.", ConstLabels: labels(""),
		}, func() float64 { return float64(s.conns.max) }),
		closed("address", func(c connCounts) int64 { return c.crowded }),
		closed("idlest", func(c connCounts) int64 { return c.idlest }),
		closed("request", func(c connCounts) int64 { return c.cut }),
		closed("refused", func(c connCounts) int64 { return c.refused }),
	}
}

// malformedCounter counts malformed requests, in as many series as h1 has reasons.
func malformedCounter(listener string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "perfgate", Subsystem: "listener", Name: "malformed_requests_total", ConstLabels: prometheus.Labels{"listener": listener},
		Help: "Requests that were refused because their head or body is malformed, by reason. Over HTTP/2, those that break the protocol itself are in http2_errors_total.",
	}, []string{"reason"})
}
