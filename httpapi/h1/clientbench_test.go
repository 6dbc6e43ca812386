package h1

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// BenchmarkTransport is a request to a server in the same process, which is the larger
// part of it, beside net/http's client.
func BenchmarkTransport(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Write(make([]byte, 1024))
	}))
	defer srv.Close()
	ours := &Transport{ResponseHeaderTimeout: patience}
	ours.Idle(64, patience)
	defer ours.CloseIdleConnections()
	theirs := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true, ResponseHeaderTimeout: patience}
	defer theirs.CloseIdleConnections()
	for _, body := range []string{"", strings.Repeat("x", 1000)} {
		for name, tr := range map[string]http.RoundTripper{"ours": ours, "net-http": theirs} {
			method := http.MethodGet
			if body != "" {
				method = http.MethodPost
			}
			b.Run(method+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					req, err := http.NewRequest(method, srv.URL, strings.NewReader(body))
					if err != nil {
						b.Fatal(err)
					}
					if body == "" {
						req.Body = nil
					}
					res, err := tr.RoundTrip(req)
					if err != nil {
						b.Fatal(err)
					}
					io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
			})
		}
	}
}
