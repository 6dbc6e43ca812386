package insight

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// table is a memory of a map.
type table map[string][]byte

func (m table) Load(key string) []byte        { return m[key] }
func (m table) Save(key string, habit []byte) { m[key] = habit }

// client is a generated user of a key.
type client struct {
	shape    string
	rate     func(r *rand.Rand, t time.Time) float64 // requests expected in the hour
	networks int                                     // that it keeps to
	wander   float64                                 // chance of a new network in an hour
	country  []string
	denied   float64 // part of its requests
	many     int     // addresses at once
}

// shapes are the ways in which keys are used.
var shapes = []client{
	{shape: "steady", rate: func(*rand.Rand, time.Time) float64 { return 60 }, networks: 1, country: []string{"DE"}},
	{shape: "busy", rate: func(*rand.Rand, time.Time) float64 { return 300 }, networks: 2, country: []string{"DE", "FR"}, denied: 0.01, many: 4},
	{shape: "office hours", rate: func(_ *rand.Rand, t time.Time) float64 {
		if wd := t.Weekday(); wd == time.Saturday || wd == time.Sunday || t.Hour() < 8 || t.Hour() > 17 {
			return 1
		}
		return 250
	}, networks: 2, country: []string{"US"}},
	{shape: "day and night", rate: func(_ *rand.Rand, t time.Time) float64 {
		return 120 * (1.1 + math.Sin(float64(t.Hour())/24*2*math.Pi))
	}, networks: 3, country: []string{"GB"}, denied: 0.02, many: 3},
	{shape: "weekly job", rate: func(_ *rand.Rand, t time.Time) float64 {
		if t.Weekday() == time.Monday && t.Hour() == 2 {
			return 3000
		}
		return 2
	}, networks: 1, country: []string{"DE"}},
	{shape: "nightly job", rate: func(_ *rand.Rand, t time.Time) float64 {
		if t.Hour() == 3 {
			return 1500
		}
		return 0
	}, networks: 1, country: []string{"NL"}},
	{shape: "irregular", rate: func(r *rand.Rand, _ time.Time) float64 {
		if r.IntN(20) == 0 {
			return 800
		}
		return 3
	}, networks: 2, country: []string{"US"}, denied: 0.05},
	{shape: "roaming", rate: func(*rand.Rand, time.Time) float64 { return 40 }, networks: 8, wander: 0.1, country: []string{"BR"}, many: 6},
	{shape: "worldwide", rate: func(*rand.Rand, time.Time) float64 { return 200 }, networks: 16, wander: 0.5, many: 40,
		country: []string{"DE", "US", "BR", "JP", "IN", "FR", "GB", "NL", "ES", "IT"}},
	{shape: "growing", rate: func(_ *rand.Rand, t time.Time) float64 { return 50 + 4*t.Sub(traceStart).Hours()/24 }, networks: 2, country: []string{"SE"}},
	{shape: "rare", rate: func(r *rand.Rand, _ time.Time) float64 { return 0.2 }, networks: 1, country: []string{"CH"}},
}

var traceStart = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC) // a Monday

const (
	traceWeeks = 9
	plantAfter = 5 * 7 * 24 // hours; anomalies are planted in the weeks after
)

// planted is an anomaly that a trace contains.
type planted struct {
	kind  Kind
	hour  int
	found bool
}

// trace plays one key and returns the anomalies planted in it, and the findings.
func trace(e *Engine, r *rand.Rand, id int, c client, plant Kind) (*planted, []Finding) {
	key := fmt.Sprintf("key_%d", id)
	var p *planted
	if plant != "" {
		p = &planted{kind: plant, hour: plantAfter + r.IntN(2*7*24)}
		if plant == Silence {
			p.hour = 50*24 + r.IntN(7*24) // of which it is silent for 40
		}
	}
	nets := make([]uint32, c.networks)
	for i := range nets {
		nets[i] = r.Uint32()
	}
	var found []Finding
	see := func(s Seen) {
		found = append(found, e.See(&s)...)
	}
	for h := range traceWeeks * 7 * 24 {
		at := traceStart.Add(time.Duration(h) * time.Hour)
		if r.Float64() < c.wander {
			nets[r.IntN(len(nets))] = r.Uint32()
		}
		n := poisson(r, c.rate(r, at)*math.Exp(0.15*r.NormFloat64()))
		silent := p != nil && p.kind == Silence
		if silent && h >= p.hour-40*24 && h < p.hour {
			n = 0
		} else if silent && h == p.hour {
			n = max(n, 1)
		}
		for i := range n {
			s := Seen{At: at.Unix() + int64(i)*3600/int64(n), Account: "default", Key: key, IP: addr(nets[r.IntN(len(nets))], uint8(r.IntN(max(c.many, 1))))}
			copy(s.Country[:], c.country[r.IntN(len(c.country))])
			s.Denied = r.Float64() < c.denied
			see(s)
		}
		if p != nil && h == p.hour {
			anomaly(r, p.kind, at, key, c, nets, see)
		}
	}
	return p, found
}

// anomaly plays one hour of it beside the usual traffic.
func anomaly(r *rand.Rand, kind Kind, at time.Time, key string, c client, nets []uint32, see func(Seen)) {
	usual := Seen{At: at.Unix() + 3599, Account: "default", Key: key, IP: addr(nets[0], 0)}
	copy(usual.Country[:], c.country[0])
	switch kind {
	case Rate:
		for range 4 * max(50, busiest(r, c, at)) {
			see(usual)
		}
	case Country:
		usual.IP = addr(r.Uint32(), 1)
		copy(usual.Country[:], "KP")
		see(usual)
	case Network:
		usual.IP = addr(r.Uint32(), 1)
		see(usual)
	case Denials:
		for range 400 {
			usual.Denied = true
			see(usual)
		}
	case Addresses:
		for i := range 60 {
			usual.IP = addr(nets[0], uint8(100+i))
			see(usual)
		}
	}
}

// busiest is what c sends in the busiest hour of the week before at.
func busiest(r *rand.Rand, c client, at time.Time) (most int) {
	for h := range 168 {
		most = max(most, int(c.rate(r, at.Add(-time.Duration(h)*time.Hour))))
	}
	return most
}

func addr(network uint32, host uint8) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], network<<8|uint32(host))
	b[0] = b[0]&0x3f | 0x10
	return netip.AddrFrom4(b)
}

func poisson(r *rand.Rand, mean float64) int {
	if mean > 30 {
		return max(0, int(math.Round(mean+math.Sqrt(mean)*r.NormFloat64())))
	}
	n, p := 0, r.Float64()
	for limit := math.Exp(-mean); p > limit; n++ {
		p *= r.Float64()
	}
	return n
}

// score counts what was found of the anomalies of a kind, and what else.
type score struct{ planted, found, wrong, keys int }

// unfit are kinds that a shape has no habit for: a key used from everywhere has no new
// network, and one that is used twice a week no hourly rate.
var unfit = map[string][]Kind{
	"roaming": {Network}, "worldwide": {Network, Country, Addresses}, "rare": {Addresses, Network, Country},
	"nightly job": {}, "weekly job": {},
}

// Anomalies that are planted in nine weeks of generated traffic are found, and little else
// is. The figures are those of docs/insight.md.
func TestPrecisionAndRecall(t *testing.T) {
	const seed = 20261130
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	scores := map[Kind]*score{}
	for _, k := range Kinds[:6] {
		scores[k] = &score{}
	}
	id, quietKeys, falseAlarms := 0, 0, 0
	for _, c := range shapes {
		for _, plant := range append([]Kind{""}, Kinds[:6]...) {
			if slices.Contains(unfit[c.shape], plant) {
				continue
			}
			for range 2 {
				id++
				e := New(table{})
				p, found := trace(e, r, id, c, plant)
				if plant == "" {
					quietKeys++
				} else {
					scores[plant].planted++
				}
				for _, f := range found {
					near := p != nil && f.At.Sub(traceStart) >= time.Duration(p.hour)*time.Hour && f.At.Sub(traceStart) < time.Duration(p.hour+25)*time.Hour
					switch {
					case near && f.Kind == p.kind:
						p.found = true
					case near: // another sign of the same anomaly
					default:
						scores[f.Kind].wrong++
						falseAlarms++
						t.Logf("wrong: %s %s at %s: usual %s; seen %s", c.shape, f.Kind, f.At.Format("Mon 2006-01-02 15:04"), f.Usual, f.Seen)
					}
				}
				if p != nil && p.found {
					scores[plant].found++
				} else if p != nil {
					t.Logf("missed: %s %s at hour %d", c.shape, plant, p.hour)
				}
			}
		}
	}
	var text strings.Builder
	all := score{keys: id}
	fmt.Fprintf(&text, "| kind | planted | found | false alarms | recall | precision |\n| --- | --- | --- | --- | --- | --- |\n")
	row := func(name string, s *score) {
		fmt.Fprintf(&text, "| `%s` | %d | %d | %d | %.2f | %.2f |\n", name, s.planted, s.found, s.wrong, float64(s.found)/float64(s.planted), float64(s.found)/float64(max(s.found+s.wrong, 1)))
	}
	for _, k := range Kinds[:6] {
		s := scores[k]
		row(string(k), s)
		all.planted, all.found, all.wrong = all.planted+s.planted, all.found+s.found, all.wrong+s.wrong
	}
	row("all", &all)
	t.Logf("%d keys, %d weeks, %d without anomaly\n%s", id, traceWeeks, quietKeys, text.String())
	if recall := float64(all.found) / float64(all.planted); recall < 0.95 {
		t.Errorf("recall %.3f", recall)
	}
	if precision := float64(all.found) / float64(all.found+all.wrong); precision < 0.9 {
		t.Errorf("precision %.3f", precision)
	}
	docs, err := os.ReadFile("../../docs/insight.md")
	if err != nil || !strings.Contains(string(docs), text.String()) {
		t.Errorf("docs/insight.md has other figures, %v", err)
	}
}
