package insight

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Kind is the kind of a finding.
type Kind string

// The kinds.
const (
	Rate      Kind = "rate"           // far more requests in an hour than the key's daily and weekly habit
	Country   Kind = "new_country"    // the first use from a country
	Network   Kind = "new_network"    // the first use from a network, of a key that keeps to few
	Silence   Kind = "after_silence"  // a use after a long time without any
	Denials   Kind = "denials"        // many refusals within ten minutes
	Addresses Kind = "many_addresses" // used from many addresses within ten minutes
	Storm     Kind = "auth_failures"  // many failed authentications from an address or a country, or with one hint
)

// Kinds lists all kinds.
var Kinds = []Kind{Rate, Country, Network, Silence, Denials, Addresses, Storm}

// Seen is one request.
type Seen struct {
	At         int64 // Unix seconds
	Account    string
	Key        string // "" if no key was recognized
	IP         netip.Addr
	Country    [2]byte // zero if it is not known
	Agent      string
	Denied     bool // refused, for another reason than a limit
	Auth       bool // a failed authentication
	Hint       string
	Management bool
	Did        Did // scopes that it made use of
}

// Did are scopes that a key has made use of.
type Did uint8

// The scopes.
const (
	DidRead Did = 1 << iota
	DidWrite
	DidVerify
	DidLimit
	DidAdmin
)

// Finding is something unusual.
type Finding struct {
	ID      string    `json:"id"` // depends on the cause alone, and is the same on all nodes
	Kind    Kind      `json:"kind"`
	At      time.Time `json:"at"`
	Account string    `json:"account,omitzero"`
	Key     string    `json:"key,omitzero"`
	Subject string    `json:"subject,omitzero"` // the country, network, address or hint that it is about
	Usual   string    `json:"usual"`
	Seen    string    `json:"seen"`
	// Window is the time that was judged, in seconds.
	Window int64 `json:"window"`
}

// Query selects findings.
type Query struct {
	From, To time.Time
	Account  string
	Stray    bool   // those of no account too
	Key      string // "" is all
	Most     int
}

// Selects reports whether f is of the account and the key that q asks for.
func (q *Query) Selects(f *Finding) bool {
	return (f.Account == q.Account || f.Account == "" && q.Stray) && (q.Key == "" || f.Key == q.Key)
}

// Memory keeps packed habits that are not in memory.
type Memory interface {
	Load(key string) []byte // nil if there is none
	Save(key string, habit []byte)
}

// maxYoung bounds each of two generations of habits in memory.
const maxYoung = 4096

// Engine learns and finds.
type Engine struct {
	memory     Memory
	young, old map[string]*habit
	storms     storms
	found      []Finding
}

// New returns an engine that keeps habits in memory.
func New(memory Memory) *Engine {
	return &Engine{memory: memory, young: make(map[string]*habit), old: make(map[string]*habit), storms: newStorms()}
}

// See takes a request. The findings are valid until the next call.
func (e *Engine) See(s *Seen) []Finding {
	e.found = e.found[:0]
	if s.Auth {
		e.storms.see(e, s)
	}
	if s.Key != "" {
		e.habit(s.Key).see(e, s)
	}
	return e.found
}

// habit finds a key's habit, and makes one if there is none.
func (e *Engine) habit(key string) *habit {
	if h := e.young[key]; h != nil {
		return h
	}
	h := e.old[key]
	if h == nil {
		h = new(habit)
		if raw := e.memory.Load(key); raw != nil {
			h.unpack(raw)
		}
	}
	if len(e.young) >= maxYoung {
		e.save(e.old)
		e.old, e.young = e.young, make(map[string]*habit)
	}
	delete(e.old, key)
	e.young[key] = h
	return h
}

// Save keeps every habit that has changed.
func (e *Engine) Save() {
	e.save(e.young)
	e.save(e.old)
}

// Forget drops the habits of keys from memory.
func (e *Engine) Forget(goes func(key string) bool) {
	for _, habits := range []map[string]*habit{e.young, e.old} {
		for key := range habits {
			if goes(key) {
				delete(habits, key)
			}
		}
	}
}

func (e *Engine) save(habits map[string]*habit) {
	for key, h := range habits {
		if h.changed {
			e.memory.Save(key, h.pack())
			h.changed = false
		}
	}
}

// find adds a finding. Equal causes within the period have the same id.
func (e *Engine) find(f Finding, period int64) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s\x00%s\x00%d", f.Kind, f.Account, f.Key, f.Subject, f.At.Unix()/period))
	f.ID = "fnd_" + base64.RawURLEncoding.EncodeToString(sum[:15])
	e.found = append(e.found, f)
}

// Profile is what is known of a key on this node.
type Profile struct {
	First, Last time.Time // use; zero if there was none
	Did         Did
	Addresses   int // in the busier of the last two days, an estimate up to some 1,000
	Recent      []User
}

// User is an address from which a key was used lately, the last one first.
type User struct {
	IP       netip.Addr `json:"ip"`
	Country  string     `json:"country,omitzero"`
	Agent    string     `json:"agent,omitzero"` // the last one; up to 48 bytes are kept
	At       time.Time  `json:"at"`
	Requests int64      `json:"requests"` // since it was noted
}

// Merge adds what another node knows of the key.
func (p *Profile) Merge(o *Profile) {
	if p.First.IsZero() || !o.First.IsZero() && o.First.Before(p.First) {
		p.First = o.First
	}
	if o.Last.After(p.Last) {
		p.Last = o.Last
	}
	p.Did |= o.Did
	p.Addresses = max(p.Addresses, o.Addresses)
	for _, u := range o.Recent {
		i := slices.IndexFunc(p.Recent, func(have User) bool { return have.IP == u.IP })
		if i < 0 {
			p.Recent = append(p.Recent, u)
			continue
		}
		u.Requests += p.Recent[i].Requests
		if p.Recent[i].At.After(u.At) {
			u.At, u.Agent = p.Recent[i].At, p.Recent[i].Agent
		}
		p.Recent[i] = u
	}
	slices.SortFunc(p.Recent, func(a, b User) int { return b.At.Compare(a.At) })
}

// Profile returns what is known of a key, without taking it into memory.
func (e *Engine) Profile(key string) Profile {
	if h := e.peek(key); h != nil {
		return h.profile()
	}
	return Profile{}
}

func (e *Engine) peek(key string) *habit {
	if h := e.young[key]; h != nil {
		return h
	}
	if h := e.old[key]; h != nil {
		return h
	}
	raw := e.memory.Load(key)
	if raw == nil {
		return nil
	}
	h := new(habit)
	h.unpack(raw)
	return h
}

// Refutes reports whether this node knew the subject of a finding of another node an hour
// before: a country or network that is new there alone is not new.
func (e *Engine) Refutes(f *Finding) bool {
	h := e.peek(f.Key)
	if h == nil {
		return false
	}
	before := uint32(f.At.Add(-time.Hour).Unix() / hour)
	switch f.Kind {
	case Country:
		for _, p := range h.Countries {
			if p.Last > 0 && string(p.Code[:]) == f.Subject && p.First < before {
				return true
			}
		}
	case Network:
		network, err := netip.ParsePrefix(f.Subject)
		if err != nil {
			return false
		}
		want := hashNetwork(network)
		for _, p := range h.Networks {
			if p.Last > 0 && p.Hash == want && p.First < before {
				return true
			}
		}
	}
	return false
}
