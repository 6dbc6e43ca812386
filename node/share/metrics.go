package share

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/limiter/pool"
	"github.com/perfgate/perfgate/limiter/share"
)

// metrics are the figures of limits that the nodes spend together.
type metrics struct {
	messages *prometheus.CounterVec
	waits    prometheus.Histogram
	refusals *prometheus.CounterVec

	mu   sync.Mutex // guards the fields below
	at   int64
	last share.Figures
}

// The causes of a refusal, after other nodes were to be asked.
const (
	spent  = "spent"       // every node that can be reached had nothing, at the last question about it
	late   = "late"        // some did not answer in time
	lonely = "unreachable" // none can be reached
)

var kinds = map[byte]string{isFetch: "fetch", isRenew: "renew", isReturn: "return", isHint: "hint"}

func newMetrics() *metrics {
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "perfgate", Subsystem: "limits", Name: name, Help: help}
	}
	return &metrics{
		messages: prometheus.NewCounterVec(opts("messages_total",
			"Messages to other nodes about limits, by kind and by whether the node took them."), []string{"kind", "result"}),
		waits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "perfgate", Subsystem: "limits", Name: "wait_seconds",
			Help:    "Time that requests waited for other nodes' answers about limits, for each round of questions.",
			Buckets: []float64{.0002, .0005, .001, .002, .003, .006, .012, .025, .05, .1, .25},
		}),
		refusals: prometheus.NewCounterVec(opts("refusals_total",
			"Requests refused for want of tokens here and on other nodes, by cause: spent, late (a node did not answer in time), unreachable (no node can be reached)."),
			[]string{"cause"}),
	}
}

// sent counts the messages of a batch.
func (m *metrics) sent(items []item, err error) {
	result := "taken"
	if err != nil {
		result = "lost"
	}
	for i := range items {
		m.messages.WithLabelValues(kinds[items[i].kind], result).Inc()
	}
}

// Collectors are the metrics of the limits. The gauges look at every bucket, one shard at a
// time.
func (s *Sharing) Collectors() []prometheus.Collector {
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "perfgate", Subsystem: "limits", Name: name, Help: help}, f)
	}
	return []prometheus.Collector{
		s.metrics.messages, s.metrics.waits, s.metrics.refusals,
		gauge("buckets", "Buckets of limits in use on this node.", func() float64 { return float64(s.conf.Pool.Len()) }),
		gauge("units_here", "Units of all buckets that this node may spend without asking others.", func() float64 { return float64(s.figures().Here) }),
		gauge("parts_lent", "Parts of buckets that this node has lent to others; 1 is a whole bucket.", func() float64 {
			return float64(s.figures().Lent) / float64(share.One)
		}),
		gauge("parts_borrowed", "Parts of buckets that this node has borrowed; 1 is a whole bucket.", func() float64 {
			return float64(s.figures().Borrowed) / float64(share.One)
		}),
		gauge("excess_units", "The most units of a bucket here beyond what the parts of this node cover, which could be admitted too much: always 0.", func() float64 {
			return float64(s.figures().Excess)
		}),
		gauge("nodes_reachable", "Other nodes that this one can ask for units.", func() float64 { n, _ := s.reached(); return float64(n) }),
		gauge("oldest_answer_seconds", "Time since the last answer of the reachable node that has not answered for longest.", func() float64 {
			_, age := s.reached()
			return age.Seconds()
		}),
	}
}

// figures are those of all buckets, as of half a second ago at most: one reading of the
// metrics asks several times.
func (s *Sharing) figures() share.Figures {
	m := s.metrics
	m.mu.Lock()
	defer m.mu.Unlock()
	now := s.conf.Now()
	if m.at > 0 && now-m.at < int64(time.Second/2) {
		return m.last
	}
	var f share.Figures
	s.conf.Pool.Each(func(shard *pool.Shard) {
		shard.Look(now, func(b *pool.Bucket) { f.Add(&b.Bucket) })
	})
	m.at, m.last = max(now, 1), f
	return f
}

// reached is the number of nodes that can be asked, and the longest time since an answer of
// one of them.
func (s *Sharing) reached() (n int, oldest time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.conf.Now()
	for _, p := range s.peers {
		if p.boot != 0 && !p.down {
			n++
			oldest = max(oldest, time.Duration(now-p.heard))
		}
	}
	return n, oldest
}
