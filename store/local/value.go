package local

import (
	"encoding/binary"
	"math"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/pack"
)

// The value of an event row, kind first so that later forms can be distinguished:
//
//	request: 1 flags:1 method:1 status duration key route id action reason hint agent address [actor] [path upstream attempts errors [policy limit left would] [country] waited [name]]
//	dropped: 2 requests denials uncounted
//	many:    3 count and a request: so many equal refusals without an account
//
// status, duration (µs) and the counts are uvarints; the strings and the
// address (0, 4 or 16 bytes) follow a uvarint length. The hint is the
// actor's name; the actor's id is there where a flag says that it was not the
// key. Events of earlier versions end before the values that these did not have, and they
// ignore the rest. waited is how many milliseconds before the time of the event its
// request began (varint); the writer appends it, and the name of the key where there is no hint. A typical request takes 120 to 180 bytes.
// The policies that refused it or would have, the names of the latter joined by commas, are
// there where a flag says so, and so is the country: two letters.
const (
	kindRequest = 1
	kindDropped = 2
	kindMany    = 3
)

// Flags of a request: the key's type, two bits of the actor's, and one more.
const (
	flagLive   = 1
	actorShift = 1
	actorMask  = 3
	flagWould  = 8   // a shadow rule would have refused it
	flagLimits = 16  // the policies are there
	flagFailed = 32  // the gateway itself answered 5xx
	flagPlace  = 64  // the country is there
	flagShared = 128 // and after them, where the units of a shared limit were
)

// actors by their bits; no others than keys are common.
var actors = [...]store.ActorType{store.ActorKey, store.ActorUser, store.ActorOperator, store.ActorSystem}

func actorBits(t store.ActorType) byte {
	for i := range actors {
		if actors[i] == t {
			return byte(i)
		}
	}
	return 0
}

// Bounds of the kept part of each string, in bytes. For any input, an
// event is at most maxValue bytes.
const (
	maxMethod  = 16
	maxRoute   = 256
	maxID      = 128
	maxAction  = 64
	maxReason  = 64
	maxHint    = 64
	maxAgent   = 256
	maxPath    = 512
	maxUp      = 128
	maxErrors  = 128
	maxEnviron = 128
	maxPolicy  = 64
	maxWould   = 512
	maxValue   = 32 + maxMethod + 2*maxName + maxRoute + maxID + maxAction + maxReason + maxHint + maxAgent + maxPath + maxUp + maxErrors + maxPolicy + maxWould + 5*10 + len(Country{}) + maxWaited + maxHint + 18*2
)

// maxWaited is the length of the value that the writer appends.
const maxWaited = binary.MaxVarintLen64

// methods by their code; 0 means that the method's own name follows it.
var methods = [...]string{"", http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch,
	http.MethodDelete, http.MethodHead, http.MethodOptions}

func methodCode(m string) byte {
	for i := 1; i < len(methods); i++ {
		if methods[i] == m {
			return byte(i)
		}
	}
	return 0
}

// eventTypeOf classifies a management call by its purpose, as the event
// of the change itself is classified, so that a refused one is found beside it;
// a proxied request by its method.
func eventTypeOf[T pack.Text](action T, method string) store.EventType {
	verb := action
	for i := range len(action) {
		if action[i] == '.' {
			verb = action[i+1:]
		}
	}
	switch string(verb) {
	case "create", "import":
		return store.EventCreate
	case "read", "list", "verify":
		return store.EventRead
	case "update", "rotate":
		return store.EventUpdate
	case "delete", "revoke", "revoke_bulk":
		return store.EventDelete
	}
	switch method {
	case http.MethodPost:
		return store.EventCreate
	case http.MethodPut, http.MethodPatch:
		return store.EventUpdate
	case http.MethodDelete:
		return store.EventDelete
	}
	return store.EventRead
}

// outcomeOf classifies a request: 5xx is an error regardless of its cause, another
// fault a denial.
func outcomeOf(status int, refused bool) store.Outcome {
	switch {
	case status >= 500:
		return store.Failed
	case refused:
		return store.Denied
	}
	return store.Success
}

// appendText is pack.Append of at most bound bytes of s. Most texts are short or empty, and
// written without a call: a request has a dozen.
func appendText(dst []byte, s string, bound int) []byte {
	if s == "" {
		return append(dst, 0)
	}
	if s = clip(s, bound); len(s) < 0x80 {
		return append(append(dst, byte(len(s))), s...)
	}
	return pack.Append(dst, s)
}

// appendRequest writes o's event value. whole is false when no event will be
// kept: then only the fields that usage needs are written.
func appendRequest(dst []byte, o *Observation, whole bool) []byte {
	by, country := actorBits(o.Actor.Type), CountryOf(o.Country)
	name := o.Hint // of a refused credential; else the actor's name
	if name == "" {
		name = o.Actor.Name
	}
	reason := o.Code
	if reason == "" && o.Status >= 500 { // below, it would count as a refusal
		reason = o.Failure
	}
	code := methodCode(o.Method)
	dst = append(dst, kindRequest, requestFlags(o, whole)|by<<actorShift, code)
	if code == 0 {
		dst = appendText(dst, o.Method, maxMethod)
	}
	dst = binary.AppendUvarint(dst, uint64(max(o.Status, 0)))
	dst = binary.AppendUvarint(dst, uint64(max(o.Duration, 0)/time.Microsecond))
	dst = appendText(dst, string(o.Key), maxName)
	dst = appendText(dst, o.Route, maxRoute)
	if whole {
		dst = appendText(dst, o.RequestID, maxID)
		dst = appendText(dst, o.Action, maxAction)
		dst = appendText(dst, reason, maxReason)
		dst = appendText(dst, name, maxHint)
		dst = appendText(dst, o.UserAgent, maxAgent)
	} else {
		dst = append(dst, 0, 0)
		dst = appendText(dst, o.Code, maxReason)
		dst = append(dst, 0, 0)
	}
	dst = appendAddr(dst, o.Client)
	if by != 0 {
		dst = appendText(dst, o.Actor.ID, maxName)
	}
	if whole {
		dst = appendText(dst, o.Path, maxPath)
		dst = appendText(dst, o.Upstream, maxUp)
		dst = binary.AppendUvarint(dst, uint64(max(o.Attempts, 0)))
		dst = appendText(dst, o.Errors, maxErrors)
		if o.Limits != nil {
			dst = appendLimits(dst, o.Limits)
		}
	}
	if country != (Country{}) {
		if !whole {
			dst = append(dst, 0, 0, 0, 0) // path, upstream, attempts, errors
		}
		dst = append(dst, country[:]...)
	}
	return dst
}

// appendLimits appends the policies of a request.
func appendLimits(dst []byte, l *store.EventLimits) []byte {
	dst = appendText(dst, l.Policy, maxPolicy)
	dst = binary.AppendUvarint(dst, uint64(max(l.Limit, 0)))
	dst = binary.AppendUvarint(dst, uint64(max(l.Left, 0)))
	dst = appendText(dst, joinNames(l.WouldRefuse), maxWould)
	if s := l.Shared; s != nil {
		for _, n := range []int64{s.Here, s.Elsewhere, int64(s.Asked)} {
			dst = binary.AppendUvarint(dst, uint64(max(n, 0)))
		}
	}
	return dst
}

// wouldRefuse reports whether a shadow rule would have refused o.
func (o *Observation) wouldRefuse() bool { return o.Limits != nil && len(o.Limits.WouldRefuse) > 0 }

// joinNames joins the first of names that fit into maxWould bytes by commas, which stand
// in no name.
func joinNames(names []string) string {
	text := strings.Join(names, ",")
	for len(text) > maxWould {
		text = text[:max(strings.LastIndexByte(text, ','), 0)]
	}
	return text
}

func appendAddr(dst []byte, a netip.Addr) []byte {
	a = a.Unmap()
	switch {
	case a.Is4():
		b := a.As4()
		return append(append(dst, 4), b[:]...)
	case a.Is6():
		b := a.As16()
		return append(append(dst, 16), b[:]...)
	}
	return append(dst, 0)
}

// request is a parsed request value; its texts alias the parsed value.
type request[T pack.Text] struct {
	flags          byte
	method         T
	code           byte // of the method; 0: method is set
	status         int
	micros         uint64
	key, route, id T
	action, reason T
	agent, addr    T
	path, upstream T
	attempts       uint64
	errors         T
	requestCaller[T]
	requestOrigin[T]
	limits requestLimits[T]
}

// requestOrigin is from where a request came, and how long before its event it began.
type requestOrigin[T pack.Text] struct {
	country T
	waited  int64 // milliseconds
	timed   bool  // waited is known
}

// requestLimits are the policies that refused a request, or would have.
type requestLimits[T pack.Text] struct {
	there       bool
	policy      T
	limit, left uint64
	would       T // names, with commas between them
	shared      bool
	share       [3]uint64 // here, elsewhere, asked
}

// event is l as an event has it; nil if there are none.
func (l *requestLimits[T]) event() *store.EventLimits {
	if !l.there {
		return nil
	}
	e := &store.EventLimits{Policy: string(l.policy), Limit: int64(min(l.limit, math.MaxInt64)), Left: int64(min(l.left, math.MaxInt64))}
	if len(l.would) > 0 {
		e.WouldRefuse = strings.Split(string(l.would), ",")
	}
	if l.shared {
		some := func(n uint64) int64 { return int64(min(n, math.MaxInt64)) }
		e.Shared = &store.EventShare{Here: some(l.share[0]), Elsewhere: some(l.share[1]), Asked: int(min(l.share[2], math.MaxInt32))}
	}
	return e
}

func (r *request[T]) methodName() string {
	if r.code != 0 {
		return methods[r.code]
	}
	return string(r.method)
}

func (r *request[T]) actor() store.ActorType { return actors[r.flags>>actorShift&actorMask] }

// place is the country, if the value has it.
func (r *request[T]) place() Country { return CountryOf(string(r.country)) }

func (r *request[T]) ip() netip.Addr {
	a, _ := netip.AddrFromSlice([]byte(r.addr))
	return a
}

// splitMany takes the number of refusals off a value that stands for many; 0 stands for one.
func splitMany[T pack.Text](v T) (count uint32, request T, err error) {
	if len(v) == 0 || v[0] != kindMany {
		return 0, v, nil
	}
	p := pack.NewReader(v[1:])
	n := p.Uvarint()
	if p.Bad() || n < 2 || n > math.MaxUint32 {
		return 0, v, errCorrupt
	}
	return uint32(n), p.Rest(), nil
}

// parseRequest reads a request value, kind byte included.
func parseRequest[T pack.Text](v T) (r request[T], err error) {
	p := pack.NewReader(v)
	if p.Byte() != kindRequest {
		return r, errCorrupt
	}
	r.flags = p.Byte()
	r.code = p.Byte()
	if r.code == 0 {
		r.method = p.Text()
	}
	status := p.Uvarint()
	r.micros = p.Uvarint()
	r.key, r.route, r.id = p.Text(), p.Text(), p.Text()
	r.action, r.reason, r.hint, r.agent = p.Text(), p.Text(), p.Text(), p.Text()
	r.addr = p.Text()
	if r.actor() != store.ActorKey {
		r.by = p.Text()
	} else {
		r.by = r.key
	}
	if len(p.Rest()) > 0 {
		r.path, r.upstream, r.attempts = p.Text(), p.Text(), p.Uvarint()
	}
	if len(p.Rest()) > 0 {
		r.errors = p.Text()
	}
	if r.flags&flagLimits != 0 {
		r.limits = requestLimits[T]{there: true, policy: p.Text(), limit: p.Uvarint(), left: p.Uvarint(), would: p.Text()}
		if r.limits.shared = r.flags&flagShared != 0; r.limits.shared {
			r.limits.share = [3]uint64{p.Uvarint(), p.Uvarint(), p.Uvarint()}
		}
	}
	if r.flags&flagPlace != 0 {
		r.country = p.Take(uint64(len(Country{})))
	}
	if len(p.Rest()) > 0 {
		r.waited, r.timed = p.Varint(), true
	}
	if len(p.Rest()) > 0 {
		r.name = p.Text()
	}
	if p.Bad() || int(r.code) >= len(methods) || status > 1<<16 ||
		len(r.addr) != 0 && len(r.addr) != 4 && len(r.addr) != 16 {
		return r, errCorrupt
	}
	r.status = int(status)
	return r, nil
}

// loss counts the effects of overload: events of requests and of denials that were not
// kept, and requests that usage does not count.
type loss struct{ requests, denials, uncounted uint64 }

func (d loss) zero() bool { return d == loss{} }

func (d loss) append(dst []byte) []byte {
	dst = append(dst, kindDropped)
	dst = binary.AppendUvarint(dst, d.requests)
	dst = binary.AppendUvarint(dst, d.denials)
	return binary.AppendUvarint(dst, d.uncounted)
}

func parseLoss(v []byte) (d loss, err error) {
	p := pack.NewReader(v)
	if p.Byte() != kindDropped {
		return d, errCorrupt
	}
	d = loss{p.Uvarint(), p.Uvarint(), p.Uvarint()}
	if p.Bad() {
		return d, errCorrupt
	}
	return d, nil
}
