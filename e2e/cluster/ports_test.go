package cluster

import (
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
)

// nextPort walks through ports below the range that the kernel gives to
// outgoing connections: while a node is down, nothing else takes its port.
var nextPort atomic.Int64

// freePort returns a loopback address with a port that is free for TCP and UDP.
func freePort(t testing.TB) string {
	t.Helper()
	nextPort.CompareAndSwap(0, int64(18000+os.Getpid()*37%10000))
	for range 2000 {
		addr := "127.0.0.1:" + strconv.FormatInt(18000+nextPort.Add(1)%14000, 10)
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		l.Close()
		u, err := net.ListenPacket("udp", addr)
		if err != nil {
			continue
		}
		u.Close()
		return addr
	}
	t.Fatal("no free port between 18000 and 32000")
	return ""
}
