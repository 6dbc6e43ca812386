package proxy

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

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
	srv := httptest.NewServer(p)
	defer srv.Close()
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

// BenchmarkMatch finds the last of a hundred routes.
func BenchmarkMatch(b *testing.B) {
	var routes []Route
	for i := range 100 {
		routes = append(routes, Route{Path: "/v1/" + string(rune('a'+i/10)) + string(rune('a'+i%10)) + "/{id}", Upstreams: []string{"http://h"}})
	}
	table, err := Compile(append(routes, Route{Path: "/", Upstreams: []string{"http://h"}}), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if r, _ := table.match("api.example.com:8080", "/v1/jj/123", "GET"); r == nil {
			b.Fatal("no route")
		}
	}
}
