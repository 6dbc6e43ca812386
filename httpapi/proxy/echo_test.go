package proxy

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/store/local"
)

// The parts that the node wires together fit together.
var (
	_ Gate     = (*admit.Gate)(nil)
	_ Observer = (*local.Local)(nil)
)

func TestEcho(t *testing.T) {
	s := httptest.NewServer(Echo())
	defer s.Close()
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{s.URL}})
	res := r.do("POST", "/a%20b?c=d", "hello")
	var got struct {
		Method, Path, Query, Body string
		Headers                   map[string][]string
	}
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.Method != "POST" || got.Path != "/a%20b" || got.Query != "c=d" || got.Body != "hello" || got.Headers["X-Perf-Key-Id"][0] != "key_1" || got.Headers["Authorization"] != nil {
		t.Errorf("%+v", got)
	}
	events := r.do("GET", "/sse?n=1", "")
	if b, err := io.ReadAll(events.Body); err != nil || string(b) != "data: {\"event\":1}\n\n" || events.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestMetrics keeps clients from making series.
func TestMetrics(t *testing.T) {
	s := httptest.NewServer(Echo())
	defer s.Close()
	r := newRig(t, Settings{}, Route{Path: "/v1/", Upstreams: []string{s.URL}})
	expose := func() string {
		families, err := r.reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		for _, f := range families {
			expfmt.MetricFamilyToText(&b, f)
		}
		return b.String()
	}
	ask := func(tag string) {
		for _, path := range []string{"/v1/" + tag, "/" + tag} {
			r.do("GET", path, "", "X-Request-Id", tag)
			r.do("GET", path, "", "Authorization", "Bearer "+tag)
			r.log.next(t)
			r.log.next(t)
		}
	}
	ask("first")
	before := expose()
	for _, want := range []string{
		`perfgate_proxy_requests_total{class="2xx",route="/v1/"} 1`, `perfgate_proxy_requests_total{class="4xx",route="/v1/"} 1`,
		`perfgate_proxy_refused_total{code="invalid_key",route="/v1/"} 1`, `perfgate_proxy_refused_total{code="not_found",route=""} 2`,
		`perfgate_proxy_request_duration_seconds_count{route="/v1/"} 2`, `perfgate_proxy_in_flight_requests 0`,
	} {
		if !strings.Contains(before, want+"\n") {
			t.Errorf("no %s in\n%s", want, before)
		}
	}
	ask("another")
	if after := expose(); strings.Count(after, "\n") != strings.Count(before, "\n") || strings.Contains(after, "another") {
		t.Errorf("a client's words make series:\n%s", after)
	}
}
