package node

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perfgate/perfgate/node/config"
	"github.com/perfgate/perfgate/node/config/configtest"
	"github.com/perfgate/perfgate/store/local"
	"github.com/perfgate/perfgate/store/logtest"
)

// counter counts observations.
type counter struct{ n int }

func (c *counter) Observe(*local.Observation) { c.n++ }

func accessed() *local.Observation {
	return &local.Observation{
		At: time.Now(), Duration: 1234567 * time.Nanosecond, RequestID: "req_1", Method: "GET", Route: "/v1/", Status: 502,
		Client: netip.MustParseAddr("192.0.2.1"), UserAgent: `a "b"` + "\nc", Account: "default", Key: "key_1",
		Trail: local.Trail{Path: "/v1/x", Upstream: "http://10.0.0.5:9000", Attempts: 2, Failure: "upstream_unreachable", Sent: 99},
	}
}

// A line has the facts that an operator looks for, in the format of the log and whatever
// its level is; text of a client cannot forge a second line.
func TestAccessLine(t *testing.T) {
	out, next := &logtest.Log{}, &counter{}
	a := newAccessLog(next, out, slog.New(slog.DiscardHandler), config.Log{Level: "error", Format: "text", Access: true})
	a.Observe(accessed())
	a.flush(nil)
	const want = ` INFO  access method=GET path=/v1/x status=502 code=upstream_unreachable duration_ms=1.235 bytes=99 client=192.0.2.1 account=default ` +
		`key=key_1 route=/v1/ upstream=http://10.0.0.5:9000 attempts=2 request_id=req_1 user_agent="a \"b\"\nc"` + "\n"
	if got := out.String(); !strings.HasSuffix(got, want) || strings.Count(got, "\n") != 1 || next.n != 1 {
		t.Errorf("got  %q\nwant …%q, %d observations", got, want, next.n)
	}
	out = &logtest.Log{}
	a = newAccessLog(next, out, slog.New(slog.DiscardHandler), config.Log{Format: "json", Access: true})
	a.Observe(accessed())
	a.flush(nil)
	var line map[string]any
	if err := json.Unmarshal([]byte(out.String()), &line); err != nil || line["msg"] != "access" || line["status"] != 502.0 || line["duration_ms"] != 1.235 {
		t.Errorf("%v: %s", err, out)
	}
}

// While it is off, nothing is formatted, and nothing allocated.
func TestAccessLogOff(t *testing.T) {
	out, next, o := &logtest.Log{}, &counter{}, accessed()
	a := newAccessLog(next, out, slog.New(slog.DiscardHandler), config.Log{Format: "text"})
	if n := testing.AllocsPerRun(100, func() { a.Observe(o) }); n != 0 || next.n != 101 {
		t.Errorf("%v allocations, %d observations", n, next.n)
	}
	if a.flush(nil); out.String() != "" {
		t.Errorf("%q", out)
	}
}

// stuck is an output that takes nothing until it is freed.
type stuck struct {
	free chan struct{}
	logtest.Log
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.free
	return s.Log.Write(p)
}

// A request never waits for the output: lines that do not fit are dropped, counted
// and told of.
func TestAccessLogIsBounded(t *testing.T) {
	out, told := &stuck{free: make(chan struct{})}, &logtest.Log{}
	logger, _ := NewLogger(told, config.Log{Level: "info", Format: "text"})
	a := newAccessLog(&counter{}, out, logger, config.Log{Format: "text", Access: true})
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { a.run(ctx) })
	const n = 20_000 // about 5 MB of lines
	for range n {
		a.Observe(accessed())
	}
	a.mu.Lock()
	held := len(a.pending)
	a.mu.Unlock()
	if dropped := a.dropped.Load(); dropped == 0 || held > accessBytes || cap(a.pending) > 2*accessBytes {
		t.Errorf("%d lines dropped, %d bytes held", dropped, held)
	}
	close(out.free)
	deadline := time.Now().Add(time.Minute)
	for !strings.Contains(told.String(), "access log lines dropped") {
		if time.Now().After(deadline) {
			t.Fatalf("nothing is told of the dropped lines: %s", told)
		}
		time.Sleep(time.Millisecond)
	}
	stop()
	running.Wait()
	if got := strings.Count(out.String(), "\n"); uint64(got)+a.dropped.Load() != n {
		t.Errorf("%d lines written and %d dropped of %d", got, a.dropped.Load(), n)
	}
}

// A running node's access log follows the configuration.
func TestAccessLogOfNode(t *testing.T) {
	t.Parallel()
	path := configtest.File(t, "[log]\nlevel = \"error\"\naccess = true\n")
	n := startLone(t, t.TempDir(), "--config", path)
	reload := func(access string) {
		t.Helper()
		if err := os.WriteFile(path, []byte("[log]\naccess = "+access+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := n.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	n.get(t, n.proxyListener, "/one", "")
	for deadline := time.Now().Add(time.Minute); !strings.Contains(n.out.String(), " access method=GET path=/one status=401 "); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no line of the request: %s", n.out)
		}
	}
	o := accessed()
	reload("false")
	o.Path = "/two"
	n.access.Observe(o)
	reload("true")
	o.Path = "/three"
	n.access.Observe(o)
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	if got := n.out.String(); strings.Contains(got, "path=/two") || !strings.Contains(got, "path=/three") {
		t.Errorf("want a line of /three, which was pending at the stop, and none of /two: %s", got)
	}
}
