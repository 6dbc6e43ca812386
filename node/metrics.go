package node

import (
	"regexp"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// collected are the figures of the Go runtime from which an operator reads the
// collector's share of the processor, gc/total of total less idle, and how often it runs.
var collected = collectors.GoRuntimeMetricsRule{
	Matcher: regexp.MustCompile(`^/cpu/classes/(gc/total|total|idle):|^/gc/(cycles/total|heap/live):`),
}

// newRegistry returns the registry of /metrics, with the node's own metrics in it.
// No label has a value that a client can choose.
func newRegistry(n *Node) *prometheus.Registry {
	r := prometheus.NewRegistry()
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "perfgate", Subsystem: "node", Name: name, Help: help}, f)
	}
	r.MustRegister(
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collected)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "perfgate", Name: "build_info", Help: "1, labelled with the version.",
			ConstLabels: prometheus.Labels{"version": n.options.Version},
		}, func() float64 { return 1 }),
		gauge("ready", "1 if /readyz answers 200.", func() float64 {
			if n.Ready() != nil {
				return 0
			}
			return 1
		}),
		gauge("applied_index", "Raft index that the state includes.", func() float64 { return float64(n.store.Applied()) }),
		gauge("held_body_bytes", "Memory of request bodies that are read whole.", func() float64 {
			held, _ := n.limits.bodies.Held()
			return float64(held)
		}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: "perfgate", Subsystem: "node", Name: "refused_bodies_total",
			Help: "Requests answered with 503 because the memory for bodies, or an account's half of it, was taken.",
		}, func() float64 {
			_, refused := n.limits.bodies.Held()
			return float64(refused)
		}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: "perfgate", Subsystem: "audit", Name: "dropped_events_total",
			Help: "Audit events of requests that the node could not keep up with.",
		}, func() float64 { return float64(n.local.Dropped()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: "perfgate", Subsystem: "local", Name: "losses_total",
			Help: "Times that this node's usage and events of requests were damaged and set aside, since the start.",
		}, func() float64 { return float64(n.local.LossCount()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "perfgate", Subsystem: "local", Name: "last_loss_timestamp_seconds",
			Help: "Unix time of the last such loss, over restarts; 0 if there was none.",
		}, func() float64 {
			losses := n.local.Losses()
			if len(losses) == 0 {
				return 0
			}
			return float64(losses[len(losses)-1].Time.Unix())
		}),
	)
	registerUpkeep(r, n)
	registerNotices(r, n)
	r.MustRegister(newOutbound(&n.overall))
	r.MustRegister(n.replica.Coordinator().Collectors()...)
	for _, l := range n.listeners() {
		r.MustRegister(l.server.Collectors()...)
	}
	return r
}

// registerUpkeep adds the metrics of certificates and reloads.
func registerUpkeep(r *prometheus.Registry, n *Node) {
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "perfgate", Subsystem: "node", Name: name, Help: help}, f)
	}
	r.MustRegister(
		gauge("last_reload_success_timestamp_seconds", "When the configuration was last read with success, at the start or by SIGHUP.", func() float64 {
			return float64(n.reloads.at.Load())
		}),
		gauge("last_reload_successful", "0 if the last SIGHUP was refused.", func() float64 {
			if n.reloads.failed.Load() {
				return 0
			}
			return 1
		}),
	)
	for _, l := range n.listeners() {
		if l.certs == nil {
			continue
		}
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "perfgate", Subsystem: "node", Name: "certificate_days",
			Help: "Days until the listener's certificate expires.", ConstLabels: prometheus.Labels{"listener": l.name},
		}, func() float64 { return time.Until(l.certs.Leaf().NotAfter).Hours() / 24 }))
	}
}
