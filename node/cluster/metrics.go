package cluster

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/node/lease"
	"github.com/perfgate/perfgate/node/replica"
)

// metrics are the figures of a node as one of several. Those of other nodes are
// known to the leader alone.
type metrics struct {
	renewals    *prometheus.CounterVec
	revocations prometheus.Histogram
	unconfirmed prometheus.Counter
	recalls     *prometheus.HistogramVec
	yields      *prometheus.CounterVec
	compared    *prometheus.CounterVec
}

// result is the label of a call between nodes.
func result(err error) string {
	if err != nil {
		return "failed"
	}
	return "answered"
}

func newMetrics() *metrics {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "perfgate", Subsystem: "cluster", Name: name, Help: help}
	}
	m := &metrics{
		renewals: prometheus.NewCounterVec(prometheus.CounterOpts(opts("lease_renewals_total",
			"This node's requests for a serving lease, by result.")), []string{"result"}),
		revocations: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "perfgate", Subsystem: "cluster", Name: "revocation_seconds",
			Help:    "Time until a write that takes a right away was in force on all nodes; counted by the leader.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		unconfirmed: prometheus.NewCounter(prometheus.CounterOpts(opts("revocations_unconfirmed_total",
			"Nodes that may have gone on with the old state when a write was answered; counted by the leader."))),
		recalls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "perfgate", Subsystem: "cluster", Name: "recall_seconds",
			Help:    "Time until other nodes had given back the units of months and budgets that this node asked for, by result.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}, []string{"result"}),
		compared: prometheus.NewCounterVec(prometheus.CounterOpts(opts("states_compared_total",
			"Comparisons of what a node has applied with what the leader has, by result; counted by the leader.")), []string{"result"}),
		yields: prometheus.NewCounterVec(prometheus.CounterOpts(opts("yields_total",
			"Calls to other nodes to give units of months and budgets back, by result; counted by the leader.")), []string{"result"}),
	}
	for _, l := range []likeness{notCompared, sameState, otherState} { // a rate needs its first 0
		m.compared.WithLabelValues(string(l))
	}
	return m
}

// revoked counts a write that takes a right away.
func (m *metrics) revoked(took time.Duration, nodes []replica.Ack) {
	m.revocations.Observe(took.Seconds())
	for _, n := range nodes {
		if n.How == lease.Unconfirmed {
			m.unconfirmed.Inc()
		}
	}
}

// Collectors implements [replica.Operator].
func (c *Cluster) Collectors() []prometheus.Collector {
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "perfgate", Subsystem: "cluster", Name: name, Help: help}, f)
	}
	truth := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	return []prometheus.Collector{
		c.leadership.metrics.renewals, c.leadership.metrics.revocations, c.leadership.metrics.unconfirmed,
		c.metrics.recalls, c.metrics.yields, c.metrics.compared,
		gauge("lease_remaining_seconds", "How long this node may serve if nothing is heard from the leader.", func() float64 {
			return c.holder.lease.Left(c.Clock.Now()).Seconds()
		}),
		gauge("leader", "1 on the node that leads.", func() float64 { return truth(c.r.Leads()) }),
		gauge("term", "Raft's current term.", func() float64 { return float64(c.r.Raft().CurrentTerm()) }),
		gauge("clock_skew_seconds", "The leader's wall clock minus this node's.", func() float64 {
			return time.Duration(c.holder.skew.Load()).Seconds()
		}),
		gauge("level", "Feature level that the cluster uses: the lowest of its nodes'.", func() float64 { return float64(c.r.Store().ClusterLevel()) }),
		gauge("certificate_days", "Days until this node's cluster certificate expires; it is renewed when 10 are left.", func() float64 {
			if creds := c.certs.creds.Load(); creds != nil {
				return time.Until(creds.Expiry()).Hours() / 24
			}
			return 0
		}),
		gauge("writes_waiting", "Writes that wait for nodes to apply them.", func() float64 { return float64(c.leadership.table.Outstanding()) }),
		nodesCollector{c},
	}
}

// nodesCollector reports every member, on the leader.
type nodesCollector struct{ c *Cluster }

var (
	nodeUp = prometheus.NewDesc("perfgate_cluster_node_up",
		"1 if the node is ready, reported by the leader.", []string{"node"}, nil)
	nodeLag = prometheus.NewDesc("perfgate_cluster_node_lag_entries",
		"Entries that the leader has applied and the node has not, reported by the leader.", []string{"node"}, nil)
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
	s, err := n.c.status.statusAsLeader()
	if err != nil {
		return
	}
	applied := n.c.r.Store().Applied()
	for _, m := range s.Nodes {
		up, lag := 0.0, 0.0
		if m.State == replica.StateReady {
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
