package proxy

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// costMember is the member of a JSON body that says what a call may cost.
const costMember = "max_cost_per_call"

// Bounds on bodies that are read whole: one, and all at a time.
const (
	maxCostBody  = 1 << 20
	maxCostTotal = 128 << 20
)

// costBuffers counts the bytes of bodies that are held in memory.
type costBuffers struct{ held atomic.Int64 }

var errBuffersFull = errors.New("too many bodies are held in memory")

// limitCost is step 9 of section 3: it finds the bound in force, and holds the
// request's body to it. Bodies that are not JSON say nothing about cost; but what
// they are is not for the client alone to say, since many upstreams read JSON
// whatever the media type, and unpack what is packed.
func (x *exchange) limitCost() *fault.Error {
	route := x.lane.route
	x.maxCost = route.maxCost
	if rec := x.pass.Record; rec != nil && rec.MaxCost > 0 && (x.maxCost == 0 || rec.MaxCost < x.maxCost) {
		x.maxCost = rec.MaxCost
	}
	x.reserve = route.cost
	if x.maxCost == 0 {
		return nil
	}
	if route.cost > x.maxCost {
		return fault.Newf(fault.CostAboveLimit, "A call of this route costs %s, above the %s that this key may spend on one call.",
			route.cost.AppendDecimal(nil), x.maxCost.AppendDecimal(nil))
	}
	if route.cost == 0 {
		x.reserve = x.maxCost
	}
	if x.body == nil {
		return nil
	}
	for _, v := range x.r.Header["Content-Encoding"] {
		if v = strings.TrimSpace(v); v != "" && !strings.EqualFold(v, "identity") {
			return fault.New(fault.UnsupportedEncoding)
		}
	}
	declared, utf8 := declaresJSON(x.r.Header)
	if declared && !utf8 {
		return fault.Newf(fault.UnsupportedMediaType, "A JSON body whose cost is checked must be UTF-8.")
	}
	if !declared {
		object, err := x.peek()
		if err != nil {
			return x.bodyFault(err)
		}
		if !object {
			return nil
		}
	}
	return x.limitBody()
}

// declaresJSON reports whether the body's media type is JSON, and whether in a
// charset that is read here as the upstream would read it.
func declaresJSON(h http.Header) (declared, utf8 bool) {
	values := h["Content-Type"]
	if len(values) != 1 {
		return false, false
	}
	t, params, _ := mime.ParseMediaType(values[0])
	if t != "application/json" && t != "text/json" && (!strings.HasSuffix(t, "+json") || strings.HasPrefix(t, "application/grpc")) {
		return false, false
	}
	switch strings.ToLower(params["charset"]) {
	case "", "utf-8", "utf8", "us-ascii":
		return true, true
	}
	return true, false
}

// beginsObject reports whether a body that begins with p, without white space,
// could be read as a JSON object by somebody: also behind a byte order mark, or
// in UTF-16, which Python's json guesses.
func beginsObject(p []byte) bool {
	for _, mark := range []string{"{", "\xef\xbb\xbf", "\xff\xfe", "\xfe\xff", "\x00{"} {
		if bytes.HasPrefix(p, []byte(mark)) {
			return true
		}
	}
	return false
}

// peek reports whether the body begins like a JSON object.
func (x *exchange) peek() (object bool, _ error) {
	buf := make([]byte, 0, 512)
	for len(buf) < cap(buf) {
		n, err := x.body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		rest := bytes.TrimLeft(buf, " \t\r\n")
		if len(rest) >= 3 || err != nil || len(rest) > 0 && rest[0] == '{' {
			x.body.unread(buf)
			if err == io.EOF {
				err = nil
			}
			return beginsObject(rest), err
		}
	}
	x.body.unread(buf)
	return true, nil // that much white space has something to hide
}

// limitBody reads the body and sees to its max_cost_per_call. What begins like
// an object and is no JSON is refused: more lenient readers (NaN, comments,
// trailing commas) would find a max_cost_per_call that was not checked.
func (x *exchange) limitBody() *fault.Error {
	if x.r.ContentLength > maxCostBody {
		return fault.Newf(fault.BodyTooLarge, "A body whose cost is checked may have at most 1 MiB.")
	}
	raw, err := x.readBody()
	if err != nil {
		return x.bodyFault(err)
	}
	x.buffered = raw
	if len(raw) == 0 {
		return nil
	}
	given, at, empty, f := findCost(raw)
	switch {
	case f != nil:
		return f
	case given == nil:
		out := make([]byte, 0, len(raw)+64)
		out = append(append(out, raw[:at]...), `"`+costMember+`":`...)
		out = x.maxCost.AppendDecimal(out)
		if !empty {
			out = append(out, ',')
		}
		x.buffered, x.changed = append(out, raw[at:]...), true
		return nil
	}
	m, err := parseMoney(string(given))
	if given.Kind() != '0' || given[0] == '-' {
		return fault.Newf(fault.InvalidValue, "%s must be a number that is not negative.", costMember)
	}
	if err != nil || m > x.maxCost {
		return fault.Newf(fault.CostAboveLimit, "max_cost_per_call is above the %s that this key may spend on one call.", x.maxCost.AppendDecimal(nil))
	}
	x.reserve = min(x.reserve, m)
	if route := x.lane.route; route.cost > m {
		return fault.Newf(fault.CostAboveLimit, "A call of this route costs %s, above the request's own max_cost_per_call.", route.cost.AppendDecimal(nil))
	}
	return nil
}

// readBody reads the whole body, within the bounds on memory.
func (x *exchange) readBody() ([]byte, error) {
	held := &x.proxy.costBuffers.held
	var raw []byte
	for {
		if len(raw) == cap(raw) {
			grown := max(4<<10, 2*cap(raw), int(min(x.r.ContentLength, 64<<10)))
			more := int64(grown - cap(raw))
			if held.Add(more) > maxCostTotal {
				held.Add(-more)
				return nil, errBuffersFull
			}
			x.held += more
			raw = append(make([]byte, 0, grown), raw...)
		}
		n, err := x.body.Read(raw[len(raw):cap(raw)])
		raw = raw[:len(raw)+n]
		switch {
		case len(raw) > maxCostBody:
			return nil, errBodyTooLarge
		case err == io.EOF:
			return raw, nil
		case err != nil:
			return nil, err
		}
	}
}

// release gives back the memory that readBody counted.
func (x *exchange) release() { x.proxy.costBuffers.held.Add(-x.held) }

func (x *exchange) bodyFault(err error) *fault.Error {
	switch {
	case errors.Is(err, errBuffersFull):
		return &fault.Error{Code: fault.Unavailable, RetryAfter: 1, Cause: err}
	case errors.Is(err, errBodyTooLarge):
		return fault.New(fault.BodyTooLarge)
	}
	return errClientGone
}

// findCost looks through a JSON object for max_cost_per_call: its value, or where
// one can be put in, and whether the object is empty.
func findCost(raw []byte) (given jsontext.Value, at int, empty bool, _ *fault.Error) {
	d := jsontext.NewDecoder(bytes.NewBuffer(raw))
	tok, err := d.ReadToken()
	if err != nil {
		return nil, 0, false, jsonFault(err)
	}
	if tok.Kind() != '{' {
		return nil, 0, false, fault.Newf(fault.InvalidJSON, "The body must be a JSON object.")
	}
	at, empty = int(d.InputOffset()), true
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, 0, false, jsonFault(err)
		}
		member := name.String()
		value, err := d.ReadValue()
		if err != nil {
			return nil, 0, false, jsonFault(err)
		}
		empty = false
		switch {
		case member == costMember:
			given = value.Clone()
		case strings.EqualFold(member, costMember):
			// Readers that do not look at the case would take this one.
			return nil, 0, false, fault.Newf(fault.DuplicateMember, "The member %q must be spelled %s.", member, costMember)
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, 0, false, jsonFault(err)
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, 0, false, fault.Newf(fault.InvalidJSON, "Something follows the JSON object.")
	}
	return given, at, empty, nil
}

func jsonFault(err error) *fault.Error {
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return fault.Wrap(fault.DuplicateMember, err)
	}
	return fault.Wrap(fault.InvalidJSON, err)
}

// takeCost finds what an answered request costs: the route's fixed cost unless
// the upstream failed; or what its header tells, and if that is missing from a
// success, all that was reserved.
func (x *exchange) takeCost(res *http.Response) {
	route := x.lane.route
	told := res.Header[route.costHeader]
	switch {
	case route.costHeader == "":
		if res.StatusCode < 500 {
			x.cost = route.cost
		}
	case len(told) == 1:
		m, err := parseMoney(strings.TrimSpace(told[0]))
		if err != nil {
			x.proxy.logger.Warn("the upstream's cost header is no amount", "route", route.rule.Route,
				"header", route.costHeader, "request_id", x.id, "error", err)
			m = x.reserve
		}
		x.cost = m
	case res.StatusCode < 300:
		x.cost = x.reserve
	}
}
