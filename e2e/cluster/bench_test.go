package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// table collects figures, for people.
type table struct {
	b strings.Builder
	w *tabwriter.Writer
}

func newTable() *table {
	tb := &table{}
	tb.w = tabwriter.NewWriter(&tb.b, 0, 0, 3, ' ', 0)
	return tb
}

func (tb *table) row(what, figure string, args ...any) {
	line := fmt.Sprintf(figure, args...)
	fmt.Fprintf(tb.w, "%s\t%s\n", what, line)
	fmt.Printf("measured: %s: %s\n", what, line) // the run is long: say it as it comes
}

func (tb *table) print() {
	tb.w.Flush()
	fmt.Printf("\n%s\n", tb.b.String())
}

// TestBench prints the table of `make bench-cluster`: three processes on one
// machine with real fsync, client and upstream on the same cores.
func TestBench(t *testing.T) {
	if mode() != "bench" {
		t.Skip("set PERFGATE_E2E_CLUSTER=bench (make bench-cluster)")
	}
	tb := newTable()
	defer tb.print()
	span := time.Duration(harness.Size("SECONDS_PER_RUN", 5)) * time.Second
	rounds := harness.Size("ROUNDS", 3)
	t.Run("writes", func(t *testing.T) { benchWrites(t, tb, span, rounds) })
	t.Run("proxy", func(t *testing.T) { benchProxy(t, tb, span, rounds) })
	t.Run("revoke", func(t *testing.T) { benchRevoke(t, tb) })
	t.Run("crash", func(t *testing.T) {
		c := start(t, 3, options{})
		took, failed := crashLeaders(c, c.loaded(), harness.Size("CRASHES", 20))
		tb.row("leader crash to first write", "p50 %v, p99 %v, max %v (%d crashes; %d requests to the survivors failed)",
			quantile(took, 0.5), quantile(took, 0.99), slices.Max(took), len(took), len(failed))
	})
	t.Run("join", func(t *testing.T) { benchJoin(t, tb) })
}

// benchWrites sets perfgate's durable writes beside etcd's, in turn.
func benchWrites(t *testing.T, tb *table, span time.Duration, rounds int) {
	etcd := filepath.Join(harness.Work(), "etcd")
	cmd := exec.Command("go", "build", "-o", etcd, ".")
	cmd.Dir = "etcd"
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build etcd: %v\n%s", err, out)
	}
	c := start(t, 3, options{})
	c.roomy()
	figures := map[string][]float64{}
	best := map[string]sample{}
	for range rounds {
		leader, follower := c.nodes[c.leader()], c.nodes[c.follower()]
		for _, inFlight := range []int{1, 64} {
			for _, where := range []struct {
				name  string
				nodes []endpoint
			}{{"at the leader", []endpoint{leader}}, {"at a follower", []endpoint{follower}}, {"at all nodes", c.nodes}} {
				if inFlight < len(where.nodes) {
					continue
				}
				var addrs, requests []string
				for _, n := range where.nodes {
					addrs = append(addrs, n.admin)
					requests = append(requests, harness.RawRequest("POST", n.admin, "/v1/keys", c.operator, `{"name":"bench","type":"live"}`))
				}
				s := hammer(t, inFlight, span, addrs, requests, 201)
				name := fmt.Sprintf("key writes, %d in flight, %s", inFlight, where.name)
				figures[name] = append(figures[name], s.rate)
				best[name] = s
			}
		}
		for inFlight, rate := range etcdRun(t, etcd, span) {
			name := fmt.Sprintf("etcd puts of 300 bytes, %d in flight", inFlight)
			figures[name] = append(figures[name], rate)
		}
	}
	var names []string
	for name := range figures {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		latency := ""
		if s, ok := best[name]; ok {
			latency = fmt.Sprintf("; last run p50 %v, p99 %v, %d refused", s.p50, s.p99, s.bad)
		}
		tb.row(name, "%.0f/s median of %.0f%s", median(figures[name]), figures[name], latency)
	}
}

var etcdLine = regexp.MustCompile(`in_flight=(\d+) writes_per_second=(\d+)`)

// etcdRun measures three etcd members once: writes a second by number in flight.
func etcdRun(t *testing.T, program string, span time.Duration) map[int]float64 {
	t.Helper()
	cmd := exec.Command(program, "-dir", harness.Work(), "-time", span.String())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("etcd: %v\n%s", err, out)
	}
	rates := map[int]float64{}
	for _, m := range etcdLine.FindAllStringSubmatch(string(out), -1) {
		inFlight, _ := strconv.Atoi(m[1])
		rates[inFlight], _ = strconv.ParseFloat(m[2], 64)
	}
	if len(rates) == 0 {
		t.Fatalf("etcd said nothing to read: %s", out)
	}
	return rates
}

// benchProxy compares a node of a cluster with a lone one, in turn.
func benchProxy(t *testing.T, tb *table, span time.Duration, rounds int) {
	nodes := []*cluster{start(t, 1, options{lone: true}), start(t, 3, options{})}
	rates := make([][]float64, 2)
	last := make([]sample, 2)
	var requests []string
	for _, c := range nodes {
		requests = append(requests, harness.RawRequest("GET", c.nodes[0].proxy, "/bench", c.loaded()[0], ""))
	}
	for range rounds + 1 {
		for i, c := range nodes {
			last[i] = hammer(t, 32, span, []string{c.nodes[0].proxy}, requests[i:i+1], 200)
			rates[i] = append(rates[i], last[i].rate)
			if last[i].bad > 0 {
				t.Errorf("%d requests were not answered with 200", last[i].bad)
			}
		}
	}
	lone, member := rates[0][1:], rates[1][1:] // the first round warms up
	tb.row("proxied requests, 32 connections, lone node", "%.0f/s median of %.0f, p50 %v, p99 %v", median(lone), lone, last[0].p50, last[0].p99)
	tb.row("proxied requests, 32 connections, node of a cluster", "%.0f/s median of %.0f, p50 %v, p99 %v", median(member), member, last[1].p50, last[1].p99)
	tb.row("cluster node to lone node", "%.3f", median(member)/median(lone))
}

func benchRevoke(t *testing.T, tb *table) {
	c := start(t, 3, options{})
	c.roomy()
	id, _ := c.create()
	c.insist("POST", "/v1/keys/"+id+"/revoke", map[string]any{}) // past the wait after the election
	took := revokes(c, harness.Size("REVOKES", 300))
	tb.row("revoke, all nodes up", "p50 %v, p99 %v, max %v (%d)", quantile(took, 0.5), quantile(took, 0.99), slices.Max(took), len(took))
	i := c.follower()
	r := awayRevoke(c, i, func() { c.Pause(i) }, func() { c.Resume(i) })
	tb.row("revoke, a node paused", "%v; admitted there afterwards: %d", r.took.Round(time.Millisecond), r.late)
	if os.Geteuid() != 0 {
		return
	}
	c = start(t, 3, options{netns: true})
	c.roomy()
	i = c.follower()
	r = awayRevoke(c, i, func() { c.net.Isolate(i) }, func() { c.net.Heal() })
	tb.row("revoke, a node cut off", "%v; admitted there afterwards: %d", r.took.Round(time.Millisecond), r.late)
}

// benchJoin times an empty fourth node until it serves, among a million keys.
func benchJoin(t *testing.T, tb *table) {
	rng, _ := chance(t)
	c := start(t, 3, options{})
	c.roomy()
	const lines = 10_000
	n := harness.Size("KEYS", 1_000_000)
	from := time.Now()
	for batch := range n / lines {
		c.insist("POST", "/v1/keys/import", importLines(rng, batch, lines))
	}
	tb.row(fmt.Sprintf("import of %d keys", n), "%v, %.0f keys/s", time.Since(from).Round(time.Millisecond), float64(n)/time.Since(from).Seconds())
	id, _ := c.create()
	from = time.Now()
	i := c.Add()
	if err := c.becomeReady(5*time.Minute, i); err != nil {
		t.Fatalf("%v\n%s", err, c.logs(40))
	}
	tb.row(fmt.Sprintf("a node joining %d keys, to serving", n), "%v", time.Since(from).Round(time.Millisecond))
	if r, err := c.manage(writeLimit, i, "GET", "/v1/keys/"+id, nil); err != nil || r.StatusCode != 200 {
		t.Errorf("the new node does not have the newest key: %v %v", r, err)
	}
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(v))[len(v)/2]
}
