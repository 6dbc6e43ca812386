package peers

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

const (
	baseConns = 1000 // what the first ones take belongs to the process
	heldConns = 5000
)

// idle measures the resident memory of a connection that waits after its first answer.
func idle(secure bool) func(*bench) {
	return func(b *bench) {
		var files syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil || files.Max < 16_000 {
			b.Skipf("%d open files are allowed; this needs 16,000 (ulimit -Hn)", files.Max)
		}
		title := "bytes of an idle connection"
		if secure {
			title += ", TLS 1.3"
		}
		cells := map[string]string{}
		for _, name := range names {
			p := b.startPeer(name, options{upstream: b.upstream, secure: secure})
			held := b.hold(p, baseConns, secure)
			before := b.settled(p)
			held = append(held, b.hold(p, heldConns, secure)...)
			after := b.settled(p)
			for i, c := range held {
				if err := c.once(); err != nil {
					b.Fatalf("connection %d of %d to %s, after it was idle: %v", i, len(held), name, err)
				}
			}
			for _, c := range held {
				c.Close()
			}
			p.stop()
			cells[name] = fmt.Sprintf("%d", (after-before)/heldConns)
			fmt.Printf("measured: %s: %s: %s; %d MB with %d connections\n", title, name, cells[name], after>>20, baseConns+heldConns)
		}
		b.table.cells(title, cells)
	}
}

// hold opens n connections and makes one request on each.
func (b *bench) hold(p *peer, n int, secure bool) []*caller {
	b.Helper()
	out := b.dial(p, n)
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := worker; i < n; i += 8 {
				c := out[i]
				if secure {
					c.Conn = tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
					c.br = bufio.NewReaderSize(c.Conn, 4<<10)
				}
				if err := c.once(); err != nil {
					b.Errorf("connection %d to %s: %v", i, p.name, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return out
}

// settled is the resident memory of p once it has not changed by a thousandth for a
// second, or after half a minute.
func (b *bench) settled(p *peer) int64 {
	last, same := residentOf(p.pids...), 0
	for end := time.Now().Add(30 * time.Second); same < 4 && time.Now().Before(end); {
		harness.Pause(nil, 250*time.Millisecond)
		now := residentOf(p.pids...)
		if same++; max(now-last, last-now) > last/1000 {
			same = 0
		}
		last = now
	}
	return last
}
