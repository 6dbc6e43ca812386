package manage_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/admit"
	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/manage"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

// judge answers every question alike; it is the observer of the answers, too.
type judge struct {
	answer admit.VerifyAnswer
	fault  *fault.Error
	asked  admit.VerifyRequest
	seen   []local.Observation
}

func (j *judge) Verify(_ context.Context, _ admit.Routes, q *admit.VerifyRequest, _ time.Time) (admit.VerifyAnswer, *fault.Error) {
	j.asked = *q
	return j.answer, j.fault
}

func (j *judge) Observe(o *local.Observation) { j.seen = append(j.seen, *o) }

// known is the answer about a key that passes.
func known() admit.VerifyAnswer {
	return admit.VerifyAnswer{
		Valid: true, KeyID: new(store.KeyID("key_1")), Account: new(store.AccountID("acct_1")), Scopes: []string{},
		Limits: map[string]admit.VerifyLimit{"minute": {Limit: 5, Remaining: 4, Reset: 60}}, Type: store.Live, Charged: 3,
	}
}

// Every member of the answer is there, null where there is nothing to say.
func TestVerifyAnswer(t *testing.T) {
	frame := apitest.New(t).Frame()
	refused := known()
	refused.Valid, refused.Code, refused.RetryAfter, refused.Limits = false, new(fault.Code("requests_per_minute")), new(int64(7)), map[string]admit.VerifyLimit{}
	for _, c := range []struct {
		name   string
		answer admit.VerifyAnswer
		want   string
	}{
		{"a key that passes", known(), `{"valid":true,"code":null,"key_id":"key_1","account":"acct_1","scopes":[],"limits":{"minute":{"limit":5,"remaining":4,"reset":60}},"retry_after":null}`},
		{"a key at its limit", refused, `{"valid":false,"code":"requests_per_minute","key_id":"key_1","account":"acct_1","scopes":[],"limits":{},"retry_after":7}`},
		{"an unknown key", admit.VerifyAnswer{Code: new(fault.InvalidKey)}, `{"valid":false,"code":"invalid_key","key_id":null,"account":null,"scopes":null,"limits":null,"retry_after":null}`},
	} {
		j := &judge{answer: c.answer}
		h := &manage.Verify{Gate: j, Observer: j}
		if w := callWith(frame, rest.WithBody(h.Key), "POST", "", `{"key":"k"}`); w.Code != 200 || w.Body.String() != c.want+"\n" {
			t.Errorf("%s: %d %s, want %s", c.name, w.Code, w.Body, c.want)
		}
	}
	j := &judge{fault: fault.New(fault.Unavailable)}
	h := &manage.Verify{Gate: j, Observer: j}
	if w := callWith(frame, rest.WithBody(h.Key), "POST", "", `{"key":"k"}`); w.Code != 503 || len(j.seen) != 0 {
		t.Errorf("a node that may not judge: %d %s, and %d requests counted", w.Code, w.Body, len(j.seen))
	}
}

// A verdict counts in the usage of the key that was judged, unless it only looks
// or knows no key.
func TestVerifyCounts(t *testing.T) {
	frame := apitest.New(t).Frame()
	refused := known()
	refused.Valid, refused.Code, refused.Charged = false, new(fault.KeyExpired), 0
	for _, c := range []struct {
		name, body string
		answer     admit.VerifyAnswer
		want       string // method, client, status, code, units
	}{
		{"by default", `{"key":"k"}`, known(), " invalid IP 200  3"},
		{"on demand", `{"key":"k","consume":true,"method":"PUT","ip":"203.0.113.9"}`, known(), "PUT 203.0.113.9 200  3"},
		{"refused", `{"key":"k"}`, refused, " invalid IP 401 key_expired 0"},
		{"a look", `{"key":"k","consume":false}`, known(), ""},
		{"an unknown key", `{"key":"k"}`, admit.VerifyAnswer{Code: new(fault.InvalidKey)}, ""},
	} {
		j := &judge{answer: c.answer}
		h := &manage.Verify{Gate: j, Observer: j}
		callWith(frame, rest.WithBody(h.Key), "POST", "", c.body)
		got := ""
		for _, o := range j.seen {
			got += fmt.Sprint(o.Method, " ", o.Client, " ", o.Status, " ", o.Code, " ", o.Units)
			if o.Account != "acct_1" || o.Key != "key_1" || o.Type != store.Live || o.Management || o.RequestID == "" || o.At.IsZero() {
				t.Errorf("%s: %+v", c.name, o)
			}
		}
		if got != c.want {
			t.Errorf("%s: counted %q, want %q", c.name, got, c.want)
		}
	}
}

// The whole question reaches the gate.
func TestVerifyAsks(t *testing.T) {
	j := &judge{answer: known()}
	h := &manage.Verify{Gate: j, Observer: j}
	callWith(apitest.New(t).Frame(), rest.WithBody(h.Key), "POST", "", `{"key":"k","ip":"::1","method":"PUT","path":"/a?b","units":4,"consume":false}`)
	if q := j.asked; q.Key != "k" || q.IP != "::1" || q.Method != "PUT" || q.Path != "/a?b" || *q.Units != 4 || *q.Consume || q.Caller != "" {
		t.Errorf("%+v", q)
	}
}

// Keys in every state are judged as the proxy would judge them.
func TestVerifyStates(t *testing.T) {
	g := apitest.New(t)
	now, _ := g.Config.Clock()
	secret := map[string]string{}
	for name, more := range map[string]string{"active": "", "disabled": "", "revoked": "", "rotated": "", "expired": `,"expires_at":"` + now.Add(time.Minute).Format(time.RFC3339Nano) + `"`,
		"elsewhere": `,"allowlist":["203.0.113.0/24"]`, "narrow": `,"routes":["/v1/chat"]`, "small": `,"limits":{"requests_per_minute":60,"burst":2}`} {
		a := g.Op("POST", "/v1/keys", `{"name":"n","type":"test"`+more+`}`).Want(t, 201)
		secret[name] = a.Text("key")
		switch path := "/v1/keys/" + a.Text("id"); name {
		case "disabled":
			g.Op("PATCH", path, `{"state":"disabled"}`).Want(t, 200)
		case "revoked":
			g.Op("POST", path+"/revoke", "").Want(t, 200)
		case "rotated":
			g.Op("POST", path+"/rotate", "").Want(t, 201)
		}
	}
	g.Now.Add(int64(time.Minute))
	for _, c := range []struct{ key, more, code string }{
		{"active", "", ""}, {"disabled", "", "key_disabled"}, {"revoked", "", "key_revoked"}, {"rotated", "", "key_revoked"}, {"expired", "", "key_expired"},
		{"elsewhere", "", ""}, {"elsewhere", `,"ip":"203.0.113.9"`, ""}, {"elsewhere", `,"ip":"192.0.2.1"`, "ip_not_allowed"},
		{"small", `,"units":2,"consume":false`, ""}, {"small", `,"units":2`, ""}, {"small", "", "requests_per_minute"},
	} {
		a := g.Op("POST", "/v1/keys/verify", `{"key":"`+secret[c.key]+`"`+c.more+`}`).Want(t, 200)
		if a.Text("code") != c.code || a.JSON["valid"] != (c.code == "") || a.Text("key_id") == "" || (a.JSON["retry_after"] != nil) != (c.code == "requests_per_minute") {
			t.Errorf("%s%s: %s, want %q", c.key, c.more, a.Body, c.code)
		}
	}
}

// limits answers every charge alike.
type limits struct {
	answer admit.RateAnswer
	fault  *fault.Error
	asked  admit.RateRequest
}

func (l *limits) RateLimit(q *admit.RateRequest, _ time.Time) (admit.RateAnswer, *fault.Error) {
	l.asked = *q
	return l.answer, l.fault
}

// A charge's answer is the gate's, and so is its fault.
func TestRateLimitAnswers(t *testing.T) {
	frame := apitest.New(t).Frame()
	l := &limits{answer: admit.RateAnswer{Limit: 9, Remaining: 1, Reset: 60, RetryAfter: new(int64(3))}}
	h := &manage.RateLimit{Gate: l}
	body := `{"namespace":"a","identifier":"u","limit":9,"window":"1m","burst":4,"units":2}`
	if w := callWith(frame, rest.WithBody(h.Charge), "POST", "", body); w.Code != 200 || w.Body.String() != `{"allowed":false,"limit":9,"remaining":1,"reset":60,"retry_after":3}`+"\n" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if q := l.asked; q.Namespace != "a" || q.Identifier != "u" || q.Limit != 9 || q.Window != "1m" || *q.Burst != 4 || *q.Units != 2 {
		t.Errorf("%+v", q)
	}
	l.fault = fault.Wrap(fault.Unavailable, errors.New("full"))
	if w := callWith(frame, rest.WithBody(h.Charge), "POST", "", body); w.Code != 503 || strings.Contains(w.Body.String(), "full") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
