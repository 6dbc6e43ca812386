package httpapi_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apitest"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/proxy"
)

// await waits for a token on ch.
func await(t *testing.T, event string, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(time.Minute):
		t.Fatalf("%s: not within a minute", event)
	}
}

// standing is an upstream that sends the head of its answer, if there is a cost in the
// query, and nothing more until the client leaves. got receives a token for each request.
func standing(t *testing.T) (url string, got chan struct{}) {
	t.Helper()
	got = make(chan struct{}, 100)
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if cost := r.URL.Query().Get("cost"); cost != "" {
			w.Header().Set("X-Cost", cost)
			http.NewResponseController(w).Flush()
		}
		got <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(up.Close)
	return up.URL, got
}

// A budget cannot be evaded by leaving before the answer: each request that an upstream got
// costs its reserve, and once they have used the budget up, no upstream gets another.
func TestLeavingSpendsTheBudget(t *testing.T) {
	up, got := standing(t)
	g := newGateway(t, proxy.Route{Path: "/fixed", Upstreams: []string{up}, Cost: "0.5"},
		proxy.Route{Path: "/stated", Upstreams: []string{up}, Cost: "header:X-Cost", MaxCostPerCall: "0.5"})
	for _, path := range []string{"/fixed", "/stated"} {
		key := g.Op("POST", "/v1/keys", `{"name":"n","type":"live","monthly_budget":2}`).Want(t, 201).Text("key")
		for range 4 {
			conn := g.begin(t, "POST", "h", path, key)
			await(t, path+": the upstream gets the request", got)
			conn.Close()
			await(t, path+": the request ends", g.ended)
		}
		for i := range 8 {
			if status, code := g.send(t, "POST", "h", path, key); status != 402 || code != string(fault.BudgetExceeded) {
				t.Errorf("%s, request %d: %d %s, want 402", path, i+5, status, code)
			}
			await(t, path+": the request ends", g.ended)
		}
		if n := len(got); n > 0 {
			t.Errorf("%s: the upstream got %d requests above the budget", path, n)
		}
	}
}

// Requests that no upstream got take nothing of a month or a budget, and are not billed.
func TestUnreachableUpstreamTakesNothing(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	apitest.Must(t, err)
	ln.Close() // nothing listens there now
	g := newGateway(t, proxy.Route{Path: "/down", Upstreams: []string{"http://" + ln.Addr().String()}, Cost: "0.5"}, proxy.Route{Path: "/good", Cost: "0.5"})
	for name, c := range map[string]struct {
		limits string
		left   int // requests that pass
		code   fault.Code
	}{
		"month":  {`"limits":{"requests_per_month":3}`, 3, fault.RequestsPerMonth},
		"budget": {`"monthly_budget":1`, 2, fault.BudgetExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			a := g.Op("POST", "/v1/keys", `{"name":"n","type":"live",`+c.limits+`}`).Want(t, 201)
			id, key := a.Text("id"), a.Text("key")
			for i := range 10 {
				if status, code := g.send(t, "GET", "h", "/down", key); status != 502 {
					t.Errorf("request %d where nothing listens: %d %s, want 502", i+1, status, code)
				}
			}
			for i := range c.left {
				if status, code := g.send(t, "GET", "h", "/good", key); status != 200 {
					t.Errorf("request %d that is served: %d %s", i+1, status, code)
				}
			}
			if _, code := g.send(t, "GET", "h", "/good", key); code != string(c.code) {
				t.Errorf("beyond the limit: %q, want %s", code, c.code)
			}
			apitest.Must(t, g.Local.Flush())
			u := g.Op("GET", "/v1/usage?group_by=key&key="+id, "").Want(t, 200)
			if want := `"billable":` + string(rune('0'+c.left)); !strings.Contains(u.Body, want) {
				t.Errorf("usage lacks %s: %s", want, u.Body)
			}
		})
	}
}

// A cost that the head of an answer states is spent from then on, however long the rest of
// the answer takes.
func TestOpenStreamsSpendTheBudget(t *testing.T) {
	up, got := standing(t)
	g := newGateway(t, proxy.Route{Path: "/bounded", Upstreams: []string{up}, Cost: "header:X-Cost", MaxCostPerCall: "0.1"},
		proxy.Route{Path: "/unbounded", Upstreams: []string{up}, Cost: "header:X-Cost"})
	for path, most := range map[string]int{
		"/bounded":   2, // the second finds the room of its bound
		"/unbounded": 1, // the second asks for the room of the largest cost seen
	} {
		key := g.Op("POST", "/v1/keys", `{"name":"n","type":"live","monthly_budget":1}`).Want(t, 201).Text("key")
		for i := range most {
			line, err := bufio.NewReader(g.begin(t, "GET", "h", path+"?cost=0.9", key)).ReadString('\n')
			if err != nil || !strings.Contains(line, " 200 ") {
				t.Fatalf("%s, stream %d: %q, %v", path, i+1, line, err)
			}
			await(t, path+": the upstream gets the request", got)
		}
		if status, code := g.send(t, "GET", "h", path+"?cost=0.9", key); status != 402 || code != string(fault.BudgetExceeded) {
			t.Errorf("%s beside %d open streams of 0.9 on a budget of 1: %d %s, want 402", path, most, status, code)
		}
		if n := len(got); n > 0 {
			t.Errorf("%s: the upstream got %d requests above the budget", path, n)
		}
	}
}
