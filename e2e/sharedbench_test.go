package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// TestBenchLimits measures limits that three processes share; make bench-limits.
func TestBenchLimits(t *testing.T) {
	if os.Getenv("PERFGATE_BENCH_LIMITS") == "" {
		t.Skip("set PERFGATE_BENCH_LIMITS=1 (make bench-limits)")
	}
	c := startTrio(t)
	for _, row := range []struct {
		name      string
		perMinute int
		percent   int // of the limit
		at        func(i int) int
	}{
		{"80 % in turn", 600, 80, func(i int) int { return i % 3 }},
		{"80 % at one node", 600, 80, func(int) int { return 1 }},
		{"80 % in turn", 6000, 80, func(i int) int { return i % 3 }},
		{"80 % at one node", 6000, 80, func(int) int { return 1 }},
		{"150 % in turn", 6000, 150, func(i int) int { return i % 3 }},
		{"150 % at one node", 6000, 150, func(int) int { return 1 }},
	} {
		c.measure(row.name, row.perMinute, row.percent, row.at)
	}
}

// measure runs a load for half a minute and logs its figures.
func (c *trio) measure(name string, perMinute, percent int, at func(int) int) {
	c.t.Helper()
	key := c.key(perMinute, perMinute/10)
	c.mu.Lock()
	c.arrived = nil
	c.mu.Unlock()
	before := c.limits()
	every := time.Minute * 100 / time.Duration(perMinute*percent)
	const length = 30 * time.Second
	var all sync.WaitGroup
	var refused, failed atomic.Int64
	began := time.Now()
	n := int(length / every)
	for i := range n {
		harness.Pause(nil, time.Until(began.Add(time.Duration(i)*every)))
		all.Go(func() {
			switch r, err := try("GET", c.nodes[at(i)].proxy+"/", as(key), nil); {
			case err == nil && r.StatusCode == 429:
				refused.Add(1)
			case err != nil || r.StatusCode != 200:
				failed.Add(1)
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	passed := c.check(began, float64(perMinute), float64(perMinute/10))
	least := min(float64(n), float64(perMinute/10)+float64(perMinute)*took.Minutes())
	now := c.limits()
	waits := now.waits - before.waits
	c.t.Logf("%-18s limit %5d: %5d requests, %5d pass (%.2f %% of what one bucket lets through), %d refused, %d failed; %.2f %% waited, mean %.2f ms, %.3f %% over 3 ms; %.1f messages/s",
		name, perMinute, n, passed, 100*float64(passed)/least, refused.Load(), failed.Load(),
		100*waits/float64(n), 1000*(now.seconds-before.seconds)/max(waits, 1), 100*(waits-(now.quick-before.quick))/float64(n), (now.messages-before.messages)/took.Seconds())
}

// figures are metrics of the limits, over all nodes.
type figures struct{ waits, seconds, quick, messages float64 }

var metricPattern = regexp.MustCompile(`(?m)^perfgate_limits_(wait_seconds_count|wait_seconds_sum|wait_seconds_bucket\{le="0.003"\}|messages_total\{[^}]*\}) (\S+)$`)

func (c *trio) limits() (f figures) {
	for _, s := range c.nodes {
		r := do(c.t, "GET", s.admin+"/metrics", nil, nil)
		for _, m := range metricPattern.FindAllStringSubmatch(string(r.Raw), -1) {
			v, err := strconv.ParseFloat(m[2], 64)
			if err != nil {
				c.t.Fatal(fmt.Errorf("metric %s: %w", m[1], err))
			}
			switch m[1] {
			case "wait_seconds_count":
				f.waits += v
			case "wait_seconds_sum":
				f.seconds += v
			case `wait_seconds_bucket{le="0.003"}`:
				f.quick += v
			default:
				f.messages += v
			}
		}
	}
	return f
}

// TestBenchSharedProxying compares a node whose limits are shared with two others to one that is
// alone, in turn and with the same load, so that other programs slow both down; make bench-limits.
func TestBenchSharedProxying(t *testing.T) {
	if os.Getenv("PERFGATE_BENCH_LIMITS") == "" {
		t.Skip("set PERFGATE_BENCH_LIMITS=1 (make bench-limits)")
	}
	c := startTrio(t)
	lone := start(t, options{upstream: c.upstream.URL})
	const most = 60_000_000 // a minute: it is charged, and never reached
	limits := map[string]any{"requests_per_minute": most, "requests_per_month": 1_000_000_000}
	lone.manage(200, "PATCH", "/v1/accounts/default", map[string]any{"tier": "enterprise", "limits": limits})
	key, _ := lone.create(map[string]any{})
	sides := []struct {
		*server
		key string
	}{{c.nodes[0], c.key(most, most)}, {lone, key}}
	const rounds, senders = 41, 8
	var ratios []float64
	var done [2]int64
	var spent [2]time.Duration
	for round := range rounds {
		var now [2]int64
		for i := range sides {
			side := (i + round) % 2 // each is first in turn
			before := processor(t, sides[side].PID())
			now[side] = c.load(sides[side].proxy, sides[side].key, senders, time.Second/2)
			if round > 0 { // the first warms up
				done[side] += now[side]
				spent[side] += processor(t, sides[side].PID()) - before
			}
		}
		if round > 0 {
			ratios = append(ratios, float64(now[0])/float64(max(now[1], 1)))
		}
	}
	slices.Sort(ratios)
	each := func(side int) float64 { return float64(spent[side].Microseconds()) / float64(max(done[side], 1)) }
	t.Logf("proxying with shared limits against one node's: %.3f of the requests (median of %d; quarters from %.3f to %.3f); %d and %d requests, with %.0f and %.0f µs of processor time each: %.3f",
		ratios[len(ratios)/2], len(ratios), ratios[len(ratios)/4], ratios[len(ratios)*3/4], done[0], done[1], each(0), each(1), each(1)/each(0))
}

// processor is the processor time that a process has used, in steps of 10 ms. A load by other
// programs changes it little.
func processor(t *testing.T, pid int) time.Duration {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// load sends requests from each sender, one after the other, and returns how many were answered
// with 200. On a machine under load, a node may lose its lease for a moment.
func (c *trio) load(base, key string, senders int, d time.Duration) int64 {
	var all sync.WaitGroup
	var n atomic.Int64
	end := time.Now().Add(d)
	for range senders {
		all.Go(func() {
			for time.Now().Before(end) {
				r, err := try("GET", base+"/", as(key), nil)
				switch {
				case err == nil && r.StatusCode == 200:
					n.Add(1)
				case err == nil && r.StatusCode == 503:
					harness.Pause(nil, 20*time.Millisecond)
				default:
					c.t.Error(r, err)
					return
				}
			}
		})
	}
	all.Wait()
	c.mu.Lock()
	c.arrived = c.arrived[:0]
	c.mu.Unlock()
	return n.Load()
}
