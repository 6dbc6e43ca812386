package serve

import (
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// The windows of all connections that a listener may have are within its bound, and a
// connection that may be one of few keeps a wide one.
func TestWindow(t *testing.T) {
	for conns, want := range map[int]int{0: 1 << 20, 16: 1 << 20, 1024: 1 << 20, 8192: 1 << 20, 16384: 512 << 10, 65536: 128 << 10, 1 << 20: 64 << 10} {
		if got := window(conns); got != want {
			t.Errorf("window of each of %d connections: %d, want %d", conns, got, want)
		}
	}
	if all := maxProxyConns * window(maxProxyConns); all > receiveMemory {
		t.Errorf("the most connections together have %d bytes, the bound is %d", all, receiveMemory)
	}
	if all := maxAdminConns * window(maxAdminConns); all > receiveMemory {
		t.Errorf("those of the admin listener have %d", all)
	}
}

// A server grants each HTTP/2 connection the window of its bound on connections, over
// all streams, and no stream more than that.
func TestServerGrantsTheWindow(t *testing.T) {
	for _, conns := range []int{100, 65536} {
		c := config(nil)
		c.MaxConns = conns
		conn, err := net.Dial("tcp", run(t, c).Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(30 * time.Second))
		io.WriteString(conn, http2.ClientPreface)
		f := http2.NewFramer(conn, conn)
		if err := f.WriteSettings(); err != nil {
			t.Fatal(err)
		}
		// Both limits begin at 65,535 (RFC 9113, 6.9.2). A ping is answered after all
		// that the server says by itself.
		if err := f.WritePing(false, [8]byte{1}); err != nil {
			t.Fatal(err)
		}
		connection, stream := 65535, 65535
		for over := false; !over; {
			frame, err := f.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			switch frame := frame.(type) {
			case *http2.SettingsFrame:
				if n, ok := frame.Value(http2.SettingInitialWindowSize); ok {
					stream = int(n)
				}
			case *http2.WindowUpdateFrame:
				connection += int(frame.Increment)
			case *http2.PingFrame:
				over = frame.IsAck()
			}
		}
		if want := window(conns); connection != want || stream != want {
			t.Errorf("of %d connections, each gets a window of %d, and its streams %d; want %d", conns, connection, stream, want)
		}
	}
}
