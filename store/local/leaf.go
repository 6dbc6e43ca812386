package local

import (
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/perfgate/perfgate/store/chain"
)

// leaf is the hash of a stored event in its chain. Most events are requests, whose hash is made
// of the row itself: to build the event first took as long as to hash it. parsed is the request
// of the row, which stands for no others; nil if it is not at hand.
func (c *chains) leaf(of owner, ns, seq uint64, value []byte, parsed *request[[]byte]) (chain.Hash, error) {
	if parsed != nil && plain(parsed) {
		c.hashed(of, ns, seq, parsed, 0)
		return c.enc.Leaf(), nil
	}
	if count, v, err := splitMany(value); err == nil && len(v) > 0 && v[0] == kindRequest {
		if r, err := parseRequest(v); err == nil && plain(&r) {
			c.hashed(of, ns, seq, &r, count)
			return c.enc.Leaf(), nil
		}
	}
	e, err := c.dec.eventIn(&c.room, of, ns, seq, value)
	if err != nil {
		return chain.Hash{}, err
	}
	return e.Leaf(c.enc), nil
}

// plain reports whether the event of a request has the texts of its row as they are.
func plain(r *request[[]byte]) bool {
	for _, text := range [...][]byte{r.action, r.by, r.hint, r.reason, r.agent, r.id, r.method, r.route, r.path, r.upstream, r.errors, r.key, r.name} {
		if !utf8.Valid(text) {
			return false
		}
	}
	return string(r.action) != ActionLost
}

// hashed encodes a request's event, as [store.Event.Leaf] does: the texts of
// [chain.Columns], in their order.
func (c *chains) hashed(of owner, ns, seq uint64, r *request[[]byte], count uint32) {
	enc, method := c.enc, r.methodName()
	var room [48]byte
	enc.Bytes(appendID(room[:0], c.dec.idsOf(of), seq))
	enc.Bytes(strconv.AppendUint(room[:0], seq, 10))
	enc.Time(at(ns))
	enc.Text(string(eventTypeOf(r.action, method)))
	if len(r.action) > 0 {
		enc.Bytes(r.action)
	} else {
		enc.Text(ActionRequest)
	}
	if len(r.by) > 0 {
		enc.Text(string(r.actor()))
	} else {
		enc.Text("")
	}
	enc.Bytes(r.by)
	if len(r.hint) == 0 && len(r.by) > 0 {
		enc.Bytes(r.name)
	} else {
		enc.Bytes(r.hint)
	}
	enc.Text(string(of.account()))
	enc.Bytes(r.key)
	enc.Text("") // target
	enc.Text(string(outcomeOf(r.status, len(r.reason) > 0)))
	enc.Bytes(r.reason)
	enc.Bytes(appendIP(room[:0], r.addr))
	enc.Bytes(r.country)
	enc.Bytes(r.agent)
	enc.Bytes(r.id)
	enc.Text(method)
	enc.Bytes(r.route)
	enc.Bytes(appendCount(room[:0], uint64(r.status)))
	if r.status == 0 {
		enc.Text("")
	} else {
		enc.Bytes(appendMillis(room[:0], r.micros))
	}
	enc.Text("") // changes
	enc.Bytes(r.path)
	enc.Bytes(r.upstream)
	enc.Bytes(appendCount(room[:0], min(r.attempts, math.MaxInt32)))
	if r.timed {
		enc.Time(time.UnixMilli(int64(ns/1e6) - r.waited))
	} else {
		enc.Text("")
	}
	enc.Bytes(r.errors)
	enc.Bytes(appendCount(room[:0], uint64(count)))
}

// appendCount appends the digits of n, and none of 0.
func appendCount(b []byte, n uint64) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendUint(b, n, 10)
}

// appendMillis appends microseconds as milliseconds, without zeros at the end, and nothing for
// 0: the shortest decimal of the float that an event has. Up to 15 digits that is exact.
func appendMillis(b []byte, micros uint64) []byte {
	switch {
	case micros == 0:
		return b
	case micros >= 1e15:
		return strconv.AppendFloat(b, float64(micros)/1000, 'f', -1, 64)
	}
	b = strconv.AppendUint(b, micros/1000, 10)
	rest := micros % 1000
	if rest == 0 {
		return b
	}
	b = append(b, '.', byte('0'+rest/100), byte('0'+rest/10%10), byte('0'+rest%10))
	for b[len(b)-1] == '0' {
		b = b[:len(b)-1]
	}
	return b
}

// appendIP appends the text of an address of four or sixteen bytes.
func appendIP(b, addr []byte) []byte {
	if len(addr) == 4 {
		for i, part := range addr {
			if i > 0 {
				b = append(b, '.')
			}
			b = strconv.AppendUint(b, uint64(part), 10)
		}
		return b
	}
	r := request[[]byte]{addr: addr}
	if ip := r.ip(); ip.IsValid() {
		b = ip.AppendTo(b)
	}
	return b
}
