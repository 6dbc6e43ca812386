package peers

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

const (
	enabledVar = "PERFGATE_E2E_PEERS"
	insideVar  = "PEERS_INSIDE" // set in the namespace
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
}

// bench is what the figures have in common.
type bench struct {
	testing.TB
	keys     []string
	keyFile  string // a key a line
	upstream string // host:port
	known    []int  // processes that belong to the measurement besides proxies and wrk
	rounds   int
	span     time.Duration // of a round
	rng      *rand.Rand
	table    *table
}

// of is b with the life of a subtest.
func (b *bench) of(t testing.TB) *bench {
	c := *b
	c.TB = t
	return &c
}

func TestMain(m *testing.M) {
	flag.Parse()
	switch addr := os.Getenv(upstreamVar); {
	case addr != "":
		fmt.Fprintln(os.Stderr, "upstream:", serveUpstream(addr))
		os.Exit(1)
	case os.Getenv(enabledVar) != "" && os.Getenv(insideVar) == "" && os.Geteuid() == 0:
		os.Exit(inNamespace())
	}
	harness.Main(m)
}

// inNamespace runs the tests in a network namespace of their own and returns their exit
// code. The binary is built before: modules may have to be loaded.
func inNamespace() int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir, err := os.MkdirTemp("", "perfgate-peers-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	binary := os.Getenv("PERFGATE_BINARY")
	if binary == "" {
		binary = filepath.Join(dir, "perfgate")
		if err := harness.Build(binary, ".", "github.com/perfgate/perfgate", "-trimpath", "-ldflags=-s -w"); err != nil {
			return fail(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		return fail(err)
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideVar+"=1", "PERFGATE_BINARY="+binary)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := harness.Spawn(cmd); err != nil {
		return fail(err)
	}
	cmd.Wait()
	return cmd.ProcessState.ExitCode()
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
	if os.Getenv(insideVar) != "" {
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			t.Fatalf("ip link set lo up: %v: %s", err, out)
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
		rng: rand.New(rand.NewPCG(seed, 0)), table: &table{},
	}
	if err := os.WriteFile(b.keyFile, []byte(strings.Join(b.keys, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("PERFGATE_SEED=%d, %d rounds of %v\n", seed, b.rounds, b.span)
	cmd, addr := startUpstream(t)
	b.upstream, b.known = addr, append(b.known, cmd.Process.Pid)
	defer b.table.print()
	for _, name := range selected(t) {
		for _, f := range figures {
			if f.name == name {
				t.Run(f.name, func(t *testing.T) { f.run(b.of(t)) })
			}
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
