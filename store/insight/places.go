package insight

import (
	"fmt"
	"math"
	"strings"
)

// Figures of countries, networks and addresses. A key that is used from many places, such
// as one in an app, has no habit that a new one could break.
const (
	countryAge   = 3 * day // since the first country was known
	countryUses  = 50
	countryMost  = 8
	networkAge   = 7 * day
	networkUses  = 100
	networkMost  = 4
	networkQuiet = 7 * 24 // hours without a new network
	addressAge   = 3 * day
	addressUses  = 100
	addressLeast = 10
	addressTimes = 3
)

// country judges and learns the country; fresh if it was a finding.
func (h *habit) country(e *Engine, s *Seen, now int64, f Finding) (fresh bool) {
	if s.Country == [2]byte{} {
		return false
	}
	n, oldest, first := 0, 0, uint32(math.MaxUint32)
	for i := range h.Countries {
		p := &h.Countries[i]
		if p.Last == 0 {
			oldest = i
			break
		}
		if p.Code == s.Country {
			p.Last = uint32(now / hour)
			return false
		}
		if n++; p.Last < h.Countries[oldest].Last {
			oldest = i
		}
		first = min(first, p.First)
	}
	if n > 0 && n < countryMost && now-int64(first)*hour >= countryAge && h.Uses >= countryUses && h.once(atCountry, now) {
		f.Kind, f.Subject, f.Window = Country, string(s.Country[:]), now-h.First
		f.Usual = "uses from " + h.countryList()
		f.Seen = fmt.Sprintf("a use from %s (address %s)", f.Subject, s.IP)
		e.find(f, day)
		fresh = true
	}
	h.Countries[oldest] = place{Code: s.Country, First: uint32(now / hour), Last: uint32(now / hour)}
	return fresh
}

func (h *habit) countryList() string {
	var codes []string
	for _, p := range h.Countries {
		if p.Last > 0 {
			codes = append(codes, string(p.Code[:]))
		}
	}
	return strings.Join(codes, ", ")
}

// network judges and learns the network. Where the country is a finding, it says more.
func (h *habit) network(e *Engine, s *Seen, now int64, f Finding, fresh bool) {
	if !s.IP.IsValid() {
		return
	}
	p := networkOf(s.IP)
	hash, this := hashNetwork(p), uint32(now/hour)
	n, oldest := 0, 0
	for i := range h.Networks {
		w := &h.Networks[i]
		if w.Last == 0 {
			oldest = i
			break
		}
		if w.Hash == hash {
			w.Last = this
			return
		}
		if n++; w.Last < h.Networks[oldest].Last {
			oldest = i
		}
	}
	if !fresh && n > 0 && n <= networkMost && now-h.First >= networkAge && h.Uses >= networkUses && this-h.Newest >= networkQuiet && h.once(atNetwork, now) {
		f.Kind, f.Subject, f.Window = Network, p.String(), now-h.First
		f.Usual = fmt.Sprintf("uses from %d networks, the newest of which was first seen %s ago", n, duration(int64(this-h.Newest)*hour))
		if n == 1 {
			f.Usual = fmt.Sprintf("uses from one network for %s", duration(int64(this-h.Newest)*hour))
		}
		f.Seen = fmt.Sprintf("a use from %s (network %s)", s.IP, p)
		e.find(f, day)
	}
	h.Networks[oldest] = network{Hash: hash, First: this, Last: this}
	h.Newest = this
}

// addresses counts the addresses of the window, exactly up to 64.
func (h *habit) addresses(e *Engine, s *Seen, now int64, f Finding) {
	if !s.IP.IsValid() || int(h.Windows.Here) == len(h.Windows.HereSet) {
		return
	}
	hash := uint32(hashAddress(s.IP))
	for _, have := range h.Windows.HereSet[:h.Windows.Here] {
		if have == hash {
			return
		}
	}
	h.Windows.HereSet[h.Windows.Here] = hash
	h.Windows.Here++
	if float32(h.Windows.Here) < max(addressLeast, addressTimes*h.Windows.HerePeak+1) || now-h.First < addressAge || h.Uses < addressUses || !h.once(atAddresses, now) {
		return
	}
	f.Kind, f.Window = Addresses, window
	f.Usual = fmt.Sprintf("uses from at most %.0f addresses in ten minutes", max(h.Windows.HerePeak, 1))
	f.Seen = fmt.Sprintf("uses from %d addresses in ten minutes, the last one %s", h.Windows.Here, s.IP)
	e.find(f, day)
}

// linear[n] is the estimate for n bits of 256 that are not set: 256·ln(256/n).
var linear = func() (t [257]int) {
	for n := 1; n <= 256; n++ {
		t[n] = int(math.Round(256 * math.Log(256/float64(n))))
	}
	t[0] = 2 * t[1]
	return t
}()
