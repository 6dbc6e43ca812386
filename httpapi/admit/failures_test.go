package admit

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/perfgate/perfgate/httpapi/fault"
)

func TestFailures(t *testing.T) {
	const s = int64(time.Second)
	v4 := netip.MustParseAddr("203.0.113.7")
	f := newFailures(failureBurst)
	for i := range failureBurst {
		if wait := f.take(v4, 0); wait != 0 {
			t.Fatalf("failure %d of a minute's 30 was refused, retry after %d", i+1, wait)
		}
	}
	for _, c := range []struct {
		name string
		addr string
		now  int64
		want int64
	}{
		{"the 31st", "203.0.113.7", 0, 2},
		{"a refused one counts nothing", "203.0.113.7", s, 1},
		{"a nanosecond early", "203.0.113.7", 2*s - 1, 1},
		{"after the wait", "203.0.113.7", 2 * s, 0},
		{"and the next", "203.0.113.7", 2 * s, 2},
		{"a neighbour", "203.0.113.8", 2 * s, 0},
		{"the address as IPv6", "::ffff:203.0.113.7", 2 * s, 0}, // callers unmap; a mapped one is a /64 of its own
		{"no address", "", 2 * s, 0},
	} {
		addr, _ := netip.ParseAddr(c.addr)
		if got := f.take(addr, c.now); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestFailuresOfOneIPv6NetworkAreOne(t *testing.T) {
	f := newFailures(failureBurst)
	for i := range failureBurst {
		f.take(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i)}), 0)
	}
	if f.take(netip.MustParseAddr("2001:db8::ffff:1:2:3"), 0) == 0 {
		t.Error("another address of the same /64 was let through")
	}
	if f.take(netip.MustParseAddr("2001:db8:0:1::1"), 0) != 0 {
		t.Error("the next /64 was refused")
	}
}

// No address is refused because of others, of any kind and number.
func TestFailuresOfOthersRefuseNobody(t *testing.T) {
	f := newFailures(failureBurst)
	for i := range uint32(4 * failureSets * failureWays) {
		f.take(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, i))), 0)
	}
	if f.take(netip.MustParseAddr("2001:db8::1"), 0) != 0 {
		t.Error("a newcomer to a full table was refused")
	}
	if size := unsafe.Sizeof(*f); size > 1<<20+4096 {
		t.Errorf("the table takes %d bytes", size)
	}
}

// In any span of time at most burst + rate·span are counted, against a log of all
// failures.
func TestFailuresKeepTheirBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f, addr, now := newFailures(failureBurst), netip.MustParseAddr("203.0.113.7"), int64(0)
		var counted []int64
		for range rapid.IntRange(1, 200).Draw(t, "tries") {
			now += rapid.Int64Range(0, int64(3*time.Second)).Draw(t, "pause")
			wait := f.take(addr, now)
			if wait == 0 {
				counted = append(counted, now)
				continue
			}
			then := now + wait*int64(time.Second)
			for i, from := range counted {
				span := then - from
				if int64(len(counted)-i+1) > failureBurst+span/int64((time.Minute/failureBurst)) {
					t.Fatalf("retry after %d s would be %d failures in %v", wait, len(counted)-i+1, time.Duration(span))
				}
			}
		}
		for i, from := range counted {
			for j, to := range counted[i:] {
				if int64(j) >= failureBurst+(to-from)/int64((time.Minute/failureBurst))+1 {
					t.Fatalf("%d failures counted in %v", j+1, time.Duration(to-from))
				}
			}
		}
	})
}

func TestCountedFailures(t *testing.T) {
	for _, code := range fault.Codes() {
		want := code.Status() == 401 && code != fault.MissingKey
		switch code {
		case fault.InvalidCredentials, fault.SecondFactorRequired, fault.InvalidSession:
			want = false // of people, whose failures are counted apart
		}
		if counted(code) != want {
			t.Errorf("counted(%s) = %v", code, !want)
		}
	}
}

func BenchmarkFailures(b *testing.B) {
	f := newFailures(failureBurst)
	addr := netip.MustParseAddr("203.0.113.7")
	b.ReportAllocs()
	for now := int64(0); b.Loop(); now += int64(time.Second) {
		f.take(addr, now)
	}
}

// Preflights are bounded by address, apart from failures.
func TestPreflightsAreBounded(t *testing.T) {
	h := newHarness(t)
	one, other := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("203.0.113.9")
	for i := range preflightBurst {
		if f := h.Preflight(one); f != nil {
			t.Fatalf("preflight %d: %v", i, f)
		}
	}
	f := h.Preflight(netip.MustParseAddr("2001:db8::2")) // the same network
	if f == nil || f.Code != fault.RequestsPerMinute || f.RetryAfter < 1 {
		t.Errorf("beyond the bound: %v", f)
	}
	if f := h.Preflight(other); f != nil {
		t.Errorf("another address: %v", f)
	}
}
