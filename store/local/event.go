package local

import (
	"cmp"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/ids"
)

// ActionRequest is the action of a proxied request's event, [ActionDropped] of
// the event that says how many others are missing.
const (
	ActionRequest = "request"
	ActionDropped = "audit.dropped"
)

// decoder makes events of rows. It is not safe for concurrent use.
type decoder struct {
	prefix  string // of ids: "evt_" and the node's own
	refused string // of the ids of accounts' refusals
	node    string
	scratch []byte
	ip      netip.Addr // of the event before, which is often that of the next one, too
	address string     // its text
}

// newDecoder makes a decoder of a node's events.
func newDecoder(l *Local) decoder {
	return decoder{prefix: l.prefix, refused: l.refused, node: l.cfg.Node}
}

// idsOf is what the ids of an owner's events begin with: the name of their stream.
func (d *decoder) idsOf(of owner) string {
	if refuses(of) {
		return d.refused
	}
	return d.prefix
}

// eventRoom is the memory of an event.
type eventRoom struct {
	e store.Event
	r store.EventRequest
	// texts, if it is there, gets the texts of one event after the other, in blocks: an event
	// is then to be dropped before long, since it keeps a block.
	texts *strings.Builder
}

// textBlock is the size of those blocks.
const textBlock = 16 << 10

// text is p as a string.
func (m *eventRoom) text(p []byte) string {
	if m.texts == nil || len(p) > textBlock/8 {
		return string(p)
	}
	if m.texts.Cap()-m.texts.Len() < len(p) {
		m.texts.Reset()
		m.texts.Grow(textBlock)
	}
	from := m.texts.Len()
	m.texts.Write(p)
	return m.texts.String()[from:]
}

// event builds the event of one row; it shares no memory with v.
func (d *decoder) event(of owner, ns, seq uint64, v []byte) (*store.Event, error) {
	return d.eventIn(new(eventRoom), of, ns, seq, v)
}

// eventIn is event in the given room.
func (d *decoder) eventIn(room *eventRoom, of owner, ns, seq uint64, v []byte) (*store.Event, error) {
	if len(v) == 0 {
		return nil, errCorrupt
	}
	if v[0] == kindDropped {
		return d.dropped(of.account(), ns, seq, v)
	}
	count, v, err := splitMany(v)
	if err != nil {
		return nil, err
	}
	// One string holds every text of the event but the address: the row, and the id.
	buf := append(d.scratch[:0], v...)
	buf = appendID(buf, d.idsOf(of), seq)
	d.scratch = buf
	all := room.text(buf)
	r, err := parseRequest(all[:len(v)])
	if err != nil {
		return nil, err
	}
	e := &room.e
	method := r.methodName()
	*e, room.r = store.Event{}, requestOf(&r, ns)
	e.ID, e.Seq, e.Time, e.Account = all[len(v):], seq, at(ns), of.account()
	e.EventType = eventTypeOf(r.action, method)
	e.Action = ActionRequest
	if r.action != "" {
		e.Action = r.action
	}
	e.Actor = actorOf(&r)
	e.KeyID = store.KeyID(r.key)
	e.Outcome = outcomeOf(r.status, r.reason != "")
	e.Reason = r.reason
	e.IP = d.addressOf(r.ip())
	e.Country, e.Count = r.country, count
	e.UserAgent = r.agent
	e.Request = &room.r
	if r.action == ActionLost {
		lossEvent(e, &r)
		return e, nil
	}
	d.clean(e)
	return e, nil
}

// addressOf is the text of an address; "" if there is none.
func (d *decoder) addressOf(ip netip.Addr) string {
	if ip != d.ip {
		d.ip, d.address = ip, ""
		if ip.IsValid() {
			d.address = ip.String()
		}
	}
	return d.address
}

// actorOf is who made a request.
func actorOf(r *request[string]) store.Actor {
	if r.by == "" {
		return store.Actor{Name: r.hint} // no caller was recognised, rather than a key without an id
	}
	return store.Actor{Type: r.actor(), ID: r.by, Name: cmp.Or(r.hint, r.name)}
}

// requestOf is the request of an event that was written at ns.
func requestOf(r *request[string], ns uint64) store.EventRequest {
	out := store.EventRequest{
		RequestInfo: store.RequestInfo{ID: r.id, Method: r.methodName(), Route: r.route, Status: r.status, DurationMS: float64(r.micros) / 1000},
		Path:        r.path, Upstream: r.upstream, Attempts: int(min(r.attempts, math.MaxInt32)), Limits: r.limits.event(), Errors: r.errors,
	}
	if r.timed {
		out.StartedAt = time.UnixMilli(int64(ns/1e6) - r.waited).UTC()
	}
	return out
}

// clean replaces bytes that are not UTF-8, which clients may send and a cut may
// leave: events must be valid JSON.
func (d *decoder) clean(e *store.Event) {
	for _, s := range []*string{&e.Action, &e.Actor.ID, &e.Actor.Name, &e.Reason, &e.UserAgent,
		&e.Request.ID, &e.Request.Method, &e.Request.Route, &e.Request.Path, &e.Request.Upstream, &e.Request.Errors, (*string)(&e.KeyID)} {
		if !utf8.ValidString(*s) {
			*s = strings.ToValidUTF8(*s, "\ufffd")
		}
	}
	if l := e.Request.Limits; l != nil {
		l.Policy = strings.ToValidUTF8(l.Policy, "\ufffd")
		for i := range l.WouldRefuse {
			l.WouldRefuse[i] = strings.ToValidUTF8(l.WouldRefuse[i], "\ufffd")
		}
	}
}

func (d *decoder) dropped(account store.AccountID, ns, seq uint64, v []byte) (*store.Event, error) {
	l, err := parseLoss(v)
	if err != nil {
		return nil, err
	}
	after := append([]byte(`{"after":{"requests":`), strconv.FormatUint(l.requests, 10)...)
	after = append(append(after, `,"denials":`...), strconv.FormatUint(l.denials, 10)...)
	after = append(append(after, `,"uncounted":`...), strconv.FormatUint(l.uncounted, 10)...)
	return &store.Event{
		ID: string(appendID(nil, d.prefix, seq)), Seq: seq, Time: at(ns), Account: account,
		EventType: store.EventDelete, Action: ActionDropped, Outcome: store.Failed,
		Actor:   store.Actor{Type: store.ActorSystem, ID: d.node},
		Changes: append(after, "}}"...),
	}, nil
}

// appendID writes an event's id: the node's prefix and the digits of its count, so
// that ids of one node sort as their numbers do.
func appendID(dst []byte, prefix string, seq uint64) []byte {
	return ids.Append(append(dst, prefix...), seq, ids.Uint64Len)
}
