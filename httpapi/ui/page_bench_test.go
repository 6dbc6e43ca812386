package ui_test

import (
	"io"
	"net/http"
	"os"
	"path"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/ui"
)

// BenchmarkFirstPage is the first visit of a page over loopback: the page and every file that it
// loads, one after the other, with 50 keys that were used in the last 7 days. The API is in the
// same process, without a cluster.
func BenchmarkFirstPage(b *testing.B) {
	g := newRig(b)
	for i := range 50 {
		id, _ := g.Key("live", "read", "write")
		g.observe(id, 7, 1+i%5, nil)
	}
	files, err := os.ReadDir("assets")
	apitest.Must(b, err)
	load := func(target string) int64 {
		r, err := http.NewRequest("GET", g.pages.URL+target, nil)
		apitest.Must(b, err)
		r.Header = http.Header{"Cookie": {g.cookie}, "Accept": {"text/html"}}
		resp, err := http.DefaultTransport.RoundTrip(r)
		apitest.Must(b, err)
		defer resp.Body.Close()
		n, err := io.Copy(io.Discard, resp.Body)
		if err != nil || resp.StatusCode != 200 {
			b.Fatalf("%s: %d %v", target, resp.StatusCode, err)
		}
		return n
	}
	folder := path.Dir(ui.Stylesheet())
	for _, page := range []string{"/", "/keys", "/usage", "/audit"} {
		b.Run("page="+page, func(b *testing.B) {
			bytes := int64(0)
			for b.Loop() {
				g.Now.Add(1e9) // the bucket of the user fills up again
				bytes = load(page)
				for _, f := range files {
					bytes += load(path.Join(folder, f.Name()))
				}
			}
			b.ReportMetric(float64(bytes), "bytes")
		})
	}
}
