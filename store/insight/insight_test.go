package insight

import (
	"bytes"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

var begin = time.Date(2027, 1, 4, 0, 0, 0, 0, time.UTC) // a Monday

func admitted(at time.Time, key, ip, country string) *Seen {
	s := &Seen{At: at.Unix(), Account: "default", Key: key, IP: netip.MustParseAddr(ip), Did: DidRead, Agent: "curl/8"}
	copy(s.Country[:], country)
	return s
}

// learned is an engine that knows a key used from one place, once an hour for n days.
func learned(m Memory, key string, days int) (*Engine, time.Time) {
	e := New(m)
	at := begin
	for ; at.Before(begin.AddDate(0, 0, days)); at = at.Add(time.Hour) {
		if f := e.See(admitted(at, key, "203.0.113.7", "DE")); len(f) > 0 {
			panic(fmt.Sprint(f))
		}
	}
	return e, at
}

// Each kind of finding says what was usual and what was seen, once a day for a key.
func TestFindings(t *testing.T) {
	for name, c := range map[string]struct {
		play  func(see func(*Seen), at time.Time)
		kind  Kind
		about string
		usual string
		seen  string
	}{
		"rate": {func(see func(*Seen), at time.Time) {
			for range 150 {
				see(admitted(at, "k", "203.0.113.7", "DE"))
			}
		}, Rate, "", "about 1 requests on Tuesdays from 00:00 to 01:00 UTC, rarely more than 100", "101 requests from 00:00 to 00:00"},
		"country": {func(see func(*Seen), at time.Time) {
			see(admitted(at, "k", "198.51.100.1", "BR"))
			see(admitted(at, "k", "198.51.100.2", "BR"))
		}, Country, "BR", "uses from DE", "a use from BR (address 198.51.100.1)"},
		"network": {func(see func(*Seen), at time.Time) {
			see(admitted(at, "k", "198.51.100.1", "DE"))
			see(admitted(at, "k", "198.51.100.2", "DE"))
		}, Network, "198.51.100.0/24", "uses from one network for 29 days", "a use from 198.51.100.1 (network 198.51.100.0/24)"},
		"silence": {func(see func(*Seen), at time.Time) {
			see(admitted(at.AddDate(0, 0, 40), "k", "203.0.113.7", "DE"))
		}, Silence, "", "at most 60 minutes between two uses", "a use after 40 days without any"},
		"denials": {func(see func(*Seen), at time.Time) {
			for range 40 {
				s := admitted(at, "k", "203.0.113.7", "DE")
				s.Denied = true
				see(s)
			}
		}, Denials, "", "at most 0 refusals in ten minutes", "30 refusals in ten minutes"},
		"addresses": {func(see func(*Seen), at time.Time) {
			for i := range 20 {
				see(admitted(at, "k", fmt.Sprintf("203.0.113.%d", 10+i), "DE"))
			}
		}, Addresses, "", "uses from at most 1 addresses in ten minutes", "uses from 10 addresses in ten minutes, the last one 203.0.113.19"},
		"storm of an address": {func(see func(*Seen), at time.Time) {
			for i := range 150 {
				see(&Seen{At: at.Unix(), IP: netip.MustParseAddr("198.51.100.9"), Auth: true, Hint: fmt.Sprint(i)})
			}
		}, Storm, "198.51.100.9", "fewer than 100 failed authentications in ten minutes from one address", "100 failed authentications in ten minutes from 198.51.100.9"},
		"storm of a hint": {func(see func(*Seen), at time.Time) {
			for i := range 60 {
				see(&Seen{At: at.Unix(), IP: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), Auth: true, Hint: "pk_live_a…b"})
			}
		}, Storm, "pk_live_a…b", "fewer than 50 failed", "50 failed authentications in ten minutes with credentials like pk_live_a…b"},
		"storm of a country": {func(see func(*Seen), at time.Time) {
			for i := range 600 {
				see(&Seen{At: at.Unix(), IP: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), Auth: true, Country: [2]byte{'K', 'P'}})
			}
		}, Storm, "KP", "about 0 failed authentications in ten minutes from KP", "500 failed authentications in ten minutes from KP"},
	} {
		t.Run(name, func(t *testing.T) {
			memory := table{}
			e, at := learned(memory, "k", 29)
			e.Save()
			for _, e := range []*Engine{e, New(memory)} { // as learned, and as kept
				var found []Finding
				c.play(func(s *Seen) { found = append(found, e.See(s)...) }, at)
				if len(found) != 1 {
					t.Fatalf("%+v", found)
				}
				f := found[0]
				if f.Kind != c.kind || f.Subject != c.about || !strings.HasPrefix(f.Usual, c.usual) || f.Seen != c.seen || !strings.HasPrefix(f.ID, "fnd_") {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}

// The cause alone makes the id: another node that sees it a minute later agrees.
func TestEqualCauses(t *testing.T) {
	ids := map[string]bool{}
	for i := range 2 {
		e, at := learned(table{}, "k", 10+i)
		f := e.See(admitted(begin.AddDate(0, 0, 20).Add(time.Duration(i)*time.Minute), "k", "198.51.100.1", "BR"))
		if len(f) != 1 {
			t.Fatal(at, f)
		}
		ids[f[0].ID] = true
	}
	if len(ids) != 1 {
		t.Error(ids)
	}
}

// A node that knew the country or the network an hour before refutes another's finding.
func TestRefutes(t *testing.T) {
	memory := table{}
	e, at := learned(memory, "k", 10)
	f := Finding{Kind: Country, Key: "k", Subject: "DE", At: at}
	n := Finding{Kind: Network, Key: "k", Subject: "203.0.113.0/24", At: at}
	e.Save()
	for _, e := range []*Engine{e, New(memory)} {
		if !e.Refutes(&f) || !e.Refutes(&n) {
			t.Error("what is known is not refuted")
		}
		for _, c := range []Finding{
			{Kind: Country, Key: "k", Subject: "BR", At: at}, {Kind: Country, Key: "other", Subject: "DE", At: at}, {Kind: Country, Key: "k", Subject: "DE", At: begin},
			{Kind: Network, Key: "k", Subject: "198.51.100.0/24", At: at}, {Kind: Network, Key: "k", Subject: "x", At: at}, {Kind: Rate, Key: "k", At: at},
		} {
			if e.Refutes(&c) {
				t.Errorf("refutes %+v", c)
			}
		}
	}
}

// A habit comes back as it was kept; bytes that are none are learned again.
func TestKeptHabits(t *testing.T) {
	memory := table{}
	e, _ := learned(memory, "k", 12)
	e.Save()
	raw := bytes.Clone(memory["k"])
	if len(raw) > 2600 {
		t.Errorf("a habit takes %d bytes", len(raw))
	}
	var h habit
	h.unpack(raw)
	if !bytes.Equal(h.pack(), raw) || !reflect.DeepEqual(h.packed, e.young["k"].packed) {
		t.Error("it differs")
	}
	for _, bad := range [][]byte{nil, {packedVersion}, raw[:len(raw)-1], append([]byte{9}, raw[1:]...)} {
		var h habit
		h.unpack(bad)
		if h.packed != (packed{}) {
			t.Errorf("%d bytes are a habit", len(bad))
		}
	}
	p := New(memory).Profile("k")
	if p.Did != DidRead || p.Addresses != 1 || len(p.Recent) != 1 || p.Recent[0].Agent != "curl/8" || p.Recent[0].Country != "DE" || p.Recent[0].Requests != 288 || !p.First.Equal(begin) {
		t.Errorf("%+v", p)
	}
	if p := New(memory).Profile("none"); !reflect.DeepEqual(p, Profile{}) {
		t.Errorf("%+v", p)
	}
}

// However many keys, addresses and hints there are, memory is bounded, and a key that fell
// out is known again.
func TestBounds(t *testing.T) {
	memory := table{}
	e, at := learned(memory, "first", 10)
	for i := range 3 * maxYoung {
		e.See(admitted(at, fmt.Sprint("key", i), "203.0.113.7", "DE"))
		e.See(&Seen{At: at.Unix(), Auth: true, IP: netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), Hint: fmt.Sprint("hint", i)})
	}
	if len(e.young)+len(e.old) > 2*maxYoung || len(e.storms.counts) > maxStorms {
		t.Errorf("%d and %d habits, %d sources", len(e.young), len(e.old), len(e.storms.counts))
	}
	if f := e.See(admitted(at, "first", "198.51.100.1", "BR")); len(f) != 1 {
		t.Errorf("%+v", f)
	}
	var h habit
	for i := range 300 {
		h.see(e, admitted(at, "x", fmt.Sprintf("10.%d.0.1", i%256), fmt.Sprintf("%c%c", 'A'+i/26, 'A'+i%26)))
	}
	if got := h.distinct(); got < 200 || got > 320 {
		t.Errorf("256 addresses are taken for %d", got)
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(new(habit).pack())
	f.Fuzz(func(t *testing.T, raw []byte) {
		e := New(table{"k": raw})
		e.See(admitted(begin, "k", "203.0.113.7", "DE"))
		e.Profile("k")
		e.Save()
	})
}

func BenchmarkSee(b *testing.B) {
	e, at := learned(table{}, "k", 10)
	s := admitted(at, "k", "203.0.113.7", "DE")
	b.ReportAllocs()
	for b.Loop() {
		e.See(s)
	}
}
