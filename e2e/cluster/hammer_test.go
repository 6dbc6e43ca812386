package cluster

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// sample is what one run of hammer measured.
type sample struct {
	rate     float64 // answers with the wanted status, a second
	p50, p99 time.Duration
	bad      int // other answers
}

// rawRequest is one HTTP/1.1 request as bytes.
func rawRequest(method, base, path, credential, body string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		method, path, strings.TrimPrefix(base, "http://"), credential, len(body), body)
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
		got, err := skipAnswer(br)
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

// skipAnswer reads one answer that tells its length.
func skipAnswer(br *bufio.Reader) (status int, err error) {
	length := 0
	for first := true; ; first = false {
		line, err := br.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		switch name, value, _ := strings.Cut(strings.TrimSpace(string(line)), ":"); {
		case first:
			_, code, _ := strings.Cut(name, " ")
			status, _ = strconv.Atoi(code[:min(3, len(code))])
		case strings.EqualFold(name, "Content-Length"):
			length, _ = strconv.Atoi(strings.TrimSpace(value))
		case name == "":
			_, err := br.Discard(length)
			return status, err
		}
	}
}
