//go:build !race && !386

package h1

import (
	"bufio"
	"net"
	"runtime"
	"runtime/debug"
	"testing"
)

// A connection of TCP that waits has the smallest stack, before its first request and after it.
func TestWaitsTakeSmallStacks(t *testing.T) {
	needsGoroutines(t)
	const conns, smallest, spare = 400, 2 << 10, 1 << 10
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection makes stacks smaller
	stacks := func() int {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.StackInuse)
	}
	small := func(when string, before int) {
		t.Helper()
		eventually(t, "small stacks "+when, func() bool { return (stacks()-before)/conns < smallest+spare })
	}
	s := answering(echoing)
	addr := serve(t, s)
	before := stacks()
	var open []net.Conn
	for range conns {
		c, _ := dial(t, addr)
		open = append(open, c)
	}
	eventually(t, "the connections to be served", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.conns) == conns
	})
	small("before the first request", before)
	for _, c := range open {
		ask(t, c, bufio.NewReader(c), "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	small("after the first answer", before)
}
