package proxy

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

type noLog struct{}

func (noLog) Observe(*local.Observation) {}

// BenchmarkProxy carries small requests from a client over the proxy to an
// upstream, all in this process and over loopback: three parties' work in one figure.
func BenchmarkProxy(b *testing.B) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"ok":true}`)
	}))
	defer up.Close()
	table, err := Compile([]Route{{Path: "/", Upstreams: []string{up.URL}}}, nil)
	if err != nil {
		b.Fatal(err)
	}
	gate := &testGate{rec: store.Record{ID: "key_1", Extra: &store.Extra{}}}
	p := New(Config{Settings: Settings{Table: table}, Gate: gate, Observer: noLog{}, Logger: slog.New(slog.DiscardHandler)})
	srv := apitest.Serve(b, p)
	for name, url := range map[string]string{"direct": up.URL, "proxied": srv.URL} {
		b.Run(name, func(b *testing.B) {
			client := &http.Transport{MaxIdleConnsPerHost: 64}
			defer client.CloseIdleConnections()
			b.SetParallelism(16)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					req, _ := http.NewRequest("GET", url+"/v1/x", nil)
					req.Header.Set("Authorization", "Bearer good")
					res, err := client.RoundTrip(req)
					if err != nil || res.StatusCode != 200 {
						b.Error(res, err)
						return
					}
					io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
			})
		})
	}
}

// BenchmarkMatch finds a route among a hundred, of one host and of a hundred, and
// among the few that most tables have.
func BenchmarkMatch(b *testing.B) {
	up := []string{"http://h"}
	few := []Route{{Path: "/v1/chat", Upstreams: up}, {Path: "/v1/files/{id}", Upstreams: up}, {Path: "/", Upstreams: up}}
	paths, hosts := few[2:], few[2:]
	for i := range 100 {
		name := string(rune('a'+i/10)) + string(rune('a'+i%10))
		paths = append(paths, Route{Path: "/v1/" + name + "/{id}", Upstreams: up})
		hosts = append(hosts, Route{Host: "*." + name + ".example.com", Path: "/v1", Upstreams: up})
	}
	for _, c := range []struct {
		name       string
		routes     []Route
		host, path string
	}{
		{"few", few, "api.example.com:8080", "/v1/chat/completions"},
		{"first", paths, "api.example.com:8080", "/v1/aa/123"},
		{"last", paths, "api.example.com:8080", "/v1/jj/123"},
		{"rest", paths, "api.example.com:8080", "/v2/jj/123"},
		{"host", hosts, "api.jj.example.com:8080", "/v1/123"},
	} {
		table, err := Compile(c.routes, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if r, _ := table.match(c.host, c.path, "GET"); r == nil {
					b.Fatal("no route")
				}
			}
		})
	}
}

// BenchmarkFirstEvent measures the time from an upstream's write of a stream's first event
// to the moment at which the client has read it, with a connection in the pool and one of
// the client's, in both versions of the client's HTTP.
func BenchmarkFirstEvent(b *testing.B) {
	wrote := make(chan time.Time, 1)
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		at := time.Now()
		io.WriteString(w, "data: 1\n\n")
		http.NewResponseController(w).Flush()
		wrote <- at
		<-r.Context().Done()
	}))
	defer up.Close()
	table, err := Compile([]Route{{Path: "/", Upstreams: []string{up.URL}}}, nil)
	if err != nil {
		b.Fatal(err)
	}
	gate := &testGate{rec: store.Record{ID: "key_1", Extra: &store.Extra{}}}
	srv := apitest.Serve(b, New(Config{Settings: Settings{Table: table}, Gate: gate, Observer: noLog{}, Logger: slog.New(slog.DiscardHandler)}))
	for _, version := range []string{"HTTP/1", "HTTP/2"} {
		b.Run(version, func(b *testing.B) {
			p := new(http.Protocols)
			p.SetHTTP1(version == "HTTP/1")
			p.SetUnencryptedHTTP2(version == "HTTP/2")
			client := &http.Transport{Protocols: p}
			defer client.CloseIdleConnections()
			var took []time.Duration
			for b.Loop() {
				req, _ := http.NewRequest("GET", srv.URL+"/", nil)
				req.Header.Set("Authorization", "Bearer good")
				res, err := client.RoundTrip(req)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(res.Body, make([]byte, 9)); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(<-wrote))
				res.Body.Close()
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}
