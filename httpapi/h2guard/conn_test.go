package h2guard

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// guarded is a guarded connection, its client's side, and the reasons for which it ended.
func guarded(t *testing.T) (c *Conn, client net.Conn, ended *[]string) {
	a, b := net.Pipe()
	ended = new([]string)
	c = New(a, &Config{HeadTimeout: 10 * time.Second, Ended: func(nc net.Conn, reason string) {
		if nc != a {
			t.Errorf("the connection that ended is %v", nc)
		}
		*ended = append(*ended, reason)
	}})
	t.Cleanup(func() { a.Close(); b.Close() })
	return c, b, ended
}

// settingsFrames is a number of SETTINGS frames.
func settingsFrames(n int) []byte {
	return bytes.Repeat([]byte{0, 0, 0, typeSettings, 0, 0, 0, 0, 0}, n)
}

// All octets pass as they are until a budget is used up; then Read fails for good, and
// the last octets for the client are a GOAWAY.
func TestConnEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, client, ended := guarded(t)
		good := append([]byte(http2.ClientPreface), settingsFrames(int(budgets[settings].burst))...)
		go client.Write(append(good, settingsFrames(1)...))
		got := make([]byte, len(good))
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, good) {
			t.Fatalf("%q, %v", got, err)
		}
		for range 2 {
			if n, err := c.Read(got); n != 0 || !errors.Is(err, ErrEnded) {
				t.Errorf("Read = %d, %v after the budget is used up", n, err)
			}
		}
		go c.Close()
		last, err := io.ReadAll(client)
		if want := goAway(0, codeCalm, "too many frames without progress"); err != nil || !bytes.Equal(last, want) {
			t.Errorf("the client gets %q, %v, want %q", last, err, want)
		}
		f, err := http2.NewFramer(nil, bytes.NewReader(last)).ReadFrame()
		if g, ok := f.(*http2.GoAwayFrame); !ok || g.ErrCode != http2.ErrCodeEnhanceYourCalm {
			t.Errorf("%v, %v", f, err)
		}
		if !slices.Equal(*ended, []string{"settings"}) {
			t.Errorf("ended: %q", *ended)
		}
	})
}

// A write that the client does not take holds up the end for goAwayTime, and a GOAWAY does
// not stand inside its frame. The lock that is waited for keeps this out of synctest.
func TestNoGoAwayInAFrame(t *testing.T) {
	c, client, _ := guarded(t)
	wrote := make(chan error)
	go client.Write(append([]byte(http2.ClientPreface), settingsFrames(101)...))
	io.Copy(io.Discard, c)
	go func() {
		_, err := c.Write([]byte{0, 0, 9, typeData, 0, 0, 0, 0, 1, 'x'})
		wrote <- err
	}()
	io.ReadFull(client, make([]byte, 1)) // the write holds the lock
	closed := make(chan error)
	go func() { closed <- c.Close() }()
	if err := <-wrote; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write: %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if rest, err := io.ReadAll(client); len(rest) > 0 || err != nil {
		t.Errorf("the client gets %q, %v", rest, err)
	}
}

// What the server writes arrives as it is, however it is cut, and at the end of a flood
// there is a GOAWAY, if the cut is not within a head or a body.
func TestWritesAreWhole(t *testing.T) {
	octets, frames := written()
	for _, size := range []int{1, 2, 3, 5, 8, 13, 100, len(octets)} {
		synctest.Test(t, func(t *testing.T) {
			c, client, _ := guarded(t)
			go func() {
				for b := octets; len(b) > 0; b = b[min(size, len(b)):] {
					part := b[:min(size, len(b))]
					if n, err := c.Write(part); n != len(part) || err != nil {
						t.Errorf("Write = %d, %v", n, err)
					}
				}
				c.Close()
			}()
			if got, err := io.ReadAll(client); !bytes.Equal(got, octets) || err != nil {
				t.Errorf("in parts of %d: %q, %v; want %q", size, got, err, octets)
			}
		})
	}
	end := goAway(0, codeCalm, "too many frames without progress")
	at, whole := 0, 0 // where the frame under way begins
	for _, f := range frames {
		for n := range headerLen + f.length {
			synctest.Test(t, func(t *testing.T) {
				c, client, _ := guarded(t)
				c.over.Store(true)
				go func() {
					c.Write(octets[:at+n])
					c.Close()
				}()
				got, _ := io.ReadAll(client)
				want := slices.Concat(octets[:at], end)
				if long := f.typ <= typeHeaders || f.typ == typeContinuation || f.length > 64; n >= headerLen+min(1, f.padding) && long {
					want = octets[:at+n]
				}
				if !bytes.Equal(got, want) {
					t.Errorf("after %d octets of %+v: %q, want %q", n, f, got, want)
				}
				whole++
			})
		}
		at += headerLen + f.length
	}
	if whole < len(octets) {
		t.Errorf("%d cuts", whole)
	}
}

// A connection that the guard did not end is closed without a word.
func TestQuietClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, client, ended := guarded(t)
		go c.Close()
		if rest, err := io.ReadAll(client); len(rest) > 0 || err != nil || len(*ended) > 0 {
			t.Errorf("%q, %v, %q", rest, err, *ended)
		}
	})
}

// A client that has its streams reset by the server is ended as well, also while Read waits.
func TestServersResetsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, client, ended := guarded(t)
		go io.Copy(io.Discard, client)
		read := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, c)
			read <- err
		}()
		client.Write([]byte(http2.ClientPreface))
		for id := uint32(1); len(*ended) == 0; id += 2 {
			if id > 2000 {
				t.Fatal("the connection is not ended")
			}
			client.Write([]byte{0, 0, 0, typeHeaders, flagEndHeaders, 0, 0, byte(id >> 8), byte(id)})
			synctest.Wait()
			c.Write([]byte{0, 0, 4, typeReset, 0, 0, 0, byte(id >> 8), byte(id), 0, 0, 0, 1})
		}
		if err := <-read; !errors.Is(err, ErrEnded) || !slices.Equal(*ended, []string{"stream_resets"}) {
			t.Errorf("%v, %q", err, *ended)
		}
	})
}

// A head has its time, in several frames or in one; nothing else has a bound.
func TestSlowHead(t *testing.T) {
	for name, begin := range map[string][]byte{
		"no end":        {0, 0, 1, typeHeaders, 0, 0, 0, 0, 1, 'x'},
		"half a frame":  {0, 0, 9, typeHeaders, flagEndHeaders, 0, 0, 0, 1, 'x'},
		"another frame": {0, 0, 0, typeHeaders, 0, 0, 0, 0, 1, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, client, ended := guarded(t)
			go client.Write(append([]byte(http2.ClientPreface), begin...))
			began := time.Now()
			if _, err := io.Copy(io.Discard, c); !errors.Is(err, ErrEnded) || time.Since(began) != 10*time.Second || !slices.Equal(*ended, []string{slowHead}) {
				t.Errorf("%s: %v after %v, %q", name, err, time.Since(began), *ended)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		c, client, ended := guarded(t)
		go func() {
			client.Write(append([]byte(http2.ClientPreface), 0, 0, 0, typeHeaders, 0, 0, 0, 0, 1))
			time.Sleep(9 * time.Second)
			client.Write([]byte{0, 0, 0, typeContinuation, flagEndHeaders, 0, 0, 0, 1, 0, 0, 9, typeData, 0, 0, 0, 0, 1, 'x'})
			time.Sleep(time.Hour)
			client.Close()
		}()
		if _, err := io.Copy(io.Discard, c); err != nil || len(*ended) > 0 {
			t.Errorf("a body that takes an hour: %v, %q", err, *ended)
		}
	})
}
