package peers

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// traffic is what wrk sends.
type traffic struct {
	title   string
	method  string // "" = GET
	path    string
	body    int // octets
	chunked bool
	conns   int // 0 = 64
	secure  bool
}

// sample is one round of one proxy.
type sample struct {
	rate     float64 // requests/s
	cpu      float64 // µs of the proxy for each request
	foreign  float64 // cores that others used
	p50, p99 time.Duration
	requests int
}

// names of the proxies, in the order of the columns: columns in the table. "before" is there
// if PERFGATE_BASELINE is the path of another binary of perfgate.
var (
	names   = []string{"nginx", "haproxy", "perfgate"}
	columns = []string{"nginx", "HAProxy", "perfgate"}
)

const baselineVar = "PERFGATE_BASELINE"

func init() {
	if os.Getenv(baselineVar) != "" {
		names, columns = append(names, "before"), append(columns, "before")
	}
}

// load compares the proxies under traffic.
func load(tr traffic) func(*bench) {
	return func(b *bench) {
		peers := b.fleet(tr.secure)
		var rate, cpu, p99 series
		for range b.rounds {
			for _, i := range b.rng.Perm(len(peers)) {
				s := b.wrk(peers[i], tr, b.span)
				fmt.Printf("measured: %s: %s: %.0f/s, %.1f µs CPU, p50 %v, p99 %v; others %.2f cores\n", tr.title, peers[i].name, s.rate, s.cpu, s.p50, s.p99, s.foreign)
				rate.add(peers[i].name, s.rate, s.foreign)
				cpu.add(peers[i].name, s.cpu, s.foreign)
				p99.add(peers[i].name, float64(s.p99.Microseconds())/1e3, s.foreign)
			}
		}
		b.table.row(tr.title+": requests/s", "%.0f", rate)
		b.table.row(tr.title+": CPU µs/request", "%.1f", cpu)
		b.table.row(tr.title+": p99, ms", "%.1f", p99)
	}
}

// fleet returns the proxies that the figures of load share. They start with the first of
// these and have warmed up.
func (b *bench) fleet(secure bool) []*peer {
	b.Helper()
	if b.fleets[secure] == nil {
		for _, name := range names {
			p := b.whole.startPeer(name, options{upstream: b.upstream, secure: secure})
			b.wrk(p, traffic{path: "/1k", secure: secure}, b.span) // a second may be too short for 64 handshakes beside others
			b.fleets[secure] = append(b.fleets[secure], p)
		}
	}
	return b.fleets[secure]
}

// wrk puts p under traffic for a time, and fails if a request does.
func (b *bench) wrk(p *peer, tr traffic, span time.Duration) sample {
	b.Helper()
	base, method, conns, framing := "http://"+p.addr, tr.method, tr.conns, "sized"
	if tr.secure {
		base = "https://" + p.addr
	}
	if method == "" {
		method = "GET"
	}
	if conns == 0 {
		conns = 64
	}
	if tr.chunked {
		framing = "chunked"
	}
	most := len(b.keys)
	if tr.body > 0 {
		most = min(most, 64<<20/tr.body) // requests are held in memory
	}
	script := filepath.Join(b.TempDir(), "wrk.lua")
	copyFile(b, "wrk.lua", script)
	cmd := exec.Command("wrk", "-t2", "-c"+strconv.Itoa(conns), "-d"+strconv.Itoa(int(span.Seconds()))+"s", "-s", script, base, "--",
		b.keyFile, strconv.Itoa(most), p.addr, method, tr.path, strconv.Itoa(tr.body), framing)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cpu, known, all, began := cpuOf(p.pids...), cpuOf(b.known...), busy(), time.Now()
	if err := harness.Spawn(cmd); err != nil {
		b.Fatal(err)
	}
	err := cmd.Wait()
	took := time.Since(began)
	cpu, known, all = cpuOf(p.pids...)-cpu, cpuOf(b.known...)-known, busy()-all
	var requests, micros, failed, p50, p99 int64
	_, result, _ := bytes.Cut(out.Bytes(), []byte("\nresult "))
	if n, _ := fmt.Sscan(string(result), &requests, &micros, &failed, &p50, &p99); err != nil || n != 5 || failed > 0 || requests == 0 {
		b.Fatalf("wrk against %s: %v, %d of %d requests failed\n%s\n%s", p.name, err, failed, requests, out.Bytes(), p.Tail(20))
	}
	own := cpu + known + cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return sample{
		rate: float64(requests) / float64(micros) * 1e6, cpu: float64(cpu.Microseconds()) / float64(requests),
		foreign: min(max(0, (all-own).Seconds()/took.Seconds()), float64(runtime.NumCPU())),
		p50:     time.Duration(p50) * time.Microsecond, p99: time.Duration(p99) * time.Microsecond, requests: int(requests),
	}
}
