package cluster

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perfgate/perfgate/e2e/harness"
)

// sample is the result of one run of hammer.
type sample struct {
	rate     float64 // answers with the expected status, a second
	p50, p99 time.Duration
	bad      int // other answers
}

// hammer keeps a number of connections busy for span, one request in flight on
// each; connection i goes to address i and sends request i, in turn. It reads no
// more of an answer than it must: on two cores the client's own work counts.
func hammer(t testing.TB, connections int, span time.Duration, addrs, requests []string, status int) sample {
	t.Helper()
	var (
		mu   sync.Mutex
		took []time.Duration
		out  sample
		wg   sync.WaitGroup
	)
	began := time.Now()
	for i := range connections {
		wg.Go(func() {
			mine, bad, err := busy(strings.TrimPrefix(addrs[i%len(addrs)], "http://"), requests[i%len(requests)], status, began.Add(span))
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine...)
			out.bad += bad
			if err != nil {
				t.Errorf("connection %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	out.rate = float64(len(took)) / time.Since(began).Seconds()
	out.p50, out.p99 = quantile(took, 0.5), quantile(took, 0.99)
	return out
}

// busy is one connection of hammer.
func busy(addr, request string, status int, until time.Time) (took []time.Duration, bad int, err error) {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, 0, err
	}
	defer c.Close()
	c.SetDeadline(until.Add(15 * time.Second))
	br := bufio.NewReader(c)
	for from := time.Now(); from.Before(until); {
		if _, err := io.WriteString(c, request); err != nil {
			return took, bad, err
		}
		got, err := harness.SkipAnswer(br)
		if err != nil {
			return took, bad, err
		}
		now := time.Now()
		if got == status {
			took = append(took, now.Sub(from))
		} else {
			bad++
		}
		from = now
	}
	return took, bad, nil
}
