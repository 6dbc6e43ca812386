package local

import (
	"encoding/binary"
	"math"
	"net/netip"
	"time"

	"github.com/perfgate/perfgate/store/pack"
)

// Refusals that name no account can be sent by anybody, as fast as the network carries
// them. The first wholeStrays of a minute with one address (IPv6 /64), reason and action are
// kept whole, so that a person who tries a wrong key finds what was sent; the others are
// counted, and one event at the end of the minute stands for them. A flood from one address
// therefore costs nine events a minute. What is counted is in memory for a minute at most;
// a kill forgets it, and usage and the counts of failures do not.
const (
	wholeStrays = 8
	// maxStrays bounds the table, at some 300 bytes each: 1.2 MiB. Beyond it, refusals are
	// counted by reason and action, whatever their address; those are few.
	maxStrays = 4096
)

// strays are the refusals without an account of the present minute. They belong to the
// writer.
type strays struct {
	minute uint32
	whole  int // wholeStrays, but in tests
	of     map[strayOf]*stray
}

type strayOf struct {
	addr           netip.Addr // the network, for IPv6
	reason, action string
	status         int
}

type stray struct {
	whole   int    // events that were kept whole
	more    uint32 // refusals that were counted instead
	first   uint64 // when the first of those began
	country Country
	value   []byte // of the event that stands for them
}

func newStrays(whole int) strays {
	if whole == 0 {
		whole = wholeStrays
	}
	return strays{whole: whole, of: make(map[strayOf]*stray)}
}

// take decides whether a refusal is kept whole; if not, it is counted.
func (s *strays) take(r *record, v *request[[]byte], country Country) (whole bool) {
	addr, _ := netip.AddrFromSlice(v.addr)
	at := strayOf{networkOf(addr), string(v.reason), string(v.action), v.status}
	one := s.of[at]
	if one == nil && len(s.of) >= maxStrays {
		at.addr, addr, country = netip.Addr{}, netip.Addr{}, Country{}
		one = s.of[at]
	}
	if one == nil {
		one = &stray{}
		s.of[at] = one
	}
	if one.whole < s.whole && at.addr.IsValid() {
		one.whole++
		return true
	}
	if one.more == 0 {
		one.first = r.ns
	}
	if one.more < math.MaxUint32 {
		one.more++
	}
	one.country, one.value = country, appendStray(one.value[:0], v, addr)
	return false
}

// networkOf is the part of an address that one sender holds.
func networkOf(a netip.Addr) netip.Addr {
	if a.Is6() && !a.Is4In6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// appendStray writes the value of an event that stands for many refusals: what they have in
// common, and the method of the last one.
func appendStray(dst []byte, v *request[[]byte], addr netip.Addr) []byte {
	dst = append(dst, kindRequest, v.flags&flagFailed, v.code)
	if v.code == 0 {
		dst = pack.Append(dst, string(v.method))
	}
	dst = binary.AppendUvarint(dst, uint64(v.status))
	dst = append(dst, 0, 0, 0, 0) // duration, key, route, id
	dst = pack.Append(dst, string(v.action))
	dst = pack.Append(dst, string(v.reason))
	dst = append(dst, 0, 0) // hint, agent
	dst = appendAddr(dst, addr)
	return append(dst, 0, 0, 0, 0) // path, upstream, attempts, errors
}

// turn begins a new minute: it writes the events that stand for what was counted.
func (s *strays) turn(w *writer, now time.Time) error {
	if minute := minuteOf(nanos(now)); minute != s.minute {
		s.minute = minute
		return s.write(w, true)
	}
	return nil
}

// write writes the events that stand for what was counted so far. With forget, all is
// counted from the beginning.
func (s *strays) write(w *writer, forget bool) error {
	for at, one := range s.of {
		if one.more > 0 {
			if err := w.event(&entry{started: one.first, value: one.value, country: one.country, count: one.more}); err != nil {
				return err
			}
			one.more = 0
			if err := w.commit(batchBytes); err != nil {
				return err
			}
		}
		if forget {
			delete(s.of, at)
		}
	}
	return nil
}
