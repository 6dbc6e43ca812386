package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/perfgate/perfgate/httpapi/bodies"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

// costMember is the member of a JSON body that bounds the cost of the call.
const costMember = "max_cost_per_call"

// maxCostBody bounds a body whose cost is checked, in bytes.
const maxCostBody = 1 << 20

// limitCost is step 9 of admission: it finds the bound in force, and holds the
// request's body to it. The client's media type is not trusted, since many upstreams
// read JSON under any media type, and decode content codings.
func (x *exchange) limitCost() *fault.Error {
	demand := x.lane.demand(x.pass.Record, x.start)
	var f *fault.Error
	if x.maxCost, x.reserve, f = demand.Price(x.pass.Record); f != nil {
		return f
	}
	if x.maxCost == 0 {
		return nil
	}
	if upgradeOf(x.r) != "" {
		return fault.Newf(fault.InvalidRequest, "A request whose cost is bounded cannot switch protocols: the data after the switch could not be checked.")
	}
	if x.body == nil {
		return nil
	}
	for _, v := range x.r.Fields.Values("Content-Encoding") {
		if v = strings.TrimSpace(v); v != "" && !strings.EqualFold(v, "identity") {
			return fault.New(fault.UnsupportedEncoding)
		}
	}
	if !readAsUTF8(x.r.Fields.Values("Content-Type")) {
		return fault.Newf(fault.UnsupportedMediaType, "A body whose cost is checked must be JSON in UTF-8.")
	}
	return x.limitBody()
}

// readAsUTF8 reports whether a body with these media types is read in UTF-8, as it
// is checked here: at most one type, and no other charset in it.
func readAsUTF8(types []string) bool {
	if len(types) == 0 || len(types) == 1 && types[0] == "" {
		return true
	}
	_, params, err := mime.ParseMediaType(types[0])
	if len(types) > 1 || err != nil {
		return false
	}
	switch strings.ToLower(params["charset"]) {
	case "", "utf-8", "utf8", "us-ascii":
		return true
	}
	return false
}

// limitBody reads the body, in a bounded time, and checks or adds its max_cost_per_call. A body that is
// not one JSON object is refused: more lenient readers (NaN, comments, UTF-16,
// batches) would find a max_cost_per_call that was not checked.
func (x *exchange) limitBody() *fault.Error {
	if x.r.Length > maxCostBody {
		return fault.Newf(fault.BodyTooLarge, "A body whose cost is checked may have at most 1 MiB.")
	}
	due := time.Now().Add(x.proxy.heldFor(x.r.Length, maxCostBody))
	x.readUntil(x.down, due)
	held, err := x.proxy.bodies.Read(x.body, x.holder(), x.r.Length, maxCostBody)
	x.readUntil(x.down, time.Time{})
	switch {
	case err == nil:
	case isTimeout(err) && !time.Now().Before(due):
		return fault.Wrap(fault.RequestTimeout, err)
	default:
		return x.bodyFault(err)
	}
	raw := held.Bytes
	x.held, x.buffered = held, raw
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
		held.Replace(x.buffered)
		return nil
	}
	m, _, err := store.ParseMoney(string(given))
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

// holder is the account that a held body counts for.
func (x *exchange) holder() string {
	if x.pass.Account == nil {
		return ""
	}
	return string(x.pass.Account.ID)
}

func (x *exchange) bodyFault(err error) *fault.Error {
	switch {
	case errors.Is(err, bodies.ErrFull):
		return &fault.Error{Code: fault.Unavailable, RetryAfter: 1, Cause: err}
	case errors.Is(err, errBodyTooLarge), errors.Is(err, bodies.ErrTooLarge):
		return fault.New(fault.BodyTooLarge)
	case x.down.Left(), brokeOff(x.r, err):
		return errClientGone
	}
	return fault.Wrap(fault.InvalidRequest, fmt.Errorf("read the request's body: %w", err))
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
