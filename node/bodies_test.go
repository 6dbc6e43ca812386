package node

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/bodies"
	"github.com/perfgate/perfgate/node/config/configtest"
	"github.com/perfgate/perfgate/store"
)

// zeros is a body without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// The bodies of proxied requests and of management calls share the node's memory: an
// account that has taken its half of it gets 503 at both doors.
func TestOneMemoryForBodies(t *testing.T) {
	t.Parallel()
	var seen atomic.Int64
	upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); seen.Add(1) }))
	t.Cleanup(upstream.Close)
	n := startLone(t, t.TempDir(), "--config", configtest.File(t, "[[proxy.routes]]\npath = \"/\"\nmax_cost_per_call = \"1\"\nupstreams = [\""+upstream.URL+"\"]\n"))
	key := apikey.New(apikey.LivePrefix)
	if err := change(n, &store.Command{Account: store.DefaultAccount, Change: &store.KeyCreate{Key: store.Key{
		ID: "key_1", Hash: apikey.Hash(n.store.Pepper(), key), Hint: "h", Type: store.Live, Name: "k", Scopes: []string{"read", "write", "verify"},
	}}}); err != nil {
		t.Fatal(err)
	}
	doors := map[string]string{
		"proxy": "http://" + n.proxyListener.server.Addr().String() + "/x",
		"admin": "http://" + n.adminListener.server.Addr().String() + "/v1/keys/verify",
	}
	expect := func(when string, want int) {
		t.Helper()
		for door, url := range doors {
			req, err := http.NewRequestWithContext(t.Context(), "POST", url, strings.NewReader(`{"key":"`+strings.Repeat("x", 64<<10)+`"}`))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+key)
			req.Header.Set("Content-Type", "application/json")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if (resp.StatusCode == 503) != (want == 503) {
				t.Errorf("%s: the %s listener answers %d %s", when, door, resp.StatusCode, body)
			}
		}
	}
	expect("with nothing held", 200)
	var held []*bodies.Held
	for _, size := range []int64{1 << 20, 1 << 10} { // the small ones fill the rest
		for {
			h, err := n.limits.bodies.Read(io.LimitReader(zeros{}, size), string(store.DefaultAccount), size, size)
			if err != nil {
				break
			}
			held = append(held, h)
		}
	}
	before := seen.Load()
	expect("with half of the memory held", 503)
	if seen.Load() != before {
		t.Error("the upstream got a request that is refused")
	}
	for _, h := range held {
		h.Release()
	}
	expect("with nothing held any more", 200)
}
