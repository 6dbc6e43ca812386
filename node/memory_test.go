package node

import (
	"context"
	"errors"
	"io"
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/perfgate/perfgate/httpapi/bodies"
	"github.com/perfgate/perfgate/node/config"
)

const mib = 1 << 20

// keepCollector gives the collector its settings back after the test.
func keepCollector(t *testing.T) {
	percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(math.MaxInt64)
	t.Cleanup(func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	})
}

// The memory comes from the runtime's own variable, the configuration, the control group
// or the machine, in this order.
func TestFindMemory(t *testing.T) {
	t.Parallel()
	none := func(err error) memlimit.Provider { return func() (uint64, error) { return 0, err } }
	machine := memlimit.Limit(8192 * mib)
	broken := errors.New("broken")
	for name, tt := range map[string]struct {
		configured     config.Size
		runtimes       int64
		group, machine memlimit.Provider
		limit          int64
		source         string
		warns          bool
	}{
		"the runtime's limit":   {1024 * mib, 300 * mib, memlimit.Limit(512 * mib), machine, 300 * mib, "GOMEMLIMIT", false},
		"the configuration":     {1024 * mib, math.MaxInt64, none(broken), none(broken), 1024 * mib, "node.memory", false},
		"a large group":         {0, math.MaxInt64, memlimit.Limit(4000 * mib), machine, 3600 * mib, "cgroup", false},
		"a small group":         {0, math.MaxInt64, memlimit.Limit(256 * mib), machine, 224 * mib, "cgroup", false},
		"a tiny group":          {0, math.MaxInt64, memlimit.Limit(40 * mib), machine, 20 * mib, "cgroup", false},
		"a group of everything": {0, math.MaxInt64, memlimit.Limit(math.MaxInt64 &^ 4095), machine, 4096 * mib, "machine", false},
		"an unlimited group":    {0, math.MaxInt64, none(memlimit.ErrNoLimit), machine, 4096 * mib, "machine", false},
		"no group":              {0, math.MaxInt64, none(memlimit.ErrNoCgroup), machine, 4096 * mib, "machine", false},
		"another system":        {0, math.MaxInt64, none(memlimit.ErrCgroupsNotSupported), machine, 4096 * mib, "machine", false},
		"an unreadable group":   {0, math.MaxInt64, none(broken), machine, 4096 * mib, "machine", true},
		"an unreadable machine": {0, math.MaxInt64, memlimit.Limit(512 * mib), none(broken), 512*mib - 512*mib/10, "cgroup", false},
		"nothing readable":      {0, math.MaxInt64, none(broken), none(broken), unstated, "default", true},
	} {
		m := findMemory(tt.configured, tt.runtimes, tt.group, tt.machine)
		if (m.unread != nil) != tt.warns || m.Limit != tt.limit || m.Source != tt.source {
			t.Errorf("%s: %d MiB of %q, %v; want %d MiB of %q", name, m.Limit/mib, m.Source, m.unread, tt.limit/mib, tt.source)
		}
	}
}

// The parts of a node's memory leave room for everything else, also in a container of
// 256 MiB, where the largest body of one account still fits.
func TestDivideMemory(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		limit, blocks, records, bodies int64
		buckets                        int
	}{
		{0, 128 * mib, unstated / 5, 128 * mib, unstated / (12 * 88)},
		{224 * mib, 48 * mib, 224 * mib / 5, 66 * mib, 222425},
		{1024 * mib, 128 * mib, 1024 * mib / 5, 128 * mib, 1 << 30 / (12 * 88)},
		{15 << 30, 128 * mib, 3 << 30, 128 * mib, 1 << 20},
		{256 << 30, 128 * mib, 4 << 30, 128 * mib, 1 << 20},
	} {
		m := Memory{Limit: tt.limit}
		if m.blocks() != tt.blocks || m.records() != tt.records || m.bodies() != tt.bodies || m.buckets() != tt.buckets {
			t.Errorf("%d MiB: blocks %d, records %d, bodies %d MiB, %d buckets", tt.limit/mib, m.blocks()/mib, m.records()/mib, m.bodies()/mib, m.buckets())
		}
		if all := m.blocks() + m.records() + m.bodies() + 88*int64(m.buckets()); tt.limit != 0 && all > tt.limit*4/5 {
			t.Errorf("%d MiB: %d MiB are given away", tt.limit/mib, all/mib)
		}
		const largest = 16 * mib // of the bodies of management calls: an import
		held, err := bodies.NewMemory(m.bodies()).Read(io.LimitReader(zeros{}, largest), "acct_1", -1, largest)
		if err != nil {
			t.Errorf("%d MiB: an import: %v", tt.limit/mib, err)
		}
		held.Release()
	}
}

// The collector gets the node's settings, unless the environment has its own.
func TestLimitMemory(t *testing.T) {
	keepCollector(t)
	const own = 3 << 30
	for _, tt := range []struct {
		gogc, gomemlimit string
		percent          int
		limit            int64
	}{
		{"", "", gcPercent, own}, {"50", "", 100, own}, {"", "off", gcPercent, math.MaxInt64}, {"50", "off", 100, math.MaxInt64},
	} {
		t.Setenv("GOGC", tt.gogc)
		t.Setenv("GOMEMLIMIT", tt.gomemlimit)
		m := LimitMemory(&config.Config{Node: config.Node{Memory: own}})
		if p, l := debug.SetGCPercent(100), debug.SetMemoryLimit(math.MaxInt64); p != tt.percent || l != tt.limit || m.Limit != own || m.paced != (tt.gogc == "") {
			t.Errorf("GOGC=%s GOMEMLIMIT=%s: %d %%, %d bytes, %+v; want %d %%, %d bytes", tt.gogc, tt.gomemlimit, p, l, m, tt.percent, tt.limit)
		}
	}
	t.Setenv("GOMEMLIMIT", "")
	if m := LimitMemory(&config.Config{}); m.Source != "machine" && m.Source != "cgroup" || m.Limit < 16*mib {
		t.Errorf("this machine: %+v", m)
	}
}

func TestPercentOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		live, floor int64
		want        int
	}{
		{0, 128 * mib, 3100}, {4 * mib, 128 * mib, 3100}, {32 * mib, 128 * mib, 300}, {43 * mib, 128 * mib, gcPercent}, {1 << 40, 128 * mib, gcPercent}, {0, 0, gcPercent},
	} {
		if got := percentOf(tt.live, tt.floor); got != tt.want {
			t.Errorf("%d of %d MiB: %d %%, want %d %%", tt.live/mib, tt.floor/mib, got, tt.want)
		}
	}
}

// The collector does not run below the floor, and runs by its percentage again when
// the live heap has grown.
func TestPace(t *testing.T) {
	keepCollector(t)
	goal := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}, {Name: "/gc/gogc:percent"}}
	read := func() (bytes int64, percent uint64) {
		metrics.Read(goal)
		return int64(goal[0].Value.Uint64()), goal[1].Value.Uint64()
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !ok(); {
			if time.Now().After(end) {
				bytes, percent := read()
				t.Fatalf("no %s: the goal is %d MiB, %d %%", what, bytes/mib, percent)
			}
			runtime.Gosched()
		}
	}
	runtime.GC()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		Memory{Limit: 1 << 30, paced: true}.pace(ctx)
	}()
	until("floor", func() bool { bytes, _ := read(); return bytes >= heapFloor*3/4 })
	large := make([]byte, 256*mib)
	runtime.GC()
	until("percentage", func() bool { _, percent := read(); return percent == gcPercent })
	runtime.KeepAlive(large)
	cancel()
	<-ended
	Memory{Limit: 1 << 30}.pace(t.Context()) // returns: GOGC was set
}
