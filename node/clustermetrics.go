package node

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/node/lease"
)

// clusterMetrics are the figures of a node as one of several. What describes
// other nodes is known to the leader alone.
type clusterMetrics struct {
	renewals    *prometheus.CounterVec
	revocations prometheus.Histogram
	unconfirmed prometheus.Counter
}

func newClusterMetrics() *clusterMetrics {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "perfgate", Subsystem: "cluster", Name: name, Help: help}
	}
	return &clusterMetrics{
		renewals: prometheus.NewCounterVec(prometheus.CounterOpts(opts("lease_renewals_total",
			"This node's requests for a serving lease, by result.")), []string{"result"}),
		revocations: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "perfgate", Subsystem: "cluster", Name: "revocation_seconds",
			Help:    "Time until a write that takes a right away was in force on all nodes; counted by the leader.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		unconfirmed: prometheus.NewCounter(prometheus.CounterOpts(opts("revocations_unconfirmed_total",
			"Nodes that may have gone on with the old state when a write was answered; counted by the leader."))),
	}
}

// revoked counts a write that takes a right away.
func (m *clusterMetrics) revoked(took time.Duration, nodes []httpapi.RevocationAck) {
	m.revocations.Observe(took.Seconds())
	for _, n := range nodes {
		if n.How == lease.Unconfirmed {
			m.unconfirmed.Inc()
		}
	}
}

// register puts the figures of c into r.
func (c *cluster) register(r *prometheus.Registry) {
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "perfgate", Subsystem: "cluster", Name: name, Help: help}, f)
	}
	truth := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	r.MustRegister(
		c.metrics.renewals, c.metrics.revocations, c.metrics.unconfirmed,
		gauge("lease_remaining_seconds", "How long this node may serve if nothing is heard from the leader.", func() float64 {
			return c.lease.Left(c.Clock.Now()).Seconds()
		}),
		gauge("leader", "1 on the node that leads.", func() float64 { return truth(c.r.leads.isOpen()) }),
		gauge("term", "Raft's current term.", func() float64 { return float64(c.r.engine.raft.CurrentTerm()) }),
		gauge("clock_skew_seconds", "The leader's wall clock minus this node's.", func() float64 {
			return time.Duration(c.watch.skew.Load()).Seconds()
		}),
		gauge("level", "Feature level that the cluster uses: the lowest of its nodes'.", func() float64 { return float64(c.r.Store().ClusterLevel()) }),
		gauge("writes_waiting", "Writes that wait for nodes to apply them.", func() float64 { return float64(c.table.Outstanding()) }),
		nodesCollector{c},
	)
}

// nodesCollector tells of every member, on the leader.
type nodesCollector struct{ c *cluster }

var (
	nodeUp = prometheus.NewDesc("perfgate_cluster_node_up",
		"1 if the node is ready, told by the leader.", []string{"node"}, nil)
	nodeLag = prometheus.NewDesc("perfgate_cluster_node_lag_entries",
		"Entries that the leader has applied and the node has not, told by the leader.", []string{"node"}, nil)
	nodeContact = prometheus.NewDesc("perfgate_cluster_node_last_contact_seconds",
		"Time since the leader heard of the node; of one it has never heard there is none.", []string{"node"}, nil)
)

// Describe implements [prometheus.Collector].
func (nodesCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- nodeUp
	ch <- nodeLag
	ch <- nodeContact
}

// Collect implements [prometheus.Collector].
func (n nodesCollector) Collect(ch chan<- prometheus.Metric) {
	s, err := n.c.statusAsLeader()
	if err != nil {
		return
	}
	applied := n.c.r.Store().Applied()
	for _, m := range s.Nodes {
		up, lag := 0.0, 0.0
		if m.State == stateReady {
			up = 1
		}
		if m.AppliedIndex < applied {
			lag = float64(applied - m.AppliedIndex)
		}
		ch <- prometheus.MustNewConstMetric(nodeUp, prometheus.GaugeValue, up, m.Name)
		ch <- prometheus.MustNewConstMetric(nodeLag, prometheus.GaugeValue, lag, m.Name)
		if m.LastContactMS >= 0 {
			ch <- prometheus.MustNewConstMetric(nodeContact, prometheus.GaugeValue, float64(m.LastContactMS)/1000, m.Name)
		}
	}
}
