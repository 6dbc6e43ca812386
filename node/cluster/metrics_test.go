package cluster

import (
	"math"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfgate/perfgate/node/lease"
	"github.com/perfgate/perfgate/node/replica"
)

// figures are the values of metrics by name and label; of a histogram it is the count.
func figures(t *testing.T, all ...prometheus.Collector) map[string]float64 {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	for _, c := range all {
		reg.MustRegister(c)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			out[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return out
}

// The leader's metrics describe itself and every member; a follower's only itself.
func TestMetrics(t *testing.T) {
	t.Parallel()
	s := opened(t, func(c *Config) { c.Lease = time.Minute })
	ready, unheard := s.joined("n2"), s.joined("n3")
	s.holder.renew(t.Context())
	s.leadership.reports.reset()
	s.leadership.ledSince.Store(s.Clock.Now() - int64(time.Minute))
	ready.hears(func(f *selfReport) { f.Applied -= 2 })
	s.holder.skew.Store(int64(-2 * time.Second))
	got := figures(t, s.Collectors()...)
	for name, want := range map[string]float64{
		"perfgate_cluster_leader":                        1,
		"perfgate_cluster_term":                          float64(s.currentTerm()),
		"perfgate_cluster_clock_skew_seconds":            -2,
		"perfgate_cluster_level":                         float64(s.r.Store().ClusterLevel()),
		"perfgate_cluster_writes_waiting":                0,
		"perfgate_cluster_lease_renewals_total granted":  1,
		"perfgate_cluster_revocation_seconds":            0,
		"perfgate_cluster_revocations_unconfirmed_total": 0,
		"perfgate_cluster_node_up n1":                    1,
		"perfgate_cluster_node_up n2":                    1,
		"perfgate_cluster_node_up n3":                    0,
		"perfgate_cluster_node_lag_entries n1":           0,
		"perfgate_cluster_node_lag_entries n2":           2,
		"perfgate_cluster_node_lag_entries n3":           float64(s.r.Store().Applied()),
		"perfgate_cluster_node_last_contact_seconds n1":  0,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s: %v (%v), must be %v", name, v, ok, want)
		}
	}
	if v := got["perfgate_cluster_lease_remaining_seconds"]; v <= 0 || v > 60 {
		t.Errorf("the lease lasts %v s", v)
	}
	if v := got["perfgate_cluster_certificate_days"]; math.Round(v) != 30 {
		t.Errorf("the certificate lasts %v days", v)
	}
	if v, ok := got["perfgate_cluster_node_last_contact_seconds n2"]; !ok || v < 0 || v > 60 {
		t.Errorf("n2 was heard of %v s ago (%v)", v, ok)
	}
	if v, ok := got["perfgate_cluster_node_last_contact_seconds n3"]; ok {
		t.Errorf("n3 was heard of %v s ago", v)
	}
	s.Answered(20*time.Millisecond, []replica.Ack{{Name: "n1", How: lease.Applied}, {Name: "n2", How: lease.Unconfirmed}, {Name: "n3", How: lease.Unconfirmed}})
	s.certs.creds.Store(nil)
	unheard.leads()
	got = figures(t, s.Collectors()...)
	for name, want := range map[string]float64{
		"perfgate_cluster_leader": 0, "perfgate_cluster_certificate_days": 0,
		"perfgate_cluster_revocation_seconds": 1, "perfgate_cluster_revocations_unconfirmed_total": 2,
	} {
		if got[name] != want {
			t.Errorf("later, %s: %v, must be %v", name, got[name], want)
		}
	}
	if _, ok := got["perfgate_cluster_node_up n1"]; ok {
		t.Error("a follower reports of nodes")
	}
}
