package serve

import (
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

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
	loops := func(name, help string, of func(landed, left int64) int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: "perfgate", Subsystem: "listener", Name: name, Help: help, ConstLabels: labels(""),
		}, func() float64 {
			if s.http.Loops == nil {
				return 0
			}
			return float64(of(s.http.Loops.Counts()))
		})
	}
	return []prometheus.Collector{
		loops("loop_landings_total", "Connections that came to an event loop, each time that they did.", func(landed, _ int64) int64 { return landed }),
		loops("loop_departures_total", "Connections that left an event loop because a request had to wait.", func(_, left int64) int64 { return left }),
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

// fullTexts say what happens at the bounds of connections, by the reasons of the metric.
var fullTexts = map[string]string{
	"address": "an address is at its bound of connections: its own are closed for its new ones",
	"idlest":  "all connections of the listener are taken: the idlest are closed for new ones; raise the open-file limit if these are your clients",
	"request": "all connections of the listener have a request under way: those without a valid key are cut for new ones; raise the open-file limit if these are your clients",
	"refused": "all connections of the listener are taken and none may be closed: new ones get 503; raise the open-file limit, or bound the clients in front of it",
}

// tellFull logs what happens at the bounds of connections, once in a while.
func tellFull(log *slog.Logger) func(addr net.Addr, reason string, n int) {
	line := seldom{log: log}
	return func(addr net.Addr, reason string, n int) { line.say(fullTexts[reason], addr, reason, n, time.Now()) }
}

// malformedCounter counts malformed requests, in as many series as h1 has reasons.
func malformedCounter(listener string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "perfgate", Subsystem: "listener", Name: "malformed_requests_total", ConstLabels: prometheus.Labels{"listener": listener},
		Help: "Requests that were refused because their head or body is malformed, by reason. Over HTTP/2, those that break the protocol itself are in http2_errors_total.",
	}, []string{"reason"})
}
