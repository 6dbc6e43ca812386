package e2e

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
	"github.com/perfgate/perfgate/httpapi/apikey"
)

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
		if strings.Contains(string(r.Raw), `"error":"`) {
			s.t.Fatalf("import: %.300s", r.Raw)
		}
	}
	return keys
}

// rss is the resident memory of the process, in bytes (Linux).
func (s *server) rss() int64 { return s.memory("VmRSS:") }

// forgetPeak returns the resident memory, from which peak counts from now on.
func (s *server) forgetPeak() int64 {
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.PID()), []byte("5"), 0); err != nil {
		s.t.Skipf("no /proc here: %v", err)
	}
	return s.rss()
}

// peak is the most that rss has been.
func (s *server) peak() int64 { return s.memory("VmHWM:") }

func (s *server) memory(line string) int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID()))
	if err != nil {
		s.t.Skip("no /proc here")
	}
	_, after, _ := strings.Cut(string(raw), line)
	var kb int64
	fmt.Sscan(after, &kb)
	return kb << 10
}

// pipes sends n requests over a number of connections, one in flight on each,
// and expects the status that next names (or 429). It reads no more of an answer
// than it must: on two cores the load generator's own work counts.
func pipes(b testing.TB, conns, n int, base string, next func(i int) (request string, status int)) {
	var count atomic.Int64
	var wg sync.WaitGroup
	for range conns {
		wg.Go(func() {
			c, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
			if err != nil {
				b.Error(err)
				return
			}
			defer c.Close()
			br := bufio.NewReader(c)
			for i := count.Add(1) - 1; i < int64(n); i = count.Add(1) - 1 {
				request, status := next(int(i))
				if _, err := io.WriteString(c, request); err != nil {
					b.Error(err)
					return
				}
				got, err := harness.SkipAnswer(br)
				if err != nil || got != status && got != http.StatusTooManyRequests {
					b.Errorf("status %d, %v", got, err)
					return
				}
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
			request := harness.RawRequest("POST", s.admin, "/v1/keys", s.operator, `{"name":"bench","type":"live"}`)
			b.ResetTimer()
			pipes(b, inFlight, b.N, s.admin, func(int) (string, int) { return request, 201 })
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "creates/s")
		})
	}
}

// From the start of the process to 200 on /readyz: after a clean stop, and
// after a crash with a tail of writes after the last snapshot.
func BenchmarkStart(b *testing.B) {
	s := start(b, options{})
	s.fill(harness.Size("KEYS", 1_000_000))
	s.stop()
	timed := func(name string) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				s.run()
				b.StopTimer()
				s.Kill()
				b.StartTimer()
			}
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/start")
			b.ReportMetric(0, "ns/op")
		})
	}
	timed("clean")
	s.run()
	writes := harness.Size("WRITES", 400_000)
	request := harness.RawRequest("POST", s.admin, "/v1/keys", s.operator, `{"name":"tail","type":"live"}`)
	pipes(b, 64, writes, s.admin, func(int) (string, int) { return request, 201 })
	s.Kill()
	timed("killed")
}

// runtimeFigures are what the process's Go runtime counts, from /metrics, and the
// processor time that the system counts, of the process.
type runtimeFigures struct{ gc, busy, cycles, live, cpu float64 }

func (s *server) runtimeFigures() runtimeFigures {
	s.t.Helper()
	metrics := map[string]float64{}
	for line := range strings.Lines(string(s.manage(200, "GET", "/metrics", nil).Raw)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			metrics[name], _ = strconv.ParseFloat(value, 64)
		}
	}
	return runtimeFigures{
		gc:     metrics["go_cpu_classes_gc_total_cpu_seconds_total"],
		busy:   metrics["go_cpu_classes_total_cpu_seconds_total"] - metrics["go_cpu_classes_idle_cpu_seconds_total"],
		cycles: metrics["go_gc_cycles_total_gc_cycles_total"],
		live:   metrics["go_gc_heap_live_bytes"],
		cpu:    metrics["process_cpu_seconds_total"],
	}
}

// Memory with KEYS keys in use: resident, and live on the heap for each million; the
// collector's share of the processor while random ones of them are used USES times (as
// many); then the growth of the memory under BOGUS (as many) distinct made-up keys with a
// right checksum, once the caches are full. MEMORY is the process's GOMEMLIMIT, CONNS the
// number of connections.
func BenchmarkMemory(b *testing.B) {
	up, _ := echo(b)
	var env []string
	if limit := os.Getenv("MEMORY"); limit != "" {
		env = append(env, "GOMEMLIMIT="+limit)
	}
	s := start(b, options{upstream: up, env: env})
	s.roomy()
	n := harness.Size("KEYS", 1_000_000)
	conns := harness.Size("CONNS", 4*runtime.NumCPU())
	empty := s.runtimeFigures()
	bogus := harness.Size("BOGUS", n)
	keys := s.fill(n)
	use := func(n int, credential func(i int) string, status int) {
		pipes(b, conns, n, s.proxy, func(i int) (string, int) {
			return harness.RawRequest("GET", s.proxy, "/", credential(i), ""), status
		})
	}
	for b.Loop() {
		use(n, func(i int) string { return keys[i] }, 200)
		before, began := s.runtimeFigures(), time.Now()
		use(harness.Size("USES", n), func(int) string { return keys[rand.IntN(n)] }, 200)
		after, took := s.runtimeFigures(), time.Since(began).Seconds()
		inUse := s.rss()
		b.ReportMetric(100*(after.gc-before.gc)/(after.busy-before.busy), "%gc")
		b.ReportMetric((after.cycles-before.cycles)/took, "gc/s")
		b.ReportMetric(1e6*(after.cpu-before.cpu)/float64(harness.Size("USES", n)), "cpu-µs/request")
		b.ReportMetric(float64(harness.Size("USES", n))/took, "requests/s")
		b.ReportMetric((after.live-empty.live)/float64(n), "MB-live/1M-keys")
		use(bogus/5, func(int) string { return apikey.New(apikey.LivePrefix) }, 401)
		full := s.rss()
		use(bogus, func(int) string { return apikey.New(apikey.LivePrefix) }, 401)
		b.ReportMetric(float64(inUse)/1e6, "MB-in-use")
		b.ReportMetric(float64(s.rss()-full)/1e6, "MB-growth")
	}
}

// The audit log exported whole through the admin listener.
func BenchmarkAuditExport(b *testing.B) {
	s := start(b, options{})
	s.fill(harness.Size("EVENTS", 500_000))
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
