package peers

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// figures by their names in FIGURES, in the order of the table.
var figures = []struct {
	name string
	run  func(*bench)
}{
	{"small", load(traffic{title: "1 KiB, 64 connections", path: "/1k"})},
	{"512", load(traffic{title: "1 KiB, 512 connections", path: "/1k", conns: 512})},
	{"16k", load(traffic{title: "16 KiB answers", path: "/16k"})},
	{"1m", load(traffic{title: "1 MiB answers", path: "/1m"})},
	{"post16k", load(traffic{title: "POST of 16 KiB", method: "POST", path: "/1k", body: 16 << 10})},
	{"post1m", load(traffic{title: "POST of 1 MiB", method: "POST", path: "/1k", body: 1 << 20})},
	{"upload", load(traffic{title: "chunked POST of 16 KiB", method: "POST", path: "/1k", body: 16 << 10, chunked: true})},
	{"chunked", load(traffic{title: "chunked answers of 16 KiB", path: "/chunked"})},
	{"tls", load(traffic{title: "1 KiB over TLS 1.3, 64 connections", path: "/1k", secure: true})},
	{"syscalls", syscalls},
	{"allocs", allocations},
	{"latency", latency},
	{"audit", audit},
	{"idle", idle(false)},
	{"idletls", idle(true)},
	{"race", race},
}

// bench is what the figures have in common.
type bench struct {
	testing.TB
	keys     []string
	keyFile  string // a key a line
	upstream string // host:port
	known    []int  // processes of the measurement other than the proxies and wrk
	rounds   int
	span     time.Duration // of a round
	rng      *rand.Rand
	table    *table
	whole    *bench           // of the whole run, which lives longer than a figure
	fleets   map[bool][]*peer // the proxies that the figures of load share, by secure
}

// of is b with the life of a subtest.
func (b *bench) of(t testing.TB) *bench {
	c := *b
	c.TB, c.whole = t, b
	return &c
}

// TestBench prints the table of `make bench-proxy`.
func TestBench(t *testing.T) {
	if os.Getenv(enabledVar) == "" {
		t.Skipf("set %s=1 (make bench-proxy)", enabledVar)
	}
	for _, program := range []string{"nginx", "haproxy", "wrk", "strace"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%v; on Debian: apt-get install nginx haproxy wrk strace", err)
		}
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("PERFGATE_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	b := &bench{
		TB: t, keys: newKeys(1000), keyFile: filepath.Join(t.TempDir(), "keys"), known: []int{os.Getpid()},
		rounds: harness.Size("ROUNDS", 5), span: time.Duration(harness.Size("SECONDS", 2)) * time.Second,
		rng: rand.New(rand.NewPCG(seed, 0)), table: &table{}, fleets: map[bool][]*peer{},
	}
	if err := os.WriteFile(b.keyFile, []byte(strings.Join(b.keys, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("PERFGATE_SEED=%d, %d rounds of %v\n", seed, b.rounds, b.span)
	cmd, addr := startUpstream(t)
	b.upstream, b.known = addr, append(b.known, cmd.Process.Pid)
	defer b.table.print()
	chosen := selected(t)
	for _, f := range figures {
		if slices.Contains(chosen, f.name) {
			t.Run(f.name, func(t *testing.T) { f.run(b.of(t)) })
		}
	}
}

// selected are the names in FIGURES, by default all.
func selected(t testing.TB) []string {
	t.Helper()
	var all []string
	for _, f := range figures {
		all = append(all, f.name)
	}
	text := os.Getenv("FIGURES")
	if text == "" {
		return all
	}
	names := strings.Split(text, ",")
	for _, name := range names {
		if !slices.Contains(all, name) {
			t.Fatalf("FIGURES: there is no %q; the figures are %s", name, strings.Join(all, ","))
		}
	}
	return names
}
