package local

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
)

// The hash that is made of a row is that of the event which the row is read as, for any row.
func TestLeafIsThatOfTheEvent(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	l := open(t, Config{})
	c := chains{enc: chain.NewEncoder(), dec: newDecoder(l)}
	c.room.texts = new(strings.Builder)
	other, dec := chain.NewEncoder(), newDecoder(l)
	slow := 0
	for i := range 20_000 {
		of, value := ownerOf(store.AccountID(anyText(rng)), rng.IntN(4) == 0), anyValue(rng)
		ns, seq := rng.Uint64N(math.MaxInt64), rng.Uint64N(1<<40)
		if rng.IntN(2) == 0 {
			ns = nanos(day0) + rng.Uint64N(3e9) // times of the same second follow each other
		}
		if _, v, err := splitMany(value); err == nil && len(v) > 0 && v[0] == kindRequest {
			if r, err := parseRequest(v); err == nil && !plain(&r) {
				slow++
			}
		}
		got, err := c.leaf(of, ns, seq, value, nil)
		e, failed := dec.event(of, ns, seq, value)
		if (err != nil) != (failed != nil) {
			t.Fatalf("row %d, %q: %v, the event: %v", i, value, err, failed)
		}
		if err == nil && got != e.Leaf(other) {
			t.Fatalf("row %d: the hash of %q of %q at %d is not that of %+v, %+v", i, value, of, ns, e, e.Request)
		}
	}
	if slow < 100 || slow > 19_000 {
		t.Errorf("%d of the rows have to be read as events: too few of one kind are tried", slow)
	}
}

// anyValue is the value of an event of any kind.
func anyValue(rng *rand.Rand) []byte {
	if rng.IntN(50) == 0 {
		return loss{rng.Uint64N(9), rng.Uint64N(9), rng.Uint64N(9)}.append(nil)
	}
	o := &Observation{
		Duration: time.Duration(rng.Uint64N(1 << rng.UintN(62))), RequestID: anyText(rng), Method: []string{"GET", "POST", "LINK", anyText(rng)}[rng.IntN(4)],
		Route: anyText(rng), Status: rng.IntN(600), UserAgent: anyText(rng), Key: store.KeyID(anyText(rng)), Hint: anyText(rng),
		Action: []string{"", "key.read", anyText(rng), ActionLost}[min(3, rng.IntN(30)%4)], Actor: store.Actor{Type: actors[rng.IntN(len(actors))], ID: anyText(rng), Name: anyText(rng)},
		Trail: Trail{Path: anyText(rng), Upstream: anyText(rng), Attempts: rng.IntN(3), Errors: anyText(rng), Country: []string{"", "CH"}[rng.IntN(2)]},
	}
	switch rng.IntN(4) {
	case 0:
		o.Duration = o.Duration.Truncate(time.Millisecond)
	case 1:
		o.Code = anyText(rng)
	case 2:
		o.Limits = &store.EventLimits{Policy: "minute", Limit: 5, WouldRefuse: []string{"a"}}
	}
	var addr [16]byte
	binary.BigEndian.PutUint64(addr[8:], rng.Uint64())
	addr[0] = byte(rng.IntN(2)) * 0x20
	switch rng.IntN(3) {
	case 0:
		o.Client = netip.AddrFrom16(addr)
	case 1:
		o.Client = netip.AddrFrom4([4]byte(addr[8:]))
	}
	var value []byte
	if rng.IntN(8) == 0 {
		value = binary.AppendUvarint([]byte{kindMany}, 2+rng.Uint64N(1<<20))
	}
	value = appendRequest(value, o, rng.IntN(8) > 0)
	if rng.IntN(8) > 0 {
		value = binary.AppendVarint(value, rng.Int64N(1<<rng.UintN(40))-5)
		if rng.IntN(2) == 0 {
			value = appendText(value, anyText(rng), maxHint) // the name of the key
		}
	}
	if rng.IntN(50) == 0 {
		value = value[:rng.IntN(len(value))+1]
	}
	return value
}

// anyText is a text that is often empty, and sometimes no UTF-8.
func anyText(rng *rand.Rand) string {
	switch rng.IntN(40) {
	case 0:
		return "\xff" + strconv.Itoa(rng.IntN(100))
	case 1:
		return strings.Repeat("ä", rng.IntN(200))
	case 2, 3, 4, 5, 6, 7, 8, 9, 10:
		return ""
	}
	return "text" + strconv.Itoa(rng.IntN(1000))
}

// The duration of a request has the digits of the float that an event has.
func TestMillisOfAnEvent(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for i := range 200_000 {
		micros := uint64(i)
		if i >= 100_000 {
			micros = rng.Uint64N(1 << (1 + rng.UintN(63)))
		}
		want := strconv.AppendFloat(nil, float64(micros)/1000, 'f', -1, 64)
		if micros == 0 {
			want = nil
		}
		if got := appendMillis(nil, micros); !bytes.Equal(got, want) {
			t.Fatalf("%d µs: %q, want %q", micros, got, want)
		}
	}
}

func BenchmarkLeaf(b *testing.B) {
	l := ticking(b, Config{})
	c := chains{enc: chain.NewEncoder(), dec: newDecoder(l)}
	o := typical()
	value := binary.AppendVarint(appendRequest(nil, o, true), 3)
	of := ownerOf(o.Account, false)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.leaf(of, nanos(day0), 7, value, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// The chain of what the writer has written is that of the events which are read: the writer
// hashes requests before it has written them.
func TestChainIsThatOfWhatIsRead(t *testing.T) {
	reads := 0
	l := open(t, Config{FS: vfs.NewMem(), Dir: "l", KeyName: func(store.KeyID) string { return "billing" }, Country: func(netip.Addr) Country { return Country{'C', 'H'} }, Clock: func() time.Time {
		reads++
		return day0.Add(time.Duration(reads) * time.Microsecond)
	}})
	l.cfg.stamp = nil // events have the time of their writing, as they have outside of tests
	const n = 1000
	for i := range n {
		o := typical()
		o.At, o.Duration = day0.Add(-time.Duration(i)*time.Millisecond), time.Duration(i)*time.Microsecond
		switch i % 4 {
		case 0:
			o.Country = "DE"
		case 1:
			o.Code, o.Status = "key_revoked", 401
		case 2:
			o.UserAgent = "\xff"
		}
		l.Observe(o)
	}
	rep, list := exported(t, l, store.EventQuery{Account: typical().Account})
	if len(list) != n || len(rep.Findings) > 0 || rep.Proven != n {
		t.Errorf("%d events, %d of them proven, with the faults %+v", len(list), rep.Proven, rep.Findings)
	}
	if reads > n/2 {
		t.Errorf("the clock was read %d times for %d requests", reads, n)
	}
}
