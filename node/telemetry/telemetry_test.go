package telemetry

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	collector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"

	"github.com/perfgate/perfgate/store/logtest"
)

// patience bounds the wait for a message, on a loaded machine.
const patience = time.Minute

// receiver is a collector: it passes messages on, and answers with a status that can change.
type receiver struct {
	*httptest.Server
	status atomic.Int32
	got    chan *collector.ExportMetricsServiceRequest
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{got: make(chan *collector.ExportMetricsServiceRequest, 1)}
	r.status.Store(200)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if status := int(r.status.Load()); status != 200 {
			w.WriteHeader(status)
			return
		}
		if q.URL.Path != "/otlp/v1/metrics" || q.Header.Get("Content-Type") != "application/x-protobuf" || q.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%s %s %v", q.Method, q.URL, q.Header)
		}
		body, err := gzip.NewReader(q.Body)
		if err != nil {
			t.Error(err)
			return
		}
		raw, err := io.ReadAll(body)
		m := new(collector.ExportMetricsServiceRequest)
		if err != nil || proto.Unmarshal(raw, m) != nil {
			t.Errorf("%d bytes, %v", len(raw), err)
		}
		select {
		case <-r.got: // the test has not taken it, and the last message of all must not be lost
		default:
		}
		select {
		case r.got <- m:
		default: // another message came meanwhile
		}
	}))
	t.Cleanup(r.Close)
	return r
}

// next is the next message that arrives whole after now.
func (r *receiver) next(t *testing.T) *collector.ExportMetricsServiceRequest {
	t.Helper()
	select {
	case <-r.got:
	default:
	}
	select {
	case m := <-r.got:
		return m
	case <-time.After(patience):
		t.Fatal("no message arrives")
		return nil
	}
}

// find is the metric name in m.
func find(m *collector.ExportMetricsServiceRequest, name string) *metrics.Metric {
	for _, r := range m.ResourceMetrics {
		for _, s := range r.ScopeMetrics {
			for _, one := range s.Metrics {
				if one.Name == name {
					return one
				}
			}
		}
	}
	return nil
}

func run(t *testing.T, c Config) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, c) }()
	return func() {
		t.Helper()
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("Run does not end")
		}
	}
}

// A collector gets what /metrics has: counters with their totals, gauges, histograms, with the
// labels, and which node it is about. A stop sends the last values.
func TestMessages(t *testing.T) {
	r := newReceiver(t)
	registry := client.NewRegistry()
	requests := client.NewCounterVec(client.CounterOpts{Name: "perfgate_requests_total"}, []string{"route"})
	ready := client.NewGauge(client.GaugeOpts{Name: "perfgate_ready"})
	took := client.NewHistogram(client.HistogramOpts{Name: "perfgate_took_seconds", Buckets: []float64{1, 2}})
	registry.MustRegister(requests, ready, took)
	requests.WithLabelValues("/a").Add(3)
	ready.Set(1)
	took.Observe(1.5)
	var log logtest.Log
	stop := run(t, Config{Endpoint: r.URL + "/otlp/", Metrics: registry, Node: "n1", Region: "eu", Version: "v", Logger: log.Logger(), interval: 10 * time.Millisecond})
	m := r.next(t)
	of := map[string]string{}
	for _, a := range m.ResourceMetrics[0].Resource.Attributes {
		of[a.Key] = a.Value.GetStringValue()
	}
	if of["service.name"] != "perfgate" || of["service.instance.id"] != "n1" || of["perfgate.region"] != "eu" || of["service.version"] != "v" {
		t.Errorf("the message is about %v", of)
	}
	sum := find(m, "perfgate_requests_total").GetSum()
	if p := sum.GetDataPoints(); len(p) != 1 || p[0].GetAsDouble() != 3 || p[0].Attributes[0].Value.GetStringValue() != "/a" || !sum.IsMonotonic || sum.AggregationTemporality != metrics.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE {
		t.Errorf("the counter is %v", sum)
	}
	if p := find(m, "perfgate_ready").GetGauge().GetDataPoints(); len(p) != 1 || p[0].GetAsDouble() != 1 {
		t.Errorf("the gauge is %v", p)
	}
	if p := find(m, "perfgate_took_seconds").GetHistogram().GetDataPoints(); len(p) != 1 || p[0].Count != 1 || len(p[0].BucketCounts) != 3 || p[0].BucketCounts[1] != 1 {
		t.Errorf("the histogram is %v", p)
	}
	r.next(t)
	requests.WithLabelValues("/a").Add(4)
	select {
	case <-r.got:
	default:
	}
	stop()
	for last := 0.0; last != 7; {
		select {
		case m := <-r.got:
			last = find(m, "perfgate_requests_total").GetSum().DataPoints[0].GetAsDouble()
		default:
			t.Fatalf("the last message has %v", last)
		}
	}
	if log.String() != "" {
		t.Errorf("the log has %s", log.String())
	}
}

// A collector that refuses, or has gone, is logged once, holds nothing up, and gets the totals
// when it is back.
func TestCollectorFails(t *testing.T) {
	r := newReceiver(t)
	r.status.Store(503)
	registry := client.NewRegistry()
	requests := client.NewCounter(client.CounterOpts{Name: "perfgate_requests_total"})
	registry.MustRegister(requests)
	var log logtest.Log
	stop := run(t, Config{Endpoint: r.URL + "/otlp", Metrics: registry, Node: "n1", Version: "v", Logger: log.Logger(), interval: 5 * time.Millisecond})
	wait := func(text string) {
		t.Helper()
		for deadline := time.Now().Add(patience); !log.Has(text); {
			if time.Now().After(deadline) {
				t.Fatalf("the log lacks %q: %s", text, log.String())
			}
			time.Sleep(time.Millisecond)
		}
	}
	wait("check telemetry.otlp_endpoint")
	requests.Add(5)
	r.status.Store(200)
	// The first message may have been made before the requests were counted.
	for deadline := time.Now().Add(patience); ; {
		m := r.next(t)
		if find(m, "perfgate_requests_total").GetSum().DataPoints[0].GetAsDouble() == 5 {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("after the outage: %v", m)
		}
	}
	wait("telemetry is sent again")
	if n := log.Count("check telemetry.otlp_endpoint"); n != 1 {
		t.Errorf("%d lines about one outage", n)
	}
	r.Close()
	stop()
}
