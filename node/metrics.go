package node

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// newRegistry returns the registry that /metrics reads, with the node's own
// figures in it. No label has a value that a client can choose.
func newRegistry(n *Node) *prometheus.Registry {
	r := prometheus.NewRegistry()
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "perfgate", Subsystem: "node", Name: name, Help: help}, f)
	}
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "perfgate", Name: "build_info", Help: "1, labelled with the version.",
			ConstLabels: prometheus.Labels{"version": n.version},
		}, func() float64 { return 1 }),
		gauge("ready", "1 if /readyz answers 200.", func() float64 {
			if n.Ready() != nil {
				return 0
			}
			return 1
		}),
		gauge("applied_index", "Raft index that the state includes.", func() float64 { return float64(n.store.Applied()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: "perfgate", Subsystem: "audit", Name: "dropped_events_total",
			Help: "Audit events of requests that the node could not keep up with.",
		}, func() float64 { return float64(n.local.Dropped()) }),
	)
	if n.replica.cluster != nil {
		n.replica.cluster.register(r)
	}
	return r
}
