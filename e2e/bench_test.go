package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apikey"
)

// size reads a benchmark's size from the environment: the figures in the
// documentation are of the defaults, smaller ones are for a quick look.
func size(name string, standard int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return standard
}

// fill imports n live keys, 10,000 a call, and returns them.
func (s *server) fill(n int) []string {
	s.t.Helper()
	keys := make([]string, n)
	for from := 0; from < n; from += 10_000 {
		var b strings.Builder
		for i := from; i < min(from+10_000, n); i++ {
			keys[i] = apikey.New(apikey.LivePrefix)
			fmt.Fprintf(&b, "{\"name\":\"bench-%d\",\"type\":\"live\",\"key\":%q}\n", i, keys[i])
		}
		r := s.manage(200, "POST", "/v1/keys/import", b.String())
		if strings.Contains(string(r.raw), `"error":"`) {
			s.t.Fatalf("import: %.300s", r.raw)
		}
	}
	return keys
}

// rss is the resident memory of the process, in bytes (Linux).
func (s *server) rss() int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		s.t.Skip("no /proc here")
	}
	_, after, _ := strings.Cut(string(raw), "VmRSS:")
	var kb int64
	fmt.Sscan(after, &kb)
	return kb << 10
}

// each calls f for 0…n-1 on workers goroutines.
func each(workers, n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(int(i))
			}
		})
	}
	wg.Wait()
}

// Durable creations through HTTP; fsync is real.
func BenchmarkCreate(b *testing.B) {
	for _, inFlight := range []int{1, 64} {
		b.Run(fmt.Sprint(inFlight), func(b *testing.B) {
			s := start(b, options{})
			body := map[string]any{"name": "bench", "type": "live"}
			raw, _ := json.Marshal(body)
			b.ResetTimer()
			each(inFlight, b.N, func(int) {
				req, _ := http.NewRequest("POST", s.admin+"/v1/keys", strings.NewReader(string(raw)))
				req.Header.Set("Authorization", "Bearer "+s.operator)
				req.Header.Set("Content-Type", "application/json")
				resp, err := httpClient.Do(req)
				if err != nil {
					b.Error(err)
					return
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != 201 {
					b.Error(resp.Status)
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "creates/s")
		})
	}
}

// From the start of the process to 200 on /readyz: after a clean stop, and
// after a crash with a tail of writes behind the last snapshot.
func BenchmarkStart(b *testing.B) {
	s := start(b, options{})
	s.fill(size("KEYS", 1_000_000))
	s.stop(time.Minute)
	timed := func(name string) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				s.run()
				b.StopTimer()
				s.kill()
				b.StartTimer()
			}
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/start")
			b.ReportMetric(0, "ns/op")
		})
	}
	timed("clean")
	s.run()
	writes := size("WRITES", 400_000)
	each(64, writes, func(i int) {
		if r, err := try("POST", s.admin+"/v1/keys", as(s.operator), map[string]any{"name": "tail", "type": "live"}); err != nil || r.StatusCode != 201 {
			b.Errorf("create: %v %v", r, err)
		}
	})
	s.kill()
	timed("killed")
}

// Resident memory with KEYS keys in use, and its growth under as many distinct
// made-up keys with a right checksum.
func BenchmarkMemory(b *testing.B) {
	up, _ := echo(b)
	s := start(b, options{upstream: up})
	s.roomy()
	n := size("KEYS", 1_000_000)
	keys := s.fill(n)
	use := func(credential func(i int) string, status int) {
		each(4*runtime.NumCPU(), n, func(i int) {
			req, _ := http.NewRequest("HEAD", s.proxy+"/", nil)
			req.Header.Set("Authorization", "Bearer "+credential(i))
			resp, err := httpClient.Do(req)
			if err != nil {
				b.Error(err)
				return
			}
			resp.Body.Close()
			if resp.StatusCode != status && resp.StatusCode != 429 {
				b.Error(resp.Status)
			}
		})
	}
	for b.Loop() {
		use(func(i int) string { return keys[i] }, 200)
		inUse := s.rss()
		m := do(b, "GET", s.admin+"/metrics", nil, nil)
		for _, l := range strings.Split(string(m.raw), "\n") {
			if strings.HasPrefix(l, "go_memstats") || strings.HasPrefix(l, "go_gor") {
				b.Log(l)
			}
		}
		use(func(int) string { return apikey.New(apikey.LivePrefix) }, 401)
		full := s.rss()
		use(func(int) string { return apikey.New(apikey.LivePrefix) }, 401)
		b.ReportMetric(float64(inUse)/1e6, "MB-in-use")
		b.ReportMetric(float64(s.rss()-full)/1e6, "MB-growth")
	}
}

// The audit log exported whole through the admin listener.
func BenchmarkAuditExport(b *testing.B) {
	s := start(b, options{})
	s.fill(size("EVENTS", 500_000))
	before := s.rss()
	var events int
	peak := before
	for b.Loop() {
		req, _ := http.NewRequest("GET", s.admin+"/v1/audit-logs?format=ndjson", nil)
		req.Header.Set("Authorization", "Bearer "+s.operator)
		resp, err := (&http.Client{}).Do(req)
		if err != nil {
			b.Fatal(err)
		}
		buf := make([]byte, 1<<20)
		for err == nil {
			var n int
			n, err = resp.Body.Read(buf)
			events += strings.Count(string(buf[:n]), "\n")
			peak = max(peak, s.rss())
		}
		resp.Body.Close()
		if err != io.EOF {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(peak-before)/1e6, "MB-growth")
}
