package peers

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// answerLimit bounds one exchange of the clients here.
const answerLimit = 30 * time.Second

// syscalls counts the system calls of a proxy for each request, with strace. It makes
// the process slower, so that less is done at a time than under full load.
func syscalls(b *bench) {
	const conns, each = 64, 100
	cells := map[string]string{}
	for _, name := range names {
		p := b.startPeer(name, options{upstream: b.upstream})
		clients := b.dial(p, conns)
		b.exchange(clients, 10)
		counts := b.strace(p, func() { b.exchange(clients, each) })
		total := 0
		for _, n := range counts {
			total += n
		}
		var most []string
		for _, call := range slices.SortedFunc(maps.Keys(counts), func(x, y string) int { return counts[y] - counts[x] }) {
			if n := float64(counts[call]) / (conns * each); n >= 0.05 {
				most = append(most, fmt.Sprintf("%s %.2f", call, n))
			}
		}
		cells[name] = fmt.Sprintf("%.2f", float64(total)/(conns*each))
		fmt.Printf("measured: system calls/request: %s: %s: %s\n", name, cells[name], strings.Join(most, ", "))
	}
	b.table.cells("system calls/request, 64 connections", cells)
}

// strace counts the system calls of p, by name, while work is done.
func (b *bench) strace(p *peer, work func()) map[string]int {
	b.Helper()
	path := filepath.Join(b.TempDir(), "strace")
	args := []string{"-f", "-c", "-U", "calls,name", "-o", path}
	for _, pid := range p.pids {
		args = append(args, "-p", strconv.Itoa(pid))
	}
	cmd := exec.Command("strace", args...)
	if err := harness.Spawn(cmd); err != nil {
		b.Fatal(err)
	}
	harness.Await(b, startLimit, "strace to hold every thread", func() error { return traced(p.pids) })
	work()
	cmd.Process.Signal(syscall.SIGINT)
	cmd.Wait()
	raw, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	counts := map[string]int{}
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		if len(f) != 2 || f[1] == "total" {
			continue
		}
		if n, err := strconv.Atoi(f[0]); err == nil {
			counts[f[1]] = n
		}
	}
	if len(counts) == 0 {
		b.Fatalf("strace of %s: %s", p.name, raw)
	}
	return counts
}

// traced is nil when every thread of the processes is.
func traced(pids []int) error {
	for _, pid := range pids {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		for _, path := range tasks {
			raw, err := os.ReadFile(path)
			if err == nil && strings.Contains(string(raw), "TracerPid:\t0\n") {
				return fmt.Errorf("%s: not traced", path)
			}
		}
	}
	return nil
}

// caller is one connection to a proxy with the request that it repeats.
type caller struct {
	net.Conn
	br      *bufio.Reader
	request string
}

// dial opens n connections, from several addresses: perfgate gives one address no more
// than half of all.
func (b *bench) dial(p *peer, n int) []*caller {
	b.Helper()
	out := make([]*caller, n)
	for i := range out {
		d := net.Dialer{Timeout: answerLimit, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%8))}}
		c, err := d.Dial("tcp", p.addr)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { c.Close() })
		out[i] = &caller{c, bufio.NewReaderSize(c, 4<<10), harness.RawRequest("GET", p.addr, "/1k", b.keys[i%len(b.keys)], "")}
	}
	return out
}

// exchange has each connection send n requests, one after the other.
func (b *bench) exchange(callers []*caller, n int) {
	b.Helper()
	var wg sync.WaitGroup
	for _, c := range callers {
		wg.Go(func() {
			for range n {
				if err := c.once(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
}

func (c *caller) once() error {
	c.SetDeadline(time.Now().Add(answerLimit))
	if _, err := io.WriteString(c, c.request); err != nil {
		return err
	}
	status, err := harness.SkipAnswer(c.br)
	if err == nil && status != 200 {
		err = fmt.Errorf("status %d", status)
	}
	return err
}

// allocations are those of perfgate for each request under full load, less those of as
// much time without requests.
func allocations(b *bench) {
	p := b.startPeer("perfgate", options{upstream: b.upstream})
	tr := traffic{path: "/1k"}
	b.wrk(p, tr, time.Second)
	var count, size, foreign []float64
	for range b.rounds {
		c0, s0 := b.allocated(p)
		harness.Pause(nil, b.span)
		c1, s1 := b.allocated(p)
		s := b.wrk(p, tr, b.span)
		c2, s2 := b.allocated(p)
		count = append(count, (c2-c1-(c1-c0))/float64(s.requests))
		size = append(size, (s2-s1-(s1-s0))/float64(s.requests))
		foreign = append(foreign, s.foreign)
		fmt.Printf("measured: allocations/request: %.2f, %.0f bytes; others %.2f cores\n", count[len(count)-1], size[len(size)-1], s.foreign)
	}
	b.table.row("allocations/request", "%.1f", series{map[string][]float64{"perfgate": count}, foreign})
	b.table.row("allocated bytes/request", "%.0f", series{map[string][]float64{"perfgate": size}, foreign})
}

// allocated are perfgate's allocations since its start and their bytes.
func (b *bench) allocated(p *peer) (count, size float64) {
	b.Helper()
	for line := range strings.Lines(string(p.insist("GET", "/metrics", nil).Raw)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch name {
		case "go_memstats_mallocs_total":
			count, _ = strconv.ParseFloat(value, 64)
		case "go_memstats_alloc_bytes_total":
			size, _ = strconv.ParseFloat(value, 64)
		}
	}
	if count == 0 || size == 0 {
		b.Fatal("/metrics has no allocations")
	}
	return count, size
}

// audit compares perfgate with its request audit and without.
func audit(b *bench) {
	var peers []*peer
	names := []string{"on", "off"}
	for _, setting := range []string{"all", "off"} {
		p := b.startPeer("perfgate", options{upstream: b.upstream, audit: setting})
		b.wrk(p, traffic{path: "/1k"}, time.Second)
		peers = append(peers, p)
	}
	var rate, cpu series
	for range b.rounds {
		for _, i := range b.rng.Perm(len(peers)) {
			s := b.wrk(peers[i], traffic{path: "/1k"}, b.span)
			fmt.Printf("measured: request audit %s: %.0f/s, %.1f µs CPU; others %.2f cores\n", names[i], s.rate, s.cpu, s.foreign)
			rate.add(names[i], s.rate, s.foreign)
			cpu.add(names[i], s.cpu, s.foreign)
		}
	}
	b.table.cells("request audit on to off: requests/s", map[string]string{"perfgate": rate.ratio("on", "off")})
	b.table.cells("request audit on to off: CPU/request", map[string]string{"perfgate": cpu.ratio("on", "off")})
}
