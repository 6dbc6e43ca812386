package insight

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/bits"
	"net/netip"
	"time"
)

// Lengths of time in seconds.
const (
	hour   = 3600
	day    = 24 * hour
	window = 600 // in which denials and addresses are counted
)

// habit is what is known of a key: packed is kept, the rest is not.
type habit struct {
	packed
	changed bool
	limit   float32 // of the hour at hand; 0 until it is computed
}

// packed has a fixed size, so that its form on disk is the order of its fields. A change of
// it needs another version. Hours and days are counted since 1970.
type packed struct {
	First, Last int64 // use, Unix seconds
	Uses        uint32
	Gap         int64 // the longest time between two uses

	Rates     rates
	Windows   windows
	Countries [16]place
	Networks  [16]network
	Newest    uint32 // hour in which the newest network was first seen
	Did       Did
	Days      days
	Recent    [8]recent // the last one first
	Reported  [8]uint32 // day + 1 of the last finding of each kind
}

// windows are the ten minutes at hand, and the most in those before.
type windows struct {
	Window   uint32 // at hand
	Denied   uint32 // in it
	Peak     float32
	Here     uint8 // distinct addresses
	HereSet  [64]uint32
	HerePeak float32
}

// days are the day at hand and the one before.
type days struct {
	Day       uint32
	Set       [4]uint64 // hashes of its addresses
	Yesterday uint16    // addresses, estimated
}

type place struct {
	Code        [2]byte
	First, Last uint32 // hours
}

type network struct {
	Hash        uint64
	First, Last uint32 // hours
}

type recent struct {
	IP      [16]byte
	Country [2]byte
	At      int64
	Count   uint32
	Agent   [48]byte
}

const packedVersion = 1

func (h *habit) pack() []byte {
	out, err := binary.Append([]byte{packedVersion}, binary.LittleEndian, &h.packed)
	if err != nil {
		panic("BUG: a habit has no fixed size: " + err.Error())
	}
	return out
}

// unpack reads what pack wrote. A habit that cannot be read is learned again.
func (h *habit) unpack(raw []byte) {
	var p packed
	if len(raw) < 1 || raw[0] != packedVersion {
		return
	}
	if n, err := binary.Decode(raw[1:], binary.LittleEndian, &p); err == nil && n == len(raw)-1 && int(p.Windows.Here) <= len(p.Windows.HereSet) {
		h.packed = p
	}
}

// see takes a request of the key.
func (h *habit) see(e *Engine, s *Seen) {
	h.changed = true
	now := max(s.At, h.Last) // requests end in another order than they began
	at := time.Unix(now, 0).UTC()
	f := Finding{At: at, Account: s.Account, Key: s.Key}
	if !s.Management {
		h.rate(e, now, f)
	}
	h.turn(now)
	if s.Denied {
		h.deny(e, now, f)
		return
	}
	h.silence(e, now, f)
	fresh := h.country(e, s, now, f)
	h.network(e, s, now, f, fresh)
	h.addresses(e, s, now, f)
	h.note(s, now)
}

// note records a use.
func (h *habit) note(s *Seen, now int64) {
	if h.First == 0 {
		h.First = now
	} else if gap := now - h.Last; gap > h.Gap {
		h.Gap = gap
	}
	h.Last = now
	h.Uses++
	if h.Uses == 0 {
		h.Uses-- // it stays at its largest value
	}
	h.Did |= s.Did
	if !s.IP.IsValid() {
		return
	}
	hash := hashAddress(s.IP)
	h.Days.Set[hash>>6&3] |= 1 << (hash & 63)
	h.recent(s, now)
}

// recent moves the address to the front of the recent ones.
func (h *habit) recent(s *Seen, now int64) {
	ip := s.IP.As16()
	i := 0
	for i < len(h.Recent)-1 && h.Recent[i].IP != ip && h.Recent[i].At != 0 {
		i++
	}
	r := h.Recent[i]
	if r.IP != ip || r.At == 0 {
		r = recent{IP: ip}
	}
	copy(h.Recent[1:i+1], h.Recent[:i])
	r.At, r.Country = now, s.Country
	r.Count++
	if s.Agent != "" {
		r.Agent = [48]byte{}
		copy(r.Agent[:], s.Agent)
	}
	h.Recent[0] = r
}

// turn begins another window and another day where their time has come.
func (h *habit) turn(now int64) {
	if w := uint32(now / window); w != h.Windows.Window {
		h.Windows.HerePeak = max(h.Windows.HerePeak, float32(h.Windows.Here))
		h.Windows.Peak = max(h.Windows.Peak, float32(h.Windows.Denied))
		h.Windows.Window, h.Windows.Here, h.Windows.Denied = w, 0, 0
	}
	today := uint32(now / day)
	if today == h.Days.Day {
		return
	}
	h.Days.Yesterday = 0
	if h.Days.Day+1 == today {
		h.Days.Yesterday = uint16(h.distinct())
	}
	for d := h.Days.Day; h.Days.Day > 0 && d < min(today, h.Days.Day+60); d++ { // a habit fades
		h.Windows.HerePeak *= 0.97
		h.Windows.Peak *= 0.9
	}
	h.Days.Day, h.Days.Set = today, [4]uint64{}
}

// distinct estimates the number of addresses of the day by the bits that are not set
// (linear counting); with all set, it is more than it can tell.
func (h *habit) distinct() int {
	empty := 0
	for _, w := range h.Days.Set {
		empty += bits.OnesCount64(^w)
	}
	return linear[empty]
}

// once reports whether a kind has no finding on this day yet, and notes that it has.
func (h *habit) once(kind int, now int64) bool {
	today := uint32(now/day) + 1
	if h.Reported[kind] == today {
		return false
	}
	h.Reported[kind] = today
	return true
}

// Places of the kinds in habit.Reported.
const (
	atRate = iota
	atCountry
	atNetwork
	atSilence
	atDenials
	atAddresses
)

// Figures of a long silence.
const (
	silenceLeast = 30 * day
	silenceTimes = 3 // the longest gap before
	silenceUses  = 10
)

func (h *habit) silence(e *Engine, now int64, f Finding) {
	gap := now - h.Last
	if h.Last == 0 || h.Uses < silenceUses || gap < silenceLeast || gap < silenceTimes*h.Gap || !h.once(atSilence, now) {
		return
	}
	f.Kind, f.Window = Silence, gap
	f.Usual = "at most " + duration(h.Gap) + " between two uses"
	f.Seen = "a use after " + duration(gap) + " without any"
	e.find(f, day)
}

// duration writes a time in days, or hours where it is short.
func duration(seconds int64) string {
	switch {
	case seconds >= 2*day:
		return fmt.Sprintf("%d days", seconds/day)
	case seconds >= 2*hour:
		return fmt.Sprintf("%d hours", seconds/hour)
	}
	return fmt.Sprintf("%d minutes", (seconds+59)/60)
}

func (h *habit) profile() Profile {
	p := Profile{Did: h.Did, Addresses: max(h.distinct(), int(h.Days.Yesterday))}
	if h.First != 0 {
		p.First, p.Last = time.Unix(h.First, 0).UTC(), time.Unix(h.Last, 0).UTC()
	}
	for _, r := range h.Recent {
		if r.At == 0 {
			break
		}
		u := User{IP: netip.AddrFrom16(r.IP).Unmap(), Agent: string(bytes.TrimRight(r.Agent[:], "\x00")), At: time.Unix(r.At, 0).UTC(), Requests: int64(r.Count)}
		if r.Country != [2]byte{} {
			u.Country = string(r.Country[:])
		}
		p.Recent = append(p.Recent, u)
	}
	return p
}

// hashAddress and hashNetwork are the same on all nodes.
func hashAddress(ip netip.Addr) uint64 {
	b := ip.As16()
	return mix(b[:])
}

func hashNetwork(p netip.Prefix) uint64 {
	b := p.Addr().As16()
	return mix(b[:])
}

func mix(b []byte) uint64 {
	f := fnv.New64a()
	f.Write(b)
	x := f.Sum64()
	x ^= x >> 32 // the low bits of FNV are weak
	return x * 0x9e3779b97f4a7c15 >> 8
}

// networkOf is the part of an address that one operator usually has: /24 and /48.
func networkOf(ip netip.Addr) netip.Prefix {
	n := 48
	if ip = ip.Unmap(); ip.Is4() {
		n = 24
	}
	p, _ := ip.WithZone("").Prefix(n)
	return p
}
