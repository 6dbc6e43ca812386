package proxy

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/bodies"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/store"
)

const (
	jsonType = "application/json"
	cent     = store.MoneyUnit / 100
)

// costCases are bodies and routes with their results. Without a path they go to
// /max, which has the bound 0.05.
var costCases = []struct {
	name, path, method, body string
	kind, encoding           string
	key                      store.Money
	status                   int
	code                     string
	sent                     string // to the upstream; "" as it came
	reserved, cost           store.Money
}{
	{name: "no bound, odd body", path: "/free", body: `{"a":1,"a":2`, kind: jsonType, status: 200},
	{name: "absent", body: `{"a":1}`, kind: jsonType, status: 200, sent: `{"max_cost_per_call":0.05,"a":1}`, reserved: 5 * cent, cost: 5 * cent},
	{name: "bytes are kept", body: " {\n\t\"a\" : 1.0e0, \"ü\":\"\\u00fc\" } \n", kind: "application/json; charset=UTF-8", status: 200,
		sent: " {\"max_cost_per_call\":0.05,\n\t\"a\" : 1.0e0, \"ü\":\"\\u00fc\" } \n", reserved: 5 * cent, cost: 5 * cent},
	{name: "empty object", body: `{ }`, kind: jsonType, status: 200, sent: `{"max_cost_per_call":0.05 }`, reserved: 5 * cent, cost: 5 * cent},
	{name: "key's is smaller", key: cent, body: `{}`, kind: jsonType, status: 200, sent: `{"max_cost_per_call":0.01}`, reserved: cent, cost: cent},
	{name: "route's is smaller", key: 9 * cent, body: `{}`, kind: jsonType, status: 200, sent: `{"max_cost_per_call":0.05}`, reserved: 5 * cent, cost: 5 * cent},
	{name: "key's alone", path: "/free", key: cent, body: `{}`, kind: "application/vnd.x+json", status: 200, sent: `{"max_cost_per_call":0.01}`, reserved: cent},
	{name: "below", body: `{"max_cost_per_call":0.03}`, kind: jsonType, status: 200, reserved: 3 * cent, cost: 3 * cent},
	{name: "equal", body: `{"max_cost_per_call":5e-2}`, kind: jsonType, status: 200, reserved: 5 * cent, cost: 5 * cent},
	{name: "above", body: `{"max_cost_per_call":0.06}`, kind: jsonType, status: 400, code: "cost_above_limit"},
	{name: "a hair above", body: `{"max_cost_per_call":0.05000000000001}`, kind: jsonType, status: 400, code: "cost_above_limit"},
	{name: "far above", body: `{"max_cost_per_call":1e999999999999}`, kind: jsonType, status: 400, code: "cost_above_limit"},
	{name: "escaped name", body: `{"max\u005fcost_per_call":1}`, kind: jsonType, status: 400, code: "cost_above_limit"},
	{name: "nested does not count", body: `{"a":{"max_cost_per_call":9}}`, kind: jsonType, status: 200,
		sent: `{"max_cost_per_call":0.05,"a":{"max_cost_per_call":9}}`, reserved: 5 * cent, cost: 5 * cent},
	{name: "negative", body: `{"max_cost_per_call":-1}`, kind: jsonType, status: 422, code: "invalid_value"},
	{name: "string", body: `{"max_cost_per_call":"1"}`, kind: jsonType, status: 422, code: "invalid_value"},
	{name: "null", body: `{"max_cost_per_call":null}`, kind: jsonType, status: 422, code: "invalid_value"},
	{name: "twice", body: `{"max_cost_per_call":0.01,"max_cost_per_call":9}`, kind: jsonType, status: 400, code: "duplicate_member"},
	{name: "twice, escaped", body: `{"max_cost_per_call":0.01,"max_cost_per_c\u0061ll":9}`, kind: jsonType, status: 400, code: "duplicate_member"},
	{name: "another twice", body: `{"a":1,"a":2}`, kind: jsonType, status: 400, code: "duplicate_member"},
	{name: "other case", body: `{"Max_Cost_Per_Call":9}`, kind: jsonType, status: 400, code: "duplicate_member"},
	{name: "folded", body: `{"max_co\u017ft_per_call":9}`, kind: jsonType, status: 400, code: "duplicate_member"},
	{name: "array", body: `[1]`, kind: jsonType, status: 400, code: "invalid_json"},
	{name: "broken", body: `{"a":`, kind: jsonType, status: 400, code: "invalid_json"},
	{name: "trailing", body: `{} {"max_cost_per_call":9}`, kind: jsonType, status: 400, code: "invalid_json"},
	{name: "byte order mark", body: "\ufeff{}", kind: jsonType, status: 400, code: "invalid_json"},
	{name: "not UTF-8", body: "{\"a\":\"\xff\"}", kind: jsonType, status: 400, code: "invalid_json"},
	{name: "other charset", body: `{}`, kind: "application/json; charset=utf-7", status: 415, code: "unsupported_media_type"},
	{name: "encoded", body: `{}`, kind: jsonType, encoding: "gzip", status: 415, code: "unsupported_content_encoding"},
	{name: "identity", body: `{"max_cost_per_call":0}`, kind: jsonType, encoding: "identity", status: 200},
	{name: "too large", body: `{"a":"` + strings.Repeat("x", 1<<20) + `"}`, kind: jsonType, status: 413, code: "body_too_large"},
	{name: "as large as may be", body: `{"a":"` + strings.Repeat("x", 1<<20-8) + `"}`, kind: jsonType, status: 200,
		sent: `{"max_cost_per_call":0.05,"a":"` + strings.Repeat("x", 1<<20-8) + `"}`, reserved: 5 * cent, cost: 5 * cent},
	{name: "no type", body: `{"a":1}`, status: 200, sent: `{"max_cost_per_call":0.05,"a":1}`, reserved: 5 * cent, cost: 5 * cent},
	{name: "posed as a form", body: ` {"max_cost_per_call":9}`, kind: "application/x-www-form-urlencoded", status: 400, code: "cost_above_limit"},
	{name: "posed as text, encoded", body: `{}`, kind: "text/plain", encoding: "br", status: 415, code: "unsupported_content_encoding"},
	{name: "a form", body: `a=b&c=d`, kind: "application/x-www-form-urlencoded", status: 400, code: "invalid_json"},
	{name: "text in braces", body: `{hello}`, kind: "text/plain", status: 400, code: "invalid_json"},
	{name: "posed as text, for lenient readers", body: `{"a":NaN,"max_cost_per_call":9}`, kind: "text/plain", status: 400, code: "invalid_json"},
	{name: "posed as text, in UTF-16", body: "{\x00\"\x00a\x00\"\x00:\x001\x00}\x00", kind: "text/plain", status: 400, code: "invalid_json"},
	{name: "posed as text, in UTF-16, the other end first", body: "\x00{\x00}", kind: "text/plain", status: 400, code: "invalid_json"},
	{name: "posed as text, behind a mark", body: "\ufeff{}", kind: "text/plain", status: 400, code: "invalid_json"},
	{name: "posed as an image", body: `{"max_cost_per_call":9}`, kind: "image/png", status: 400, code: "cost_above_limit"},
	{name: "posed as gRPC", body: `{"max_cost_per_call":9}`, kind: "application/grpc+json", status: 400, code: "cost_above_limit"},
	{name: "posed as an image, absent", body: `{}`, kind: "image/png", status: 200, sent: `{"max_cost_per_call":0.05}`, reserved: 5 * cent, cost: 5 * cent},
	{name: "an image", body: "\x89PNG{", kind: "image/png", status: 400, code: "invalid_json"},
	{name: "an image, packed", body: "\x1f\x8b", kind: "image/png", encoding: "gzip", status: 415, code: "unsupported_content_encoding"},
	{name: "one byte", body: "x", kind: "text/plain", status: 400, code: "invalid_json"},
	{name: "multipart", body: `--x`, kind: "multipart/form-data; boundary=x", status: 400, code: "invalid_json"},
	{name: "gRPC", body: "\x00\x00{", kind: "application/grpc+json", status: 400, code: "invalid_json"},
	{name: "UTF-16 behind a mark", body: "\xff\xfe{\x00}\x00", kind: jsonType, status: 400, code: "invalid_json"},
	{name: "UTF-32", body: "{\x00\x00\x00}\x00\x00\x00", kind: "text/plain", status: 400, code: "invalid_json"},
	{name: "UTF-32, the other end first", body: "\x00\x00\x00{\x00\x00\x00}", status: 400, code: "invalid_json"},
	{name: "a batch", body: `[{"max_cost_per_call":9}]`, kind: "text/plain", status: 400, code: "invalid_json"},
	{name: "behind a comment", body: "//\n{\"max_cost_per_call\":9}", kind: "text/plain", status: 400, code: "invalid_json"},
	{name: "behind a block comment", body: `/**/{"max_cost_per_call":9}`, kind: "text/plain", status: 400, code: "invalid_json"},
	{name: "behind a no-break space", body: "\u00a0{\"max_cost_per_call\":9}", kind: "text/plain", status: 400, code: "invalid_json"},
	{name: "behind a form feed", body: "\f{}", kind: "text/plain", status: 400, code: "invalid_json"},
	{name: "behind a guard", body: ")]}'\n{\"max_cost_per_call\":9}", kind: "text/plain", status: 400, code: "invalid_json"},
	{name: "behind a record separator", body: "\x1e{\"max_cost_per_call\":9}", kind: "application/json-seq", status: 400, code: "invalid_json"},
	{name: "lines", body: "{}\n{\"max_cost_per_call\":9}", kind: "application/x-ndjson", status: 400, code: "invalid_json"},
	{name: "a string", body: `"{}"`, kind: "text/plain", status: 400, code: "invalid_json"},
	{name: "white space alone", body: " \n", kind: "text/plain", status: 400, code: "invalid_json"},
	{name: "text in another charset", body: `{}`, kind: "text/plain; charset=utf-16", status: 415, code: "unsupported_media_type"},
	{name: "two charsets", body: `{}`, kind: "text/plain; charset=utf-8; charset=utf-7", status: 415, code: "unsupported_media_type"},
	{name: "an object as text", body: `{}`, kind: "text/plain", status: 200, sent: `{"max_cost_per_call":0.05}`, reserved: 5 * cent, cost: 5 * cent},
	{name: "no body", method: "GET", kind: jsonType, status: 200, reserved: 5 * cent, cost: 5 * cent},
	{name: "fixed", path: "/fixed", body: `x`, status: 200, reserved: 2 * cent, cost: 2 * cent},
	{name: "fixed above the key's", path: "/fixed", key: cent, status: 400, code: "cost_above_limit"},
	{name: "fixed above the request's", path: "/fixed", key: 5 * cent, body: `{"max_cost_per_call":0.01}`, kind: jsonType, status: 400, code: "cost_above_limit"},
	{name: "told", path: "/told", status: 200, cost: 0},
	{name: "down", path: "/down", status: 502, code: "upstream_unreachable", reserved: 2 * cent, cost: 0},
}

// costUpstream is an upstream that keeps the body it got, and answers as the test
// sets it.
type costUpstream struct {
	body   []byte
	length int64
	status int
	told   string // X-Cost of the answer; "" for none
}

func (u *costUpstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.body, _ = io.ReadAll(r.Body)
	u.length = r.ContentLength
	if u.told != "" {
		w.Header().Set("X-Cost", u.told)
	}
	w.WriteHeader(u.status)
}

func newCostRig(t *testing.T) (*rig, *costUpstream) {
	u := &costUpstream{status: 200}
	up := backend(t, u.ServeHTTP)
	return newRig(t, Settings{},
		Route{Path: "/free", Upstreams: []string{up}},
		Route{Path: "/max", Upstreams: []string{up}, MaxCostPerCall: 0.05, Cost: "header:X-Cost"},
		Route{Path: "/fixed", Upstreams: []string{up}, Cost: "0.02"},
		Route{Path: "/told", Upstreams: []string{up}, Cost: "header:X-Cost"},
		Route{Path: "/down", Upstreams: []string{closedPort(t)}, Cost: 0.02},
	), u
}

func TestCost(t *testing.T) {
	r, u := newCostRig(t)
	for _, c := range costCases {
		t.Run(c.name, func(t *testing.T) {
			r.t, u.body, u.length = t, nil, -2
			r.gate.rec.Extra = &store.Extra{MaxCost: c.key}
			_, reserved, settled := r.gate.money()
			if c.path == "" {
				c.path = "/max"
			}
			if c.method == "" {
				c.method = "POST"
			}
			res := r.do(c.method, c.path, c.body, "Content-Type", c.kind, "Content-Encoding", c.encoding)
			if res.StatusCode != c.status {
				t.Fatalf("status %d, want %d: %s", res.StatusCode, c.status, text(t, res))
			}
			if c.code != "" {
				if got := code(t, res); string(got) != c.code {
					t.Errorf("code %s, want %s", got, c.code)
				}
			}
			o := r.log.next(t)
			_, reserved2, settled2 := r.gate.money()
			if reserved2-reserved != c.reserved || reserved2+settled2-reserved-settled != c.cost || o.Cost != c.cost {
				t.Errorf("reserved %d, settled at %d, observed %d; want %d, %d", reserved2-reserved, reserved2+settled2-reserved-settled, o.Cost, c.reserved, c.cost)
			}
			if c.status >= 400 {
				if u.length != -2 {
					t.Errorf("the upstream saw a request that was refused")
				}
				return
			}
			if c.sent == "" {
				c.sent = c.body
			}
			if string(u.body) != c.sent || u.length != int64(len(c.sent)) {
				t.Errorf("upstream got %.200q (length %d)\nwant         %.200q", u.body, u.length, c.sent)
			}
		})
	}
	if n, _ := r.bodies.Held(); n != 0 {
		t.Errorf("%d bytes are still counted as held", n)
	}
}

// An upstream's header and status decide the cost of a request.
func TestCostTold(t *testing.T) {
	r, u := newCostRig(t)
	r.gate.rec.Extra = &store.Extra{}
	for _, c := range []struct {
		status     int
		told, path string
		want       store.Money
	}{
		{200, "0.007", "/told", 7 * store.MoneyUnit / 1000}, {200, "", "/told", 0}, {200, "x", "/max", 5 * cent},
		{200, "0.09", "/max", 9 * cent}, {500, "", "/max", 0}, {404, "", "/max", 0}, {500, "0.01", "/max", cent},
		{404, "", "/fixed", 2 * cent}, {500, "", "/fixed", 0},
	} {
		u.status, u.told, r.t = c.status, c.told, t
		r.do("GET", c.path, "")
		if o := r.log.next(t); o.Cost != c.want {
			t.Errorf("status %d, cost %q on %s: %d, want %d", c.status, c.told, c.path, o.Cost, c.want)
		}
	}
}

// Bodies that are read before they are forwarded share one memory. Without credit
// the answer is 503, and no upstream sees the request.
func TestHeldBodiesAreBounded(t *testing.T) {
	var seen atomic.Int64
	up := backend(t, func(http.ResponseWriter, *http.Request) { seen.Add(1) })
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}, MaxCostPerCall: "1"})
	r.bodies = bodies.NewMemory(2 << 20)
	var others []*bodies.Held
	for range 64 {
		h, err := r.bodies.Read(strings.NewReader(strings.Repeat("x", 64<<10)), "acct_a", -1, 1<<20)
		if err != nil {
			break
		}
		others = append(others, h)
	}
	big := `{"a":"` + strings.Repeat("x", 256<<10) + `"}`
	res := r.do("POST", "/", big, "Content-Type", jsonType)
	if res.StatusCode != 503 || res.Header.Get("Retry-After") != "1" || code(t, res) != fault.Unavailable || seen.Load() != 0 {
		t.Errorf("status %d, %v; the upstream saw %d", res.StatusCode, res.Header, seen.Load())
	}
	r.log.next(t)
	for _, h := range others {
		h.Release()
	}
	if n, _ := r.bodies.Held(); n != 0 {
		t.Errorf("%d bytes held after a refusal", n)
	}
	if res := r.do("POST", "/", big, "Content-Type", jsonType); res.StatusCode != 200 || seen.Load() != 1 {
		t.Errorf("with credit again: status %d, the upstream saw %d", res.StatusCode, seen.Load())
	}
	r.log.next(t)
	if n, _ := r.bodies.Held(); n != 0 {
		t.Errorf("%d bytes held after the end", n)
	}
}

// A client that trickles a body which is held gets 408, over both protocols, and what the
// body took of the memory is free again.
func TestHeldBodiesMustArrive(t *testing.T) {
	var seen atomic.Int64
	up := backend(t, func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); seen.Add(1) })
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}, MaxCostPerCall: "1"})
	if got := r.heldFor(-1, maxCostBody); got <= 0 || got > time.Minute {
		t.Errorf("a body has %v", got)
	}
	r.heldFor = func(int64, int64) time.Duration { return 50 * time.Millisecond }
	for _, framing := range []string{"Content-Length: 100", "Transfer-Encoding: chunked"} {
		res := r.raw("POST / HTTP/1.1\r\nHost: x\r\n" + cred + framing + "\r\n\r\n" + "2\r\n{ \r\n")
		if res.StatusCode != 408 || code(t, res) != fault.RequestTimeout || !res.Close {
			t.Errorf("%s: status %d, close %v", framing, res.StatusCode, res.Close)
		}
		if o := r.log.next(t); o.Status != 408 || o.Units != 0 {
			t.Errorf("observed %+v", o)
		}
	}
	body, stop := io.Pipe()
	defer stop.Close()
	tr, _ := overHTTP2(t)
	req, _ := http.NewRequest("POST", r.srv.URL, body)
	req.Header.Set("Authorization", "Bearer good")
	go io.WriteString(stop, "{")
	res, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if res.Body.Close(); res.StatusCode != 408 {
		t.Errorf("over HTTP/2: status %d", res.StatusCode)
	}
	r.log.next(t)
	if n, _ := r.bodies.Held(); n != 0 || seen.Load() != 0 {
		t.Errorf("%d bytes are still held; the upstream saw %d requests", n, seen.Load())
	}
}

// deadlines is a response that keeps the deadlines of reads.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

// A held body that has arrived leaves no deadline, which would end a slow answer.
func TestHeldBodyLeavesNoDeadline(t *testing.T) {
	up := backend(t, func(_ http.ResponseWriter, r *http.Request) {})
	r := newRig(t, Settings{}, Route{Path: "/", Upstreams: []string{up}, MaxCostPerCall: "1"})
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	req := httptest.NewRequest("POST", "/", strings.NewReader("{}"))
	req.Header.Set("Authorization", "Bearer good")
	r.Proxy.ServeHTTP(w, req)
	if w.Code != 200 || len(w.set) != 2 || w.set[0].IsZero() || !w.set[1].IsZero() {
		t.Errorf("status %d, deadlines %v", w.Code, w.set)
	}
}

func FuzzCost(f *testing.F) {
	for _, s := range []string{`{}`, ` { "a" : [1,{"b":null}] } `, `{"max_cost_per_call":1}`, `[]`, `{"a":1,"a":2}`, "{", `{"":0}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		given, at, empty, fault := findCost(raw)
		if fault != nil {
			return
		}
		var before map[string]json.RawMessage
		if err := json.Unmarshal(raw, &before); err != nil {
			t.Fatalf("accepted %q: %v", raw, err)
		}
		if given != nil {
			if !bytes.Equal(before[costMember], given) {
				t.Fatalf("%q: found %s, others find %s", raw, given, before[costMember])
			}
			return
		}
		comma := ","
		if empty {
			comma = ""
		}
		var after map[string]json.RawMessage
		out := string(raw[:at]) + `"max_cost_per_call":5` + comma + string(raw[at:])
		if err := json.Unmarshal([]byte(out), &after); err != nil || string(after[costMember]) != "5" || len(after) != len(before)+1 {
			t.Fatalf("%q became %q: %v", raw, out, err)
		}
	})
}
