package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi"
	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
)

const leakedPath = "/v1/keys/revoke-leaked"

// report sends a report as addr, which the trusted proxy names.
func report(g *apitest.Rig, base, addr, key string) apitest.Answer {
	return g.Do(base, http.MethodPost, leakedPath, "", `{"key":"`+key+`"}`, "X-Forwarded-For", addr)
}

// waitFor waits until the key has state.
func waitFor(t *testing.T, g *apitest.Rig, id, state string) apitest.Answer {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		a := g.Op("GET", "/v1/keys/"+id, "").Want(t, 200)
		if a.Text("state") == state {
			return a
		}
		if time.Now().After(deadline) {
			t.Fatalf("the key is %s 30 s after the report, not %s", a.Text("state"), state)
		}
		time.Sleep(time.Millisecond) // bounded by the deadline
	}
}

func TestLeakedKeyIsRevoked(t *testing.T) {
	g := apitest.New(t)
	for i, base := range []string{g.Proxy.URL, g.Admin.URL} {
		id, secret := g.Key("live", "read")
		g.Op("PATCH", "/v1/keys/"+id, `{"state":"disabled"}`).Want(t, 200) // it could be enabled again
		addr := fmt.Sprintf("203.0.113.%d", i)
		if a := report(g, base, addr, secret).Want(t, http.StatusAccepted); strings.TrimSpace(a.Body) != "{}" {
			t.Errorf("the answer is %q", a.Body)
		}
		a := waitFor(t, g, id, "revoked")
		if a.Text("revoke_reason") != "leaked" || a.Text("revoked_by") != "leak-report" {
			t.Errorf("revoked for %q by %q", a.Text("revoke_reason"), a.Text("revoked_by"))
		}
		g.Now.Add(int64(time.Minute)) // the event is younger than the rig's clock
		log := g.Op("GET", "/v1/audit-logs?format=ndjson&action=key.revoke&key="+id, "").Want(t, 200).Body
		for _, part := range []string{`"leaked"`, `"system"`, `"` + addr + `"`, leakedPath} {
			if !strings.Contains(log, part) {
				t.Errorf("the event lacks %s: %s", part, log)
			}
		}
		for name, text := range map[string]string{"the log": g.Log.String(), "the commands": g.Backend.Commands(), "the events": log} {
			if strings.Contains(text, secret) {
				t.Errorf("%s hold the key", name)
			}
		}
	}
}

// The answer tells nothing about the key: not by its bytes, and not by its time, which is
// the same for all (see TestReportsAreAnsweredAtOneMoment).
func TestReportsLookAlike(t *testing.T) {
	g := apitest.New(t)
	id, dead := g.Key("live", "read")
	g.Op("POST", "/v1/keys/"+id+"/revoke", "").Want(t, 200)
	_, alive := g.Key("test", "read")
	g.Backend.Stale = errors.New("no leader") // whoever looks first cannot answer
	for _, key := range []string{alive, dead, apikey.New(apikey.LivePrefix), "pk_live_x", "nonsense", strings.Repeat("x", 4000)} {
		a := report(g, g.Proxy.URL, "203.0.113.9", key).Want(t, http.StatusAccepted)
		if strings.TrimSpace(a.Body) != "{}" || a.Header.Get("Retry-After") != "" {
			t.Errorf("%.20s…: %q, %v", key, a.Body, a.Header)
		}
	}
}

func TestReportsAreBounded(t *testing.T) {
	g := apitest.New(t)
	g.Unchecked = true
	var reports sync.WaitGroup // each takes half a second
	for i := range 10 {
		reports.Go(func() {
			if a := report(g, g.Proxy.URL, "203.0.113.1", "pk_live_x"); a.Status != http.StatusAccepted {
				t.Errorf("report %d: %d", i, a.Status)
			}
		})
	}
	reports.Wait()
	a := report(g, g.Proxy.URL, "203.0.113.1", "pk_live_x").Want(t, 429, fault.RequestsPerMinute)
	if a.Header.Get("Retry-After") != "6" {
		t.Errorf("Retry-After: %q", a.Header.Get("Retry-After"))
	}
	report(g, g.Proxy.URL, "203.0.113.2", "pk_live_x").Want(t, http.StatusAccepted)
	g.Now.Add(int64(6 * time.Second))
	report(g, g.Proxy.URL, "203.0.113.1", "pk_live_x").Want(t, http.StatusAccepted)
}

func TestMalformedReports(t *testing.T) {
	g := apitest.New(t)
	for body, want := range map[string]int{
		``: 400, `{`: 400, `[]`: 422, `{}`: 422, `{"key":null}`: 422, `{"key":""}`: 422, `{"key":1}`: 422, `{"key":"x","more":1}`: 422,
		`{"key":"` + strings.Repeat("x", 5000) + `"}`: 413,
	} {
		addr := fmt.Sprintf("203.0.113.%d", len(body)%250)
		if a := g.Do(g.Proxy.URL, http.MethodPost, leakedPath, "", body, "X-Forwarded-For", addr); a.Status != want {
			t.Errorf("%.40s: %d, want %d: %s", body, a.Status, want, a.Body)
		}
	}
	// A credential is not looked at, and an Idempotency-Key makes no two reports one.
	for _, key := range []string{"pk_live_a", "pk_live_b"} {
		g.Do(g.Proxy.URL, http.MethodPost, leakedPath, "nonsense", `{"key":"`+key+`"}`, "Idempotency-Key", "one").Want(t, http.StatusAccepted)
	}
}

// A report is tried until there is a leader.
func TestReportWaitsForALeader(t *testing.T) {
	var b leaderless
	g := apitest.New(t, func(c *httpapi.Config) { b.Backend, c.Backend = c.Backend, &b })
	id, secret := g.Key("live", "read")
	b.refuse.Store(1)
	report(g, g.Proxy.URL, "203.0.113.1", secret).Want(t, http.StatusAccepted)
	waitFor(t, g, id, "revoked")
	if n := b.refuse.Load(); n != 0 {
		t.Errorf("%d writes were still to be refused", n)
	}
}

// leaderless refuses some writes.
type leaderless struct {
	httpapi.Backend
	refuse atomic.Int64
}

func (b *leaderless) Propose(ctx context.Context, cmd *store.Command) (rest.Receipt, error) {
	if b.refuse.Load() > 0 {
		b.refuse.Add(-1)
		return rest.Receipt{}, fault.New(fault.NoLeader)
	}
	return b.Backend.Propose(ctx, cmd)
}

func TestReportsWithoutSelfService(t *testing.T) {
	g := apitest.New(t, func(c *httpapi.Config) { c.SelfService = false })
	report(g, g.Proxy.URL, "203.0.113.1", "pk_live_x").Want(t, http.StatusTeapot) // the upstream's
	report(g, g.Admin.URL, "203.0.113.1", "pk_live_x").Want(t, http.StatusAccepted)
}
