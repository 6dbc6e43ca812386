package node

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/ids"
)

// BenchmarkProxied is one whole request, client and upstream included, with and without its
// audit event: its allocations and its time in one process. `wrk` against the binary tells the speed.
func BenchmarkProxied(b *testing.B) {
	for _, requests := range []string{"all", "off"} {
		b.Run("audit="+requests, func(b *testing.B) { benchmarkProxied(b, requests) })
	}
}

func benchmarkProxied(b *testing.B, requests string) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }))
	defer upstream.Close()
	args := []string{"--data-dir", b.TempDir(), "--proxy-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--upstream", upstream.URL, "--log-level", "error"}
	config, err := Load(args, func(string) (string, bool) { return "", false })
	if err != nil {
		b.Fatal(err)
	}
	config.Proxy.ShutdownDelay, config.Audit.Requests = 0, requests
	n, err := Open(b.Context(), Options{Config: config, Out: os.Stderr, Version: "bench", Exit: os.Exit})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- n.Run(ctx) }()
	defer func() { stop(); <-ended }()

	many := int64(1_000_000)
	key := apikey.New(apikey.LivePrefix)
	for _, cmd := range []*store.Command{
		{Change: &store.AccountUpdate{Tier: new("enterprise"), Limits: &store.Limits{PerMinute: &many, PerMonth: &many}}},
		{Change: &store.KeyCreate{Key: store.Key{ID: store.KeyID(ids.New("key_")), Hash: apikey.Hash(n.store.Pepper(), key),
			Account: store.DefaultAccount, Type: store.Live, Name: "bench", Scopes: []string{"read"}, Hint: apikey.Hint(key), Life: store.Life{CreatedAt: time.Now()}}}},
	} {
		cmd.At, cmd.Account, cmd.Actor = time.Now(), store.DefaultAccount, n.startup.system()
		if r, err := n.replica.Propose(ctx, cmd); err != nil || r.Refusal != nil {
			b.Fatal(err, r.Refusal)
		}
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			req, _ := http.NewRequest("GET", "http://"+n.proxyListener.server.Addr().String()+"/", strings.NewReader(""))
			req.Header.Set("Authorization", "Bearer "+key)
			resp, err := client.Do(req)
			if err != nil {
				b.Error(err)
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != 200 && resp.StatusCode != 429 {
				b.Error(resp.Status)
			}
		}
	})
}
