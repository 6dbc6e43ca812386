package local

import (
	"net/netip"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/perfgate/perfgate/store"
)

// Bytes of a disk never panic a decoder, and the texts of an event are UTF-8.
func FuzzDecode(f *testing.F) {
	f.Add(appendRequest(nil, typical(), true))
	f.Add(loss{1, 2, 3}.append(nil))
	f.Add(eventKey(nil, "acct_a", 5, 6))
	f.Add(append(eventKey(nil, "acct_a", 5, 6), 1, 2, 3, 4, 5))
	f.Add(tally{1, 2, 3, 4, 5}.append(nil))
	f.Add(appendRow(nil, "acct_a", "key_a", "prod", "/v1/", traits{marks: markLive, country: Country{'D', 'E'}, method: 1, status: 200}))
	f.Add([]byte("\x06acct_a\x05key_a\x01\x04prod\x00\xc8/v1/")) // as earlier versions wrote it
	f.Add(appendLast(nil, 7, netip.MustParseAddr("::1"), Country{'D', 'E'}))
	f.Add(appendRecord(nil, typical(), 1, recEvent))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := decoder{prefix: "evt_01234567", node: "n"}
		if e, err := d.event("a", 1, 2, b); err == nil {
			for _, s := range []string{e.Action, e.Actor.ID, e.Actor.Name, string(e.KeyID), e.Reason, e.UserAgent, e.IP, string(e.Changes)} {
				if !utf8.ValidString(s) {
					t.Errorf("%q", s)
				}
			}
		}
		if p, ok := parsePlace(b); ok && len(p.tokens) > 0 {
			(&wanted{types: 1, tokens: [][]byte{{1, 2, 3, 4}}}).mayBe(p.tokens)
		}
		parseTally(b)
		parseRow(b)
		parseLast(b)
		parseFailure(b)
		nextRecord(b)
	})
}

// An observation comes back, cut to its bounds; no record outgrows its bound.
func FuzzRoundTrip(f *testing.F) {
	f.Add("acct_a", "key_a", "GET", "/v1/", "id", "", "", "", "curl", "prod", 200, int64(1500), []byte{203, 0, 113, 7})
	f.Add("", "", "PURGE", "", "", "audit.read", "invalid_key", "pk_live_0123…STUV", "\xff", "", 401, int64(-5), []byte{})
	f.Fuzz(func(t *testing.T, account, key, method, route, id, action, code, hint, agent, env string, status int, micros int64, ip []byte) {
		o := &Observation{Account: store.AccountID(account), Key: store.KeyID(key), Method: method, Route: route, RequestID: id,
			Action: action, Code: code, Hint: hint, UserAgent: agent, Environment: env, Status: status & 0xffff,
			Duration: time.Duration(micros%1e12) * time.Microsecond, Type: store.Live, Units: micros, Cost: store.Money(-micros)}
		if status&1 != 0 {
			o.Actor = store.Actor{Type: store.ActorOperator, ID: env, Name: id}
			if hint == "" {
				hint = id
			}
		}
		o.Client, _ = netip.AddrFromSlice(ip)
		buf := appendRecord(nil, o, 99, recEvent|recCounted)
		if len(buf) > recordBound(o) {
			t.Fatalf("%d bytes, bound %d", len(buf), recordBound(o))
		}
		r, rest, ok := nextRecord(buf)
		if !ok || len(rest) != 0 || r.ns != 99 || r.flags != recEvent|recCounted || string(r.account) != clip(account, maxName) ||
			string(r.env) != clip(env, maxEnviron) || int64(r.units) != max(micros, 0) || int64(r.cost) != max(-micros, 0) {
			t.Fatalf("record %+v of %+v", r, o)
		}
		if len(r.value) > maxValue {
			t.Fatalf("value of %d bytes", len(r.value))
		}
		v, err := parseRequest(r.value)
		if err != nil || string(v.key) != clip(key, maxName) || v.methodName() != clip(method, maxMethod) || string(v.route) != clip(route, maxRoute) ||
			string(v.id) != clip(id, maxID) || string(v.action) != clip(action, maxAction) || string(v.reason) != clip(code, maxReason) ||
			string(v.hint) != clip(hint, maxHint) || string(v.agent) != clip(agent, maxAgent) || v.status != o.Status ||
			o.Actor.Type != "" && (string(v.by) != clip(env, maxName) || v.actor() != store.ActorOperator) ||
			v.ip() != o.Client.Unmap().WithZone("") || int64(v.micros) != max(micros%1e12, 0) {
			t.Fatalf("%+v of %+v: %v", v, o, err)
		}
	})
}
